"""Settings of the task, with the documents' names where they give one."""

from __future__ import annotations

from typing import ClassVar, Literal

from eozoo_core import Settings, TaskSettings
from eozoo_core.settings import BY_CONTENT, SKIP, Alias, Named, OnUnreadable, PrepareSettings, WeightsFile
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import SceneInfer
from pydantic import Field, field_validator, model_validator

from eozoo_clay_ta.channels import BT, RF

EncoderName = Literal["clay_v1_5_large", "clay_v1_base", "clay_small", "clay_tiny", "clay_micro"]


class ClayModel(Settings):
    """The network."""

    type: Literal["clay_transfer", "clay_free", "centre_ridge", "network"] = Field(
        "clay_transfer",
        description="clay_transfer; clay_free = the same head without Clay; centre_ridge = ridge regression on the "
        "centre values, solved exactly (baselines); network = the one that model.network names.",
    )
    network: Named | None = Field(
        None,
        description="With type network: any model for maps; it gets all 47 inputs as planes of 9 x 9 px and its value "
        "at the centre counts.",
    )
    loss: Named = Field(
        Named(name="ta_squared_error"), description="Loss of z-scores; each sample is a map of one pixel."
    )
    encoder: EncoderName = Field(
        "clay_v1_5_large", description="Size of the Clay encoder; small, tiny and micro have no weights."
    )
    weights: WeightsFile = Field(
        None,
        description="Clay checkpoint (.ckpt, .pt, .safetensors); published = what 'eozoo weights fetch' keeps; null = "
        "random weights, and every result says so.",
        json_schema_extra=BY_CONTENT,
    )
    bt_waves_um: tuple[float, ...] = Field(
        tuple(c.wave_um for c in BT), description="Central wavelengths of the 10 infrared channels, micrometres."
    )
    rf_waves_um: tuple[float, ...] = Field(
        tuple(c.wave_um for c in RF), description="Central wavelengths of the 6 solar channels, micrometres."
    )
    freeze_encoder: bool = Field(True, description="Keep the encoder's weights; its features are then cached on disk.")
    trainable_blocks: int = Field(
        0, ge=0, description="Of a frozen encoder, train the last so many blocks all the same."
    )
    lora_rank: int = Field(0, ge=0, description="Of a frozen encoder, train low-rank updates of this rank; 0 = none.")
    encoder_input_size: int = Field(
        24,
        ge=8,
        description="Pixels to which the 9 x 9 window is enlarged, a multiple of 8; 8 = one token, gsd unseen.",
    )
    hidden: int = Field(256, ge=8, description="Width of the regression head.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of the head's hidden units dropped in training.")
    ridge: float = Field(1e-3, gt=0, description="Penalty of centre_ridge per sample, on standardised inputs.")

    @property
    def name(self) -> str:
        """What the network is called."""
        known = {"clay_free": "convolution and head, without Clay", "centre_ridge": "ridge regression"}
        return self.network.name if self.network else known.get(self.type, f"{self.encoder} with a regression head")

    @model_validator(mode="after")
    def _fits(self) -> ClayModel:
        for name, waves, n in (("bt_waves_um", self.bt_waves_um, 10), ("rf_waves_um", self.rf_waves_um, 6)):
            if len(waves) != n:
                raise ValueError(f"model.{name}: give {n} wavelengths, got {len(waves)}")
            if not all(0.2 < w < 20 for w in waves):
                raise ValueError(f"model.{name}: micrometres between 0.2 and 20, not nanometres, got {list(waves)}")
        if self.encoder_input_size % 8:
            raise ValueError(f"model.encoder_input_size: a multiple of 8, got {self.encoder_input_size}")
        if (self.type == "network") != (self.network is not None):
            raise ValueError("model.type=network and model.network.name go together; set both or neither")
        if not self.freeze_encoder and (self.trainable_blocks or self.lora_rank):
            raise ValueError("model.freeze_encoder=false trains everything; leave trainable_blocks and lora_rank at 0")
        return self


