"""Settings of tasks of images and maps; see ``images``. A task adds its model and what else it has to set."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from eozoo_core.settings import ScheduleSettings, Settings, TaskSettings
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer

SCHEDULE = ScheduleSettings(name="cosine", warmup_steps=5)
TRAIN = EnsembleTrain(epochs=20, batch_size=4, learning_rate=1e-2, schedule=SCHEDULE)  # for a small network


class ImageDataSettings(Settings):
    """Which part of the images is learned from, and what their files do not say."""

    bands: tuple[int | str, ...] | None = Field(
        None, description="Bands of the images by number (from 1) or name, in the network's order; null = all data."
    )
    nodata: tuple[float, ...] = Field(
        (), description="Stored values of the images that mean missing, beside those that the files declare."
    )
    label_nodata: tuple[float, ...] = Field((), description="The same for labels.")
    crop: int = Field(32, ge=1, description="Side of the random window that training takes from an image, px.")


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
