"""Settings of both tasks. Importing this module imports no torch and no numpy."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Literal

from eozoo_core import EvalSettings, InferSettings, RuntimeSettings, Settings, TaskSettings, TrainSettings
from eozoo_core.settings import BY_CONTENT, FREE, Alias, Named, ScheduleSettings
from eozoo_core.settings.ensemble import EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import PlainInfer, SceneInfer
from pydantic import Field, model_validator

from eozoo_barlow_twins.prepare.settings import PixelPrepare

WORLDCOVER = {
    10: "Tree cover",
    20: "Shrubland",
    30: "Grassland",
    40: "Cropland",
    50: "Built-up",
    60: "Bare / sparse vegetation",
    70: "Snow and ice",
    80: "Permanent water bodies",
    90: "Herbaceous wetland",
    95: "Mangroves",
    100: "Moss and lichen",
}


_EARLIER = {"data.shares_of": "blocks"}  # so that runs of then keep their splits
_ALIASES = {"runtime.base_path": Alias("runtime.data_dir")}  # the document's name


class Projector(Settings):
    """The network between embedding and loss; it is left behind after pre-training."""

    width: int = Field(128, ge=2, description="Units of its hidden layers and of its output.")
    hidden_layers: int = Field(1, ge=0, description="Hidden layers before the last, linear one.")
    batch_norm: bool = Field(False, description="Batch normalisation after each hidden layer (wide projectors).")


class PretrainModel(Settings):
    """What is pre-trained."""

    backbone: Named = Field(Named(name="btfm_transformer"), description="Encoder of a pixel's series, by name.")
    projector: Projector = Field(Projector(), description="Projector of the pre-training.")
    loss: Named = Field(Named(name="barlow_twins"), description="Loss between the two views, by name.")


class Augment(Settings):
    """Changes to the views beyond the choice of dates. All off by default, as documented."""

    noise: float = Field(
        0.0, ge=0, description="Standard deviation of added Gaussian noise, in band standard deviations."
    )
    date_dropout: float = Field(
        0.0, ge=0, lt=1, description="Probability that a date of a view is replaced by the date before it in the view."
    )
    band_dropout: float = Field(0.0, ge=0, lt=1, description="Probability that a band of a view is set to its mean.")
    mixup: float = Field(
        0.0, ge=0, description="Weight of the mixed-sample term of the loss (Bandara et al. 2023); 0 = off."
    )


class PixelData(Settings):
    """Which pixels are seen and how they are divided."""

    dataset: str = Field("sentinel2", description="Folder under DATA_DIR/data/ that holds processed/TILE/.")
    tiles: tuple[str, ...] | None = Field(None, description="Tiles to use; null = all of the data set.")
    bands: tuple[str, ...] | None = Field(None, description="Bands to use, by name; null = all of the first tile.")
    sample_size: int = Field(16, ge=2, description="Dates in one view.")
    min_valid: int = Field(
        32, ge=1, description="A pixel is used where it has more clear dates than this; others are nodata in maps."
    )
    val_tiles: tuple[str, ...] = Field((), description="Whole tiles kept for validation, beside val_share.")
    test_tiles: tuple[str, ...] = Field((), description="Whole tiles kept for the test, beside test_share.")
    val_share: float = Field(0.1, ge=0, lt=1, description="Share of each of the other tiles for validation.")
    test_share: float = Field(0.2, ge=0, lt=1, description="Share of each of the other tiles for the test.")
    shares_of: Literal["pixels", "blocks"] = Field(
        "pixels",
        description="What shares are of: usable pixels (labelled ones, and each class), as near as whole blocks allow; "
        "or the number of blocks, whatever is in them.",
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="Seed of the splits of pixels.")
    block: int = Field(
        16, ge=1, description="Side of a spatial block in pixels; a tile with blocks.npy (fields) uses those instead."
    )
    folds: int = Field(
        0, ge=0, description="Cross-validation: equal parts of the blocks, of which one is the test; 0 = by test_share."
    )
    fold: int = Field(0, ge=0, description="Which of the folds is the test.")
    buffer: int = Field(
        1, ge=0, description="Training pixels this close (pixels) to validation or test blocks are left out."
    )

    @model_validator(mode="after")
    def _enough_dates(self) -> PixelData:
        if self.min_valid + 1 < self.sample_size:
            raise ValueError(
                f"data.sample_size {self.sample_size} needs min_valid >= {self.sample_size - 1}: "
                "dates are drawn without replacement"
            )
        if set(self.val_tiles) & set(self.test_tiles):
            raise ValueError("a tile is in both data.val_tiles and data.test_tiles")
        if self.folds and not (self.folds > 1 and self.fold < self.folds and self.shares_of == "pixels"):
            raise ValueError("data.folds must be 2 or more, data.fold one of 0..folds-1, data.shares_of pixels")
        if self.val_share + self.test_share >= 1:
            raise ValueError("data.val_share and data.test_share leave nothing to train on")
        return self


class Labels(Settings):
    """A label file and what its codes mean."""

    labels: str = Field("labels.npy", description="Label file of a tile: (H, W) integers.")
    legend: dict[int, str] = Field(
        WORLDCOVER,
        description="Code -> class name; codes of one name are one class. With --set: 'data.legend={\"10\": Tree}'.",
    )
    no_label: tuple[int, ...] = Field((0,), description="Codes that mean 'no label'; they enter nothing.")


def _of_probes(name: str) -> Any:
    """Field ``name`` of `Labels` where nothing is learned from labels: free at any time."""
    field = copy(Labels.model_fields[name])
    field.json_schema_extra = FREE
    return field


class PretrainData(PixelData):
    """Pixels of the pre-training; labels are for probes alone (``eval``), under the names of ``barlow_landcover``."""

    val_samples: int = Field(4096, ge=2, description="At most so many validation pixels, spread over all of them.")
    augment: Augment = Field(Augment(), description="Augmentation of the views.")
    labels: str = _of_probes("labels")
    legend: dict[int, str] = _of_probes("legend")
    no_label: tuple[int, ...] = _of_probes("no_label")

    @property
    def probed(self) -> Labels:
        """What probes learn from."""
        return Labels(labels=self.labels, legend=self.legend, no_label=self.no_label)


class LabelledData(PixelData, Labels):
    """Pixels with labels. sample_size, min_valid and bands are those of the pre-trained encoder where there is one."""

    label_share: float = Field(
        1.0, gt=0, le=1, description="Share of the labelled pixels of train and val that is kept, of each class."
    )


_FALLS = {"none": "constant", "linear": "linear", "cosine": "cosine"}


class PixelTrain(TrainSettings):
    """Training of pixel encoders."""

    schedule: ScheduleSettings = Field(ScheduleSettings(name="cosine"), description="Learning-rate schedule.")
    bias_rate: float = Field(1.0, gt=0, description="Learning rate of biases and norms, as a share of the others'.")

    @model_validator(mode="before")
    @classmethod
    def _fall(cls, values: Any) -> Any:
        """Take the name that ``schedule.name`` had before, in files and runs of then: ``schedule.fall``."""
        schedule = values.get("schedule") if isinstance(values, dict) else None
        if not isinstance(schedule, dict) or "fall" not in schedule:
            return values
        fall, rest = schedule["fall"], {k: v for k, v in schedule.items() if k != "fall"}
        if fall not in _FALLS or rest.get("name", "cosine") not in ("cosine", _FALLS[fall]):
            raise ValueError(f"schedule.fall {fall!r}: leave it out, write schedule.name: {', '.join(_FALLS.values())}")
        return {**values, "schedule": {**rest, "name": _FALLS[fall]}}


class LandCoverTrain(PixelTrain, EnsembleTrain):
    """Training of classifiers."""

    head_rate: float = Field(
        100.0,
        gt=0,
        description="Learning rate of the classifier, as a multiple of learning_rate; chosen for a linear one on a "
        "frozen encoder.",
    )


class PixelRuntime(RuntimeSettings):
    """Paths and machines."""

    data_dir: str = Field(".", description="Folder that holds data/DATASET/processed/TILE/.")
    compile: bool = Field(False, description="Compile the encoder with torch.compile (minutes once, then faster).")


class PretrainRuntime(PixelRuntime):
    """Paths and machines of the pre-training."""

    test_tile_path: str | None = Field(
        None, description="A tile folder mapped after training (RUN/test_tile); null = none."
    )


class LandCoverRuntime(PixelRuntime, EnsembleRuntime):
    """Paths and machines of the classification."""


class SelectDates(InferSettings):
    """Which dates of a pixel the encoder sees in maps and scores."""

    selection: Literal["even", "random"] = Field(
        "even", description="even: spread over all clear dates, always the same; random: seeded draws as in training."
    )
    passes: int = Field(4, ge=1, description="Selections per pixel whose embeddings (or probabilities) are averaged.")
    seed: int = Field(0, ge=0, description="Seed of selection 'random'.")
    block_pixels: int = Field(16384, ge=1, description="Pixels read and encoded at a time (whole rows, at least one).")
    batch_size: int | None = Field(
        None, ge=1, description="Pixels per forward pass, each with its passes; null = as many as are fast."
    )
    block_threads: int = Field(2, ge=1, description="Blocks worked on at the same time.")


class PretrainInfer(SelectDates, PlainInfer):
    """Maps of embeddings."""

    products: tuple[Literal["embedding", "int8", "false_colour"], ...] = Field(
        ("embedding", "int8", "false_colour"),
        description="Maps to write; int8: the embedding in bytes with scale and offset tags.",
    )
    colours: str | None = Field(
        None, description="Another run, or false_colour.json beside maps, to share its colours; null = this run's own."
    )


class LandCoverInfer(SelectDates, SceneInfer):
    """Maps of classes."""

    products: tuple[Literal["classes", "probabilities"], ...] = Field(
        ("classes", "probabilities"), description="Maps to write."
    )


class PixelEval(EvalSettings):
    """Scores of embeddings and classes on labelled pixels."""

    shares: tuple[float, ...] = Field(
        (0.01, 0.05, 0.1, 0.3), description="Shares of the training labels for the curve."
    )
    draws: int = Field(5, ge=1, description="Random draws of the labels at each share.")
    neighbours: int = Field(5, ge=1, description="k of the k-nearest-neighbour classifier.")
    trees: int = Field(100, ge=1, description="Trees of the random forest on raw bands.")
    bootstrap: int = Field(500, ge=10, description="Resamples of spatial blocks for the intervals.")
    max_pixels: int = Field(20000, ge=10, description="At most so many labelled pixels of each split, spread evenly.")
    data_dir: str | None = Field(
        None, description="Score on another place: folder that holds data/DATASET/processed/; null = runtime.data_dir."
    )
    dataset: str | None = Field(None, description="Score on another data set; null = data.dataset.")
    tiles: tuple[str, ...] | None = Field(
        None, description="Score on these tiles; null = all of another place, else those of the training."
    )

    @property
    def elsewhere(self) -> bool:
        """Whether scores are of another place than the training's."""
        return any(value is not None for value in (self.data_dir, self.dataset, self.tiles))

    @model_validator(mode="before")
    @classmethod
    def _former(cls, values: Any) -> Any:
        """Leave out ``labels``, which stands in ``data`` now (and did nothing in barlow_landcover)."""
        return {k: v for k, v in values.items() if k != "labels"} if isinstance(values, dict) else values


