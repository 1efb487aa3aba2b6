"""Settings of tasks of images and maps; see ``images``. A task adds its model and what else it has to set."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from eozoo_core.settings import ScheduleSettings, Settings, TaskSettings
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer

SCHEDULE = ScheduleSettings(name="cosine", warmup_steps=5)
TRAIN = EnsembleTrain(epochs=20, batch_size=4, learning_rate=1e-2, schedule=SCHEDULE)  # for a small network


class AugmentSettings(Settings):
    """What training changes at random in each window; validation, scores and maps see images as they are."""

    turns: bool = Field(True, description="Flip and turn by quarters; labels turn with their image.")
    brightness: float = Field(
        0.0, ge=0, description="Shift each band of a window; standard deviation in that of the band. 0 = off."
    )
    noise: float = Field(
        0.0, ge=0, description="Add noise to every pixel and band; standard deviation in that of the band. 0 = off."
    )
    drop_bands: float = Field(
        0.0, ge=0, lt=1, description="Probability that a band of a window is missing; one stays. 0 = off."
    )


class ImageDataSettings(Settings):
    """Which part of the images is learned from, and what their files do not say."""

    bands: tuple[int | str, ...] | None = Field(
        None, description="Bands of the images by number (from 1) or name, in the network's order; null = all data."
    )
    nodata: tuple[float, ...] = Field(
        (), description="Stored values of the images that mean missing, beside those that the files declare."
    )
    label_nodata: tuple[float, ...] = Field((), description="The same for labels: values or classes to ignore.")
    crop: int = Field(32, ge=1, description="Side of the random window that training takes from an image, px.")
    augment: AugmentSettings = Field(AugmentSettings(), description="Random changes of training windows.")


class ImageRuntime(EnsembleRuntime):
    """Where and how the work runs."""

    data_dir: Path | None = Field(
        None, description="Folder with train/, val/ and test/, in each image/ and label/ with GeoTIFFs of one name."
    )


class ImageSettings(TaskSettings):
    """All settings of a task of images but for its model."""

    data: ImageDataSettings = Field(ImageDataSettings(), description="What the arrays mean; fixed by a run.")
    train: EnsembleTrain = Field(TRAIN, description="How the model is trained; fixed by a run.")
    runtime: ImageRuntime = Field(ImageRuntime(), description="Where and how it runs; free at any time.")
    infer: MapInfer = Field(MapInfer(), description="How maps are made; free at any time.")
    eval: EnsembleEval = Field(EnsembleEval(), description="How scores are computed; free at any time.")
