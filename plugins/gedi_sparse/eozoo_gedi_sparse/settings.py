"""Every setting of the task ``gedi_sparse``. The defaults are the recommended ones, presets lie beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from eozoo_core.settings import (
    FREE,
    SKIP,
    Alias,
    Named,
    OnUnreadable,
    ScheduleSettings,
    Settings,
    TaskSettings,
    like,
)
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer
from pydantic import Field, model_validator

from eozoo_gedi_sparse.prepare.settings import GediPrepareSettings

DOCUMENTED = Path(__file__).with_name("documented.yaml")
FEW_SHOTS = Path(__file__).with_name("few_shots.yaml")
PRESETS = {"documented": DOCUMENTED, "few_shots": FEW_SHOTS}

# Channel order of the document: Sentinel-2 surface reflectance, then Sentinel-1 ascending as (dB + 30) / 30.
DOCUMENTED_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12", "VV", "VH")

# Lower edges of the strata that scores are given for, in the target's unit.
_STRATA = {"m": (0.0, 5.0, 10.0, 20.0, 30.0), "Mg/ha": (0.0, 50.0, 100.0, 200.0, 300.0)}


class ModelSettings(Named):
    """The network and its loss."""

    name: str = Field(
        "gedi_unet", description="Network: gedi_unet, timm_unet, context_net or any model with the same shapes."
    )
    loss: Named = Field(
        Named(name="gaussian_nll"),
        description="Loss over labelled pixels; gaussian_nll and laplacian_nll train a variance, mse and mae none.",
    )


class DataSettings(Settings):
    """What the arrays mean and which part of them is learned from."""

    bands: tuple[int | str, ...] | None = Field(
        None, description="Input bands by index (from 0) or name, in the order the network gets them; null = all."
    )
    band_names: tuple[str, ...] | None = Field(
        None,
        description="Names of the bands in the files, in order; null = a GeoTIFF's band descriptions, or for 14 bands "
        "the document's B1 ... B12, VV, VH.",
    )
    target: int | str | None = Field(
        None, description="Label band by index (from 0) or name; null = the only one, and files of several are refused."
    )
    target_names: tuple[str, ...] | None = Field(
        None, description="Names of the label bands in the files, in order; null = a GeoTIFF's band descriptions."
    )
    unit: Literal["m", "Mg/ha"] = Field("m", description="Unit of the target: height in m or biomass density in Mg/ha.")
    input_nodata: float | None = Field(
        None, description="Value that means no data in the inputs, beside NaN and a GeoTIFF's own nodata tag."
    )
    label_nodata: float | None = Field(
        None, description="Value that means no label, beside NaN and a GeoTIFF's own nodata tag."
    )
    zero_is_nodata_in: int | str | None = Field(
        None,
        description="Band (index or name in the file) whose value 0 marks the whole pixel as no data; null = none.",
    )
    skip_unpaired: bool = Field(False, description="Leave out, and count, inputs without a label file and the reverse.")
    on_unreadable: OnUnreadable = Field(
        "stop",
        description="A file that cannot be read stops the work, or is left out and counted.",
        json_schema_extra=FREE,
    )
    validation: bool = Field(
        True, description="Whether there is a split val to choose the epoch by; false = none, as a forest needs none."
    )
    crop: int | None = Field(
        96, ge=1, description="Side of the random window that training takes from a patch, px; null = the whole patch."
    )
    crops_per_patch: int = Field(1, ge=1, description="Random windows per patch and epoch.")
    crop_on_label: bool = Field(True, description="Place each window so that it holds at least one label.")
    flips: bool = Field(True, description="Random flips and quarter turns in training.")
    normalise: Literal["standard", "none"] = Field(
        "standard", description="standard = each band to mean 0 and std 1 of the training split; none = as it is."
    )
    standardise_target: bool = Field(
        True, description="Train on (target - mean) / std of the training labels; results stay in the target's unit."
    )


class GediTrainSettings(EnsembleTrain):
    """How the model is trained."""

    members: int = like(EnsembleTrain, "members", 5)
    epochs: int | None = like(EnsembleTrain, "epochs", 60)
    batch_size: int = like(EnsembleTrain, "batch_size", 16)
    weight_decay: float = like(EnsembleTrain, "weight_decay", 1e-2)
    schedule: ScheduleSettings = like(EnsembleTrain, "schedule", ScheduleSettings(name="cosine", warmup_steps=20))


class GediRuntimeSettings(EnsembleRuntime):
    """Where and how the work runs."""

    data_dir: Path | None = Field(None, description="Folder with input/ and label/, each with train/, val/ and test/.")
    input_dir: Path | None = Field(
        None, description="Input patches (C, H, W) in train/, val/ and test/; null = input/ in data_dir."
    )
    label_dir: Path | None = Field(
        None, description="Label patches in train/, val/ and test/, same names; null = label/ in data_dir."
    )


class GediInferSettings(MapInfer):
    """How maps are made."""

    window: int = like(MapInfer, "window", 256)
    overlap: int = like(MapInfer, "overlap", 32)


class GediEvalSettings(EnsembleEval):
    """How scores are computed."""

    strata: tuple[float, ...] | None = Field(
        None,
        description="Rising lower edges of the strata of the target, in its unit; null = 0 5 10 20 30 m or "
        "0 50 100 200 300 Mg/ha.",
    )
    scatter_max: float | None = Field(None, gt=0, description="End of the scatter's axes, target's unit; null = data.")

    @model_validator(mode="after")
    def _rises(self) -> GediEvalSettings:
        if self.strata is not None and (not self.strata or list(self.strata) != sorted(set(self.strata))):
            raise ValueError(f"strata must rise, got {list(self.strata)}")
        return self


class GediSettings(TaskSettings):
    """All settings of gedi_sparse."""

    aliases: ClassVar = {
        "data.skip_unreadable": Alias("data.on_unreadable", SKIP),
        "infer.skip_unreadable": Alias("infer.strict", {True: False, False: False}),
        "infer.quicklook": Alias("infer.picture"),
        "prepare.shots.skip_unreadable": Alias("prepare.shots.on_unreadable", SKIP),
        "prepare.shots.workers": Alias("prepare.workers"),
    }

    model: ModelSettings = Field(ModelSettings(), description="The network and its loss; fixed by a run.")
    data: DataSettings = Field(DataSettings(), description="What the arrays mean; fixed by a run.")
    train: GediTrainSettings = like(TaskSettings, "train", GediTrainSettings())
    runtime: GediRuntimeSettings = like(TaskSettings, "runtime", GediRuntimeSettings())
    infer: GediInferSettings = like(TaskSettings, "infer", GediInferSettings())
    eval: GediEvalSettings = like(TaskSettings, "eval", GediEvalSettings())
    prepare: GediPrepareSettings = like(TaskSettings, "prepare", GediPrepareSettings())

    @property
    def strata(self) -> tuple[float, ...]:
        """Lower edges of the strata, in the target's unit."""
        return self.eval.strata or _STRATA[self.data.unit]