class BarlowSettings(TaskSettings):
    """Settings of the pre-training."""

    aliases: ClassVar = _ALIASES | {
        f"eval.labels.{name}": Alias(f"data.{name}") for name in ("labels", "legend", "no_label")
    }
    earlier: ClassVar = _EARLIER

    model: PretrainModel = Field(PretrainModel(), description="What is pre-trained.")
    data: PretrainData = Field(PretrainData(), description="Which pixels are seen.")
    train: PixelTrain = Field(
        PixelTrain(
            epochs=20, batch_size=256, learning_rate=1e-3, weight_decay=1.5e-6, clip_norm=None, clip_value=1.0,
            schedule=ScheduleSettings(name="cosine", warmup_steps=100),
        ),
        description="How it is trained.",
    )  # fmt: skip
    runtime: PretrainRuntime = Field(PretrainRuntime(), description="Where and how the work runs.")
    infer: PretrainInfer = Field(PretrainInfer(), description="How maps are made.")
    eval: PixelEval = Field(PixelEval(), description="How scores are computed.")
    prepare: PixelPrepare = Field(PixelPrepare(), description="How raw products become data.")


class LandCoverModel(Settings):
    """A classifier on an encoder."""

    pretrained: str | None = Field(
        None,
        description="Run directory of 'barlow_twins' (its best.pt); null = encoder at random; it learns "
        "only where trainable is last or all.",
        json_schema_extra=BY_CONTENT,
    )
    backbone: Named | None = Field(
        None, description="Encoder by name; null = that of 'pretrained' (or btfm_transformer without one)."
    )
    head: Literal["linear", "mlp"] = Field("linear", description="Classifier on the embedding.")
    hidden: tuple[int, ...] = Field((128, 64), description="mlp: units of its hidden layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="mlp: dropout after each hidden layer.")
    trainable: Literal["head", "last", "all"] = Field(
        "head", description="What is trained: the head, also the last encoder layers, or everything."
    )
    last_layers: int = Field(1, ge=1, description="last: how many of the encoder's last layers are trained.")
    loss: Named = Field(Named(name="pixel_cross_entropy"), description="Loss over labelled pixels, by name.")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: each class counts by the inverse of its share of the training labels."
    )


class LandCoverSettings(TaskSettings):
    """Settings of the land-cover task."""

    aliases: ClassVar = _ALIASES
    earlier: ClassVar = {**_EARLIER, "train.head_rate": 1.0}

    model: LandCoverModel = Field(LandCoverModel(), description="Encoder and classifier.")
    data: LabelledData = Field(LabelledData(), description="Which pixels are seen, and their labels.")
    train: LandCoverTrain = Field(
        LandCoverTrain(epochs=20, batch_size=256, learning_rate=1e-3),
        description="How it is trained.",
    )
    runtime: LandCoverRuntime = Field(LandCoverRuntime(), description="Where and how the work runs.")
    infer: LandCoverInfer = Field(LandCoverInfer(), description="How maps are made.")
    eval: PixelEval = Field(PixelEval(), description="How scores are computed.")
    prepare: PixelPrepare = Field(PixelPrepare(), description="How raw products become data.")
