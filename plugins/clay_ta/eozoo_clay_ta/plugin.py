"""What this plugin offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Port, Slot, Source, Spec, hookimpl

from eozoo_clay_ta import cards

_CITATION = "Clay Foundation Model v1.5, github.com/Clay-foundation/model"
_DOCUMENT = "TA 2D Pipeline (GK-2A Clay Transfer)"
_PIXELS = Port("image", "B C H W", "z-scores per band")
_TOKENS = Port("tokens", "B N D")
UNITS = "10 brightness temperatures K, 6 albedos, solar zenith angle degrees, elevation m, land 1 and sea 0"
CONTEXT = {
    "time": ("seconds since 1970-01-01 UTC", "float64"),
    "lat": ("degrees north", "float32"),
    "lon": ("degrees east", "float32"),
    "landcover": ("class 0..16", "float32"),
}
WINDOWS = (
    Port("image", "19 9 9", UNITS),
    Port("target", "", "degC"),
    *(Port(role, "", unit, dtype=dtype) for role, (unit, dtype) in CONTEXT.items()),
)
# Losses see z-scores; a sample is a map of one pixel, so that losses for maps fit.
SLOTS = {
    "model.network": Slot(
        "model", feeds=(Port("image", "B C H W"),), wants=(Port("mean", "B 1 H W"),), also=("model.type=network",)
    ),
    "data.samples": Slot("dataset", wants=WINDOWS, options=("patch_dir", "split")),
    "model.loss": Slot("loss", feeds=(Port("mean", "B 1 1 1"), Port("target", "B 1 1 1"))),
}
_HUB = "https://huggingface.co/made-with-clay"
# The licence of v1.0 is given differently in different places, and no hash of either can be cited: unknown.
SOURCES = {
    "clay_v1_5_large": (
        Source(f"{_HUB}/Clay/resolve/main/v1.5/clay-v1.5.ckpt", "clay-v1.5.ckpt", "main", licence="Apache-2.0"),
    ),
    "clay_v1_base": (Source(f"{_HUB}/Clay-legacy/resolve/main/v1/clay-v1-base.ckpt", "clay-v1-base.ckpt", "main"),),
}
_SIZES = {
    "clay_v1_5_large": (311_442_944, "Clay encoder of the published v1.5 weights, 311 M parameters"),
    "clay_v1_base": (92_102_144, "Clay encoder of the published v1.0 weights, 92 M parameters"),
    "clay_small": (10_957_568, "small Clay encoder without published weights, 11 M parameters"),
    "clay_tiny": (4_030_592, "very small Clay encoder without published weights, 4 M parameters"),
    "clay_micro": (1_245_824, "smallest Clay encoder, for tests, without published weights, 1 M parameters"),
}


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """The task."""
    summary = "GK-2A patches to near-surface air temperature with a Clay encoder, up to the 900 x 900 map"
    return [Spec("clay_ta", "eozoo_clay_ta.task:ClayTa", summary, citation=_DOCUMENT, card=cards.TASK)]


@hookimpl
def eozoo_models() -> list[Spec]:
    """The encoders."""
    return [
        Spec(
            name,
            f"eozoo_clay_ta.clay:{name}",
            text,
            takes=(_PIXELS,),
            gives=(_TOKENS,),
            citation=_CITATION,
            sources=SOURCES.get(name, ()),
            card=cards.MODELS[name],
            parameters=parameters,
        )
        for name, (parameters, text) in _SIZES.items()
    ]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """The loss of the document."""
    takes = (Port("mean", "B 1 H W"), Port("target", "B 1 H W"))
    target = "eozoo_clay_ta.losses:squared_error"
    summary = "Squared error over labelled values"
    return [Spec("ta_squared_error", target, summary, takes=takes, citation=_DOCUMENT, card=cards.LOSS)]


@hookimpl
def eozoo_datasets() -> list[Spec]:
    """The samples."""
    target = "eozoo_clay_ta.data:clay_ta_patches"
    summary = "samples of SPLIT_chunk_00000.pt files"
    return [Spec("clay_ta_patches", target, summary, gives=WINDOWS, citation=_DOCUMENT, card=cards.DATASET)]
