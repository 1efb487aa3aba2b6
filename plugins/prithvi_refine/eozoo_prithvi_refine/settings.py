"""Every setting of the task ``prithvi_refine``. The defaults are those of the document, ``lowvr.yaml`` beside
this file its configuration for GPUs of 8 to 12 GB.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from eozoo_core.settings import (
    BY_CONTENT,
    FREE,
    Alias,
    Named,
    OnUnreadable,
    PrepareSettings,
    ScheduleSettings,
    Settings,
    TaskSettings,
    WeightsFile,
)
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer
from eozoo_core.settings.schema import like
from pydantic import Field, model_validator

LOWVR = Path(__file__).with_name("lowvr.yaml")
BANDS = ("B02", "B03", "B04", "B08")  # blue, green, red, near infrared: order of every image in this plugin
UNIT = "reflectance 0..1"
BIOMES = 17
_Latitude = Annotated[float, Field(ge=-90, le=90)]
_Longitude = Annotated[float, Field(ge=-180, le=180)]
Encoder = Literal[
    "prithvi_eo_v2_600",
    "prithvi_eo_v2_300",
    "prithvi_eo_v2_100",
    "prithvi_eo_v2_tiny",
    "prithvi_eo_v2_600_tl",
    "prithvi_eo_v2_300_tl",
    "prithvi_eo_v2_100_tl",
    "prithvi_eo_v2_tiny_tl",
    "prithvi_eo_nano",
    "prithvi_eo_nano_tl",
    "none",
]


class ModelSettings(Settings):
    """The refiner: metadata, Prithvi in 8 bit with LoRA, ConvNeXt head."""

    encoder: Encoder = Field(
        "prithvi_eo_v2_600",
        description="Prithvi variant; _tl also take time and place; nano is unpublished; none = head alone.",
    )
    context: Named | None = Field(
        None,
        description="Registered network for maps that sees the input too (galileo_nano); its channels join the head's.",
    )
    weights: WeightsFile = Field(
        None,
        description="Prithvi weights (.pt, .safetensors); published = what 'eozoo weights fetch' keeps; null = random. "
        "They are read once and kept in the run.",
        json_schema_extra=BY_CONTENT,
    )
    quantization: Literal["int8", "nf4", "none"] = Field(
        "int8", description="Frozen linear layers of the encoder in 8 bit, 4 bit (nf4) or as they are (none)."
    )
    use_lora: bool = Field(True, description="Train low-rank adapters in the encoder's attention and MLP layers.")
    lora_r: int = Field(8, ge=1, description="Rank of the adapters; the document names 4, 8, 16, 32.")
    lora_alpha: float = Field(16, gt=0, description="Scale: the adapters are multiplied by lora_alpha / lora_r.")
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the adapters.")
    freeze_base: bool = Field(True, description="Keep the encoder's own weights; false trains all (quantization none).")
    unfreeze_last_n_blocks: int = Field(
        0, ge=0, description="Last encoder blocks whose own weights are trained too; they are not quantized."
    )
    num_convnext_blocks: int = Field(4, ge=1, description="ConvNeXt blocks of the head, at full resolution.")
    head_width: int = Field(32, ge=4, description="Channels of the head and of the feature map for a stage 3.")
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="Stochastic depth of the last ConvNeXt block, 0 at the first."
    )
    max_change: float = Field(0.5, gt=0, description="Largest change of a pixel, reflectance.")
    max_reflectance: float = Field(
        1.5, gt=0, description="Outputs lie in 0..this, reflectance; snow and glint exceed 1."
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Recompute encoder blocks in backward: less memory, about a third more time.",
        json_schema_extra=FREE,
    )
    cpu_fallback: bool = Field(
        True,
        description="On a GPU, run the head on the CPU when memory runs out instead of stopping.",
        json_schema_extra=FREE,
    )

    @model_validator(mode="after")
    def _trainable(self) -> ModelSettings:
        if not self.freeze_base and self.quantization != "none":
            raise ValueError(f"freeze_base false needs quantization none, not {self.quantization}: all is trained")
        return self


class DegradationSettings(Settings):
    """Largest strengths of the simulated stage-1 output; each is drawn per tile between 0 and its value."""

    blur_px: float = Field(2.0, ge=0, description="Standard deviation of the Gaussian blur, px.")
    noise: float = Field(0.02, ge=0, description="Standard deviation of the noise, drawn per band, reflectance.")
    colour_gain: float = Field(0.1, ge=0, lt=1, description="Deviation of the gain of each band from 1.")
    colour_offset: float = Field(0.01, ge=0, description="Offset of each band, +-, reflectance.")
    haze: float = Field(0.2, ge=0, lt=1, description="Share of haze over blue; other bands have less.")


class DataSettings(Settings):
    """What the tiles are and which part of them is learned from."""

    dataset: Named | None = Field(
        None, description="Registered dataset instead of the tiles in runtime.data_dir; it gets split."
    )
    tile_size: int = Field(120, ge=16, description="Side of the square that training takes from a tile, px.")
    use_augmentation: bool = Field(True, description="Random flips and quarter turns in training.")
    max_samples: int | None = Field(
        None, ge=1, description="Use the first so many training tiles (and a quarter of it for validation); null = all."
    )
    degradation: DegradationSettings = Field(
        DegradationSettings(), description="Stands in for stage 1 where runtime.stage1_dir is not given."
    )
    default_month: int | None = Field(
        None, ge=1, le=12, description="Month of tiles that name none; null = such a tile is an error."
    )
    default_biome: int | None = Field(
        None, ge=0, le=16, description="Biome of tiles that name none; null = such a tile is an error."
    )


class PrithviTrainSettings(EnsembleTrain):
    """How the model is trained."""

    batch_size: int = Field(
        1, ge=1, description="Tiles per forward pass, over all processes: more devices do not change what is learned."
    )
    accumulate: int = Field(
        8, ge=1, description="Forward passes per optimiser step; effective batch = batch_size x this."
    )
    learning_rate: float = Field(1e-4, gt=0, description="Learning rate; the base rate of a schedule.")
    weight_decay: float = Field(0.01, ge=0, description="L2 penalty (adam, sgd) or decoupled decay (adamw).")
    schedule: ScheduleSettings = Field(ScheduleSettings(name="cosine"), description="Learning-rate schedule.")
    validate_every: int = Field(5, ge=1, description="Epochs between validations; the last epoch is always validated.")
    checkpoint_every: int | None = Field(
        10, ge=1, description="Keep checkpoint_epoch_NNN.pt every so many epochs; null = only current.pt and best.pt."
    )
    spectral_loss: Named = Field(
        Named(name="spectral_plausibility"), description="Loss of output against target: NDVI, EVI, spectral angle."
    )
    spectral_weight: float = Field(1.0, ge=0, description="Weight of spectral_loss.")
    identity_loss: Named = Field(
        Named(name="identity_edge"), description="Loss of output against input: change and displaced edges."
    )
    identity_weight: float = Field(0.5, ge=0, description="Weight of identity_loss.")
    adversarial_weight: float = Field(0.05, ge=0, description="Weight of the PatchGAN loss; 0 builds no discriminator.")
    target_loss: Named = Field(
        Named(name="identity_edge"),
        description="Loss of output against target, beyond the document, whose losses leave brightness free.",
    )
    target_weight: float = Field(0.0, ge=0, description="Weight of target_loss; 0 as in the document.")
    discriminator_rate: float = Field(
        0.1, gt=0, description="The discriminator's learning rate as a multiple of learning_rate."
    )

    @model_validator(mode="after")
    def _learns_something(self) -> PrithviTrainSettings:
        if self.spectral_weight + self.target_weight == 0:
            raise ValueError("spectral_weight and target_weight are both 0: nothing would be learned from the target")
        return self


class PrithviRuntimeSettings(EnsembleRuntime):
    """Where and how the work runs."""

    data_dir: Path | None = Field(None, description="Folder with train/, val/ and test/ of NPZ tiles.")
    stage1_dir: Path | None = Field(
        None, description="Folder of stage-1 outputs NAME.npz with 'opt_v1'; null = degrade the target instead."
    )
    pictures: int = Field(4, ge=0, description="Validation tiles drawn to TensorBoard; 0 = none.")


class PrithviInferSettings(MapInfer):
    """How images are refined."""

    window: int = like(MapInfer, "window", 120)
    overlap: int = like(MapInfer, "overlap", 30)
    picture: bool = Field(False, description="Also write a PNG of a scene before and after, in true colour.")
    month: int | None = Field(None, ge=1, le=12, description="Month of a scene; null = from its date.")
    date: datetime.date | None = Field(
        None, description="Day of a scene, YYYY-MM-DD; null = from its file name or tags. _tl encoders look at it."
    )
    location: tuple[_Latitude, _Longitude] | None = Field(
        None, description="Latitude and longitude of a scene, degrees; null = its centre by its georeference (_tl)."
    )
    biome: int | None = Field(None, ge=0, le=16, description="Biome of a scene (0-16); needed for GeoTIFF.")
    bands: tuple[int | str, ...] | None = Field(
        None,
        description="Blue, green, red, NIR by number (from 1) or name; null = by name, or a four-band file as is.",
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="Multiplies the values of a scene, 0.0001 for reflectance x 10000; null = by the file: floats are "
        "reflectance, whole numbers are Sentinel-2's.",
    )
    offset: float | None = Field(
        None,
        description="Added to a scene's values before scaling, -1000 from baseline 04.00 on; null = by its name, "
        "metadata or tags.",
    )
    features: bool = Field(False, description="Write the refined features (head_width channels) beside the image.")


class PrithviEvalSettings(EnsembleEval):
    """How scores are computed."""

    panels: int = Field(6, ge=0, description="Tiles drawn into the report: input, output, target, difference.")


class PrithviPrepareSettings(PrepareSettings):
    """How Sentinel-2 and HLS products become tiles (step tiles) and pairs of dates (step season_pairs)."""

    source: Path | None = Field(
        None, description="Folder of products: SAFE, BigEarthNet patches, HLS granules, date stacks."
    )
    products: Path | None = Field(
        None, description="CSV file of what products do not tell: product, date, month, biome, offset; a line each."
    )
    band_names: tuple[str, ...] | None = Field(
        None, description="What the bands of files without names are, in order, or a preset: [sentinel2_l2a]."
    )
    scale: float | None = Field(
        None, gt=0, description="Multiplies stored values: reflectance = (value + offset) x scale; null = by the file."
    )
    offset: float | None = Field(
        None,
        description="Added before scaling, -1000 for baselines from 04.00 on, 0 before; null = by the product's name, "
        "metadata or tags.",
    )
    on_unreadable: OnUnreadable = Field("stop", description="A file that cannot be read stops the work or is skipped.")
    month: int | None = Field(None, ge=1, le=12, description="Month of products without a date; null = an error.")
    biome: int | None = Field(None, ge=0, le=16, description="Biome code of all tiles.")
    biome_raster: Path | None = Field(None, description="Raster of biome codes 0-16; the commonest in a tile counts.")
    tile_size: int = Field(120, ge=16, description="Side of a tile, px; an image that is smaller is one tile.")
    min_valid: float = Field(0.9, ge=0, le=1, description="Leave out tiles with a smaller share of valid pixels.")
    cloud_blue: float | None = Field(
        0.25, gt=0, description="Without SCL or Fmask: pixels bluer than this are cloud (snow too); null = no test."
    )
    max_cloud: float = Field(0.1, ge=0, le=1, description="Leave out tiles with a larger share of cloudy pixels.")
    block_km: float = Field(20.0, gt=0, description="Side of a place: all tiles in it go to one split, km.")
    fractions: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="Shares of train, val and test; seasons are balanced over them."
    )
    seed: int = Field(0, ge=0, description="Seed of the split.")

    @model_validator(mode="after")
    def _shares(self) -> PrithviPrepareSettings:
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must be three shares that add up to 1, got {list(self.fractions)}")
        return self


class PrithviSettings(TaskSettings):
    """All settings of prithvi_refine."""

    aliases: ClassVar = {"runtime.weights": Alias("model.weights")}

    model: ModelSettings = Field(ModelSettings(), description="The network; fixed by a run.")
    data: DataSettings = Field(DataSettings(), description="What the tiles are; fixed by a run.")
    train: PrithviTrainSettings = Field(PrithviTrainSettings(), description="How it is trained; fixed by a run.")
    runtime: PrithviRuntimeSettings = Field(
        PrithviRuntimeSettings(), description="Where and how it runs; free at any time."
    )
    infer: PrithviInferSettings = Field(PrithviInferSettings(), description="How images are refined; free at any time.")
    eval: PrithviEvalSettings = Field(PrithviEvalSettings(), description="How scores are computed; free at any time.")
    prepare: PrithviPrepareSettings = Field(
        PrithviPrepareSettings(), description="How products become tiles; free at any time."
    )
