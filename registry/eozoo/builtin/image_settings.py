"""Settings of the built-in tasks of images."""

from __future__ import annotations

from eozoo_core.images.settings import ImageDataSettings, ImageSettings
from eozoo_core.settings import Named, ScheduleSettings, like
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleTrain
from eozoo_core.settings.maps import MapInfer
from eozoo_core.task.classes import ClassNames, ClassWeights
from pydantic import Field, field_validator, model_validator

SCHEDULE = ScheduleSettings(name="cosine", warmup_steps=20)
TRAIN = EnsembleTrain(epochs=50, epoch_steps=10, batch_size=8, weight_decay=1e-2, schedule=SCHEDULE)
INFER = MapInfer(window=256, overlap=32)


class RegressionModel(Named):
    """The network and its loss."""

    name: str = Field("unet", description="Network; 'eozoo show pixelwise_regression' lists what fits.")
    loss: Named = Field(
        Named(name="gaussian_nll"),
        description="Loss; gaussian_nll and laplacian_nll train a standard deviation, mse, mae and huber none.",
    )


class RegressionData(ImageDataSettings):
    """What the arrays mean."""

    unit: str | None = Field(None, description="Unit of the labels and of what is predicted; null = as they say.")
    quantity: str = Field("", description="What is predicted, in words ('canopy height'): named in the maps.")
    least: float | None = Field(None, description="Smallest value that there can be (0 of a height); null = any.")
    crop: int = like(ImageDataSettings, "crop", 64)


class RegressionEval(EnsembleEval):
    """How scores are computed."""

    strata: tuple[float, ...] = Field(
        (), description="Rising lower edges of strata of the label, in its unit, that are scored alone too."
    )

    @model_validator(mode="after")
    def _rises(self) -> RegressionEval:
        if list(self.strata) != sorted(set(self.strata)):
            raise ValueError(f"strata must rise, got {list(self.strata)}")
        return self


class RegressionSettings(ImageSettings):
    """All settings of pixelwise_regression."""

    model: RegressionModel = Field(RegressionModel(), description="The network and its loss; fixed by a run.")
    data: RegressionData = like(ImageSettings, "data", RegressionData())
    train: EnsembleTrain = like(ImageSettings, "train", TRAIN)
    infer: MapInfer = like(ImageSettings, "infer", INFER)
    eval: RegressionEval = like(ImageSettings, "eval", RegressionEval())


class SegmentationModel(Named):
    """The network and its loss."""

    name: str = Field("unet", description="Network; 'eozoo show semantic_segmentation' lists what fits.")
    loss: Named = Field(Named(name="cross_entropy"), description="Loss: cross_entropy, focal, dice or any that fits.")
    class_weights: ClassWeights = Field(
        "none", description="none; balanced = inverse to the training labels of a class; or a factor for each class."
    )


class SegmentationData(ImageDataSettings):
    """What the arrays mean."""

    classes: ClassNames | None = Field(
        None, description="Names of the codes 0, 1, ...; or {code: name, ...}; null = the codes that labels hold."
    )
    crop: int = like(ImageDataSettings, "crop", 64)

    @field_validator("classes")
    @classmethod
    def _several(cls, classes: ClassNames | None) -> ClassNames | None:
        if classes is not None and len(classes) < 2:
            raise ValueError("name two classes or more")
        return classes


class SegmentationSettings(ImageSettings):
    """All settings of semantic_segmentation."""

    model: SegmentationModel = Field(SegmentationModel(), description="The network and its loss; fixed by a run.")
    data: SegmentationData = like(ImageSettings, "data", SegmentationData())
    train: EnsembleTrain = like(ImageSettings, "train", TRAIN)
    infer: MapInfer = like(ImageSettings, "infer", INFER)
