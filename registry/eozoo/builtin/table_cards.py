"""Tasks and networks of samples in tables, as names and places only: nothing heavy is imported."""

from __future__ import annotations

from eozoo_core import Card, Port, Slot, Spec

_FEATURES = (Port("features", "B C"),)  # standardised, without gaps
_MEAN, _LOG_SCALE = Port("mean", "B 1"), Port("log_scale", "B 1", optional=True)
_LOGITS = Port("logits", "B K", "1")
_ENCODER = Slot(
    "model",
    feeds=(
        *(Port("bands", "B L C"), Port("doys", "B L")),  # of a series, standardised
        *(Port("columns", "B F"), Port("missing", "B F", "1 = missing")),  # in their own units, 0 where missing
    ),
    wants=(Port("embedding", "B D"),),
    options=("in_channels", "sample_size", "columns"),
)


def _dataset(unit: str) -> Slot:
    """A slot for a registered dataset instead of a table: it brings its own features, so data.features is null."""
    wants = (Port("features", "C"), Port("target", "", unit))
    return Slot("dataset", wants=wants, options=("split",), also=("data.features=null",))


REGRESSION_SLOTS = {
    "data.dataset": _dataset(""),
    "model": Slot("model", feeds=_FEATURES, wants=(_MEAN, _LOG_SCALE)),
    "model.encoder": _ENCODER,
    "model.loss": Slot(
        "loss",
        feeds=(Port("mean", "B"), Port("log_scale", "B", optional=True), Port("target", "B", "unit of the target")),
    ),
}
CLASS_SLOTS = {
    "data.dataset": _dataset("class code"),
    "model": Slot("model", feeds=_FEATURES, wants=(_LOGITS,)),
    "model.encoder": _ENCODER,
    "model.loss": Slot("loss", feeds=(_LOGITS, Port("target", "B", "class index"))),
}
_INPUTS = (
    "A table, CSV or Parquet, a sample in each row: columns of numbers, empty or NaN = missing, or a value of "
    "data.nodata; a column of the target; coordinates, groups or a column of splits where there are any. Statistics of "
    "every column come from the training rows and travel in the checkpoint."
)
_LIMITS = (
    "A sample is seen by itself: nothing is learned of its neighbours.",
    "Days of a series are the same for all rows.",
)
_OUT = "A table gets predictions behind its columns. A raster whose bands are called as the columns, maps: "


_ON = "input 262144 x 4, CPU seconds of one thread of 2 x AMD EPYC with other work beside it, weights included."


def _net(name: str, parameters: int, measured: str, kind: str, summary: str, purpose: str, limit: str) -> Spec:
    card = Card(
        purpose=purpose,
        inputs="Features (B, C), standardised (mean 0, deviation 1), any number of them, no NaN: the task fills gaps.",
        outputs="K numbers per sample: standardised values or logits; no NaN.",
        weights="None are published: it begins at random.",
        measured=f"{measured}; {_ON}",
        limits=(limit,),
        architecture=kind,
        kinds=("regression", "classification"),
    )
    gives = (_MEAN, Port("log_scale", "B 1"), _LOGITS)
    target = f"eozoo.builtin.table_nets:{name}"
    return Spec(
        name, target, summary, takes=_FEATURES, gives=gives, citation="none: textbook", card=card, parameters=parameters
    )


MODELS = [
    _net(
        "linear",
        5,
        "Forward 0.0016 s, 11 MB; with backward 0.0025 s, 20 MB",
        "Linear model",
        "One weight for each feature",
        "What a line can do; its weights can be read.",
        "Lines only.",
    ),
    _net(
        "mlp",
        33793,
        "Forward 1.02 s, 395 MB; with backward 2.48 s, 663 MB",
        "Multilayer perceptron",
        "Residual layers with ReLU; dropout and batch norm on request",
        "Tables of tens to hundreds of features.",
        "With fewer than a few hundred rows a forest is often better: compare the baselines.",
    ),
]
TASKS = [
    Spec(
        "scalar_regression",
        "eozoo.builtin.scalar_regression:ScalarRegression",
        "A number for each row of a table, or each pixel of a raster",
        citation="none: textbook",
        card=Card(
            purpose="Anything measured at samples: biomass of plots, heights of footprints, fluxes of sites.",
            inputs=_INPUTS,
            outputs=_OUT + "the value in the target's unit; nodata where every feature is missing.",
            weights="None are published: it begins at random, or model.encoder brings its own.",
            measured="Not measured.",
            limits=_LIMITS,
            architecture="Multilayer perceptron, or any registered network of features",
            kinds=("regression",),
        ),
    ),
    Spec(
        "classification",
        "eozoo.builtin.classification:Classification",
        "A class for each row of a table, or each pixel of a raster",
        citation="none: textbook",
        card=Card(
            purpose="Land cover, crops, damage: whatever has a name at samples.",
            inputs=_INPUTS,
            outputs=_OUT + "the likeliest class and the probability of each; nodata where every feature is missing.",
            weights="None are published: it begins at random, or model.encoder brings its own.",
            measured="Not measured.",
            limits=_LIMITS,
            architecture="Multilayer perceptron, or any registered network of features",
            kinds=("classification",),
        ),
    ),
]
