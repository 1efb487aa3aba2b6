"""Settings of tasks of images and maps; see ``data``. A task adds its model and what else it has to set."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from eozoo_core.settings import Named, ScheduleSettings, Settings, TaskSettings
from eozoo_core.settings.ensemble import EnsembleEval, EnsembleRuntime, EnsembleTrain
from eozoo_core.settings.maps import MapInfer
from eozoo_core.settings.splits import SplitSettings

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
    label: int | str | None = Field(
        None,
        description="What holds the label: column of polygons or points, band of a label raster; null = the only "
        "column, band 1.",
    )
    layer: str | None = Field(None, description="Layer of polygons or points; null = the only one.")
    crs: str | None = Field(None, description="CRS of points or polygons that do not say it, as in EPSG:32631.")
    group: str | None = Field(None, description="Column: labels of one value (a farm, a site) stay in one split.")
    window: int | None = Field(
        None,
        ge=1,
        description="runtime.images of any size are cut into squares of this side, px; null = 256, less of small ones.",
    )
    split: SplitSettings = Field(SplitSettings(), description="How runtime.images are divided into splits.")
    dataset: Named | None = Field(
        None, description="Registered dataset instead of files; it gets split, and gives 'image' and 'target'."
    )
    label_nodata: tuple[float | str, ...] = Field(
        (), description="The same for labels: values, codes or names of classes to ignore."
    )
    crop: int = Field(32, ge=1, description="Side of the random window that training takes from an image, px.")
    augment: AugmentSettings = Field(AugmentSettings(), description="Random changes of training windows.")

    @property
    def no_label(self) -> tuple[float, ...]:
        """Numbers of ``label_nodata``."""
        return tuple(value for value in self.label_nodata if not isinstance(value, str))


class ImageRuntime(EnsembleRuntime):
    """Where and how the work runs."""

    data_dir: Path | None = Field(
        None,
        description="Folder with train/, val/ and test/, in each image/ and label/ with GeoTIFFs or .npy of one name.",
    )
    images: Path | tuple[Path, ...] | None = Field(
        None,
        description="Instead of data_dir: a raster or VRT of any size, several of one grid (dates), or a folder of "
        "patches; data.split divides them.",
    )
    labels: Path | None = Field(
        None, description="Of runtime.images: a label raster, polygons or points, or a folder with the patches' names."
    )


class ImageSettings(TaskSettings):
    """All settings of a task of images but for its model."""

    data: ImageDataSettings = Field(ImageDataSettings(), description="What the arrays mean; fixed by a run.")
    train: EnsembleTrain = Field(TRAIN, description="How the model is trained; fixed by a run.")
    runtime: ImageRuntime = Field(ImageRuntime(), description="Where and how it runs; free at any time.")
    infer: MapInfer = Field(MapInfer(), description="How maps are made; free at any time.")
    eval: EnsembleEval = Field(EnsembleEval(), description="How scores are computed; free at any time.")