class GridSettings(Settings):
    """The grid of all fields: the KO area at 2 km, or a part of it."""

    width: int = Field(900, ge=9, description="Columns.")
    height: int = Field(900, ge=9, description="Rows.")
    left: float = Field(-900_000.0, description="Outer western edge, projected metres.")
    top: float = Field(900_000.0, description="Outer northern edge, projected metres.")
    metres: float = Field(2000.0, gt=0, description="Pixel size, metres.")


class DataSettings(Settings):
    """How the raw products are read; the same for training and maps."""

    grid: GridSettings = Field(GridSettings(), description="The grid.")
    landcover_base: Literal[0, 1] = Field(
        1, description="First class code: 1 = MCD12Q1 Collection 6, 0 = Collection 5."
    )
    accept_conditional: bool = Field(False, description="Also use pixels flagged 'conditionally usable'.")
    calibration: Literal["file", "table"] | None = Field(
        None,
        description="Numbers that make K and albedo of counts: file = those that a file states, table = the built-in; "
        "null = the file's, but numbers that are more than 5 K or 0.1 off the table are refused.",
    )
    samples: Named = Field(
        Named(name="clay_ta_patches"),
        description="Registered dataset of the samples; it gets patch_dir (runtime.data_dir) and split.",
    )

    @property
    def own(self) -> bool:
        """Whether the samples are chunks of this plugin."""
        return self.samples.name in ("clay_ta_patches", "eozoo-clay-ta/clay_ta_patches")


class ClayRuntime(EnsembleRuntime):
    """Where things are. The defaults are the documents' folders."""

    index_dir: str = Field("outputs/index", description="Folder of index_train.csv, index_val.csv, index_test.csv.")
    data_dir: str = Field("outputs/patch_pt", description="Folder of SPLIT_chunk_00000.pt ... and static_YYYY.tif.")
    statistics_dir: str = Field(
        "data/statistics", description="Folder of input_statistics_YYYY.json, statistics_YYYY.json."
    )
    cache_dir: str = Field("", description="Folder of cached encoder features; empty = 'features' in data_dir.")


class IndexSettings(Settings):
    """From scenes and station tables to three lists of samples."""

    scenes_dir: str = Field("data/gk2a", description="Folder of level-1B files or bt_/rf_ stacks, searched below too.")
    labels: str = Field("data/asos", description="ASOS tables (.csv, .txt): a folder or a file.")
    stations: str = Field("data/stations.csv", description="Station positions with periods of validity.")
    split_by: Literal["blocks", "dates", "stations"] = Field(
        "blocks", description="blocks of days dealt in turn; dates = before/after; stations = other places, all times."
    )
    block_days: int = Field(10, ge=1, description="blocks: days in a block.")
    pattern: str = Field("ttttvtttte", description="blocks: dealt in turn; t train, v val, e test, s left out.")
    val_from: str = Field("", description="dates: first day of val, YYYY-MM-DD UTC; everything before is train.")
    test_from: str = Field("", description="dates: first day of test; between the two is val.")
    gap_hours: int = Field(24, ge=0, description="blocks, dates: at least so long between samples of two splits.")
    val_stations: tuple[int, ...] = Field((), description="stations: numbers of the val stations.")
    test_stations: tuple[int, ...] = Field((), description="stations: numbers of the test stations.")

    @field_validator("pattern")
    @classmethod
    def _letters(cls, pattern: str) -> str:
        if not set(pattern) <= set("tves") or not set("tve") <= set(pattern):
            raise ValueError("use the letters t, v, e and s, each of t, v and e at least once")
        return pattern


class PatchSettings(Settings):
    """From the index to chunks of samples."""

    dem: str = Field(
        "data/static/dem.tif", description="Elevation, metres: GeoTIFF of any projection, or .npy on the grid."
    )
    lsmask: str = Field("", description="Land/sea mask, 1 = land: GeoTIFF or .npy; empty = from the land cover.")
    landcover: str = Field(
        "data/static/landcover_{year}.tif", description="MCD12Q1 LC_Type1: GeoTIFF or .npy; {year} is filled in."
    )
    input_statistics: str = Field("", description="Given input_statistics_YYYY.json; empty = from the training split.")
    ta_statistics: str = Field("", description="Given statistics_YYYY.json; empty = from the training split.")
    statistics_scenes: int = Field(
        500, ge=1, description="Training scenes, evenly spread, that the input statistics see."
    )
    index_chunk_rows: int = Field(100_000, ge=1, description="Rows of the index in memory at a time.")
    patch_chunk_rows: int = Field(20_000, ge=1, description="Samples in a chunk file (a scene is never cut in two).")
    on_unreadable: OnUnreadable = Field("stop", description="An unreadable scene stops the work, or is counted.")


class InspectSettings(Settings):
    """Look into one chunk."""

    file: str = Field("", description="Chunk file; empty = the first of the training split in data_dir.")
    out: str = Field("outputs/inspect", description="Folder of the picture.")
    idx: int = Field(0, ge=0, description="Sample in it, 0-based.")


class SimulateSettings(Settings):
    """Synthetic scenes, stations and labels: they show the pipeline, not how good a model is."""

    out: str = Field("data/synthetic", description="Folder to write.")
    stations: int = Field(40, ge=4, description="Stations.")
    every_days: int = Field(14, ge=1, description="Days between days with scenes, over 2022.")
    days: int = Field(26, ge=1, description="Days with scenes.")
    hours: tuple[int, ...] = Field((3, 15), description="UTC hours of the scenes of a day.")
    map_stamps: tuple[str, ...] = Field(
        ("202204040300", "202210120500"), description="Further scenes, YYYYMMDDHHMM UTC, in the folder 'map'."
    )


class ClayPrepare(PrepareSettings):
    """From raw products to training data."""

    build_index: IndexSettings = Field(IndexSettings(), description="Step build_index.")
    build_patches: PatchSettings = Field(PatchSettings(), description="Step build_patches.")
    inspect: InspectSettings = Field(InspectSettings(), description="Step inspect.")
    simulate: SimulateSettings = Field(SimulateSettings(), description="Step simulate.")


class ClayInfer(SceneInfer):
    """How maps are made."""

    unit: Literal["degC", "K"] = Field("degC", description="Unit of temperature in maps and predictions.")
    stride: int = Field(1, ge=1, description="Predict every so many pixels and interpolate between; 1 = every pixel.")
    land_only: bool = Field(False, description="Leave the sea without value.")
    batch_size: int = Field(512, ge=1, description="Windows per forward pass.")


class ClayEval(EnsembleEval):
    """How scores are computed."""

    maps_dir: str = Field("", description="Folder of maps to compare with the stations of the split; empty = none.")


class ClaySettings(TaskSettings):
    """All settings of clay_ta."""

    aliases: ClassVar = {
        "model.clay_ckpt_path": Alias("model.weights"),  # the document's name
        "runtime.patch_dir": Alias("runtime.data_dir"),
        "infer.on_bad_scene": Alias("infer.strict", {"skip": False, "error": False}),
        "prepare.build_patches.on_bad_scene": Alias("prepare.build_patches.on_unreadable", SKIP),
        "prepare.build_patches.workers": Alias("prepare.workers"),
    }

    model: ClayModel = Field(ClayModel(), description="The network.")
    data: DataSettings = Field(DataSettings(), description="How the raw products are read.")
    train: EnsembleTrain = Field(
        EnsembleTrain(epochs=30, batch_size=256, learning_rate=1e-3, weight_decay=1e-2), description="Training."
    )
    runtime: ClayRuntime = Field(ClayRuntime(), description="Where and how; free at any time.")
    infer: ClayInfer = Field(ClayInfer(), description="How maps are made; free at any time.")
    eval: ClayEval = Field(ClayEval(), description="How scores are computed; free at any time.")
    prepare: ClayPrepare = Field(ClayPrepare(), description="How raw products become data; free at any time.")
