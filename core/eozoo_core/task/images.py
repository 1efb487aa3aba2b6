"""Images and labels of one split in DATA_DIR/SPLIT/image and DATA_DIR/SPLIT/label: the data of most tasks of maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.raster.georeference import Grid, misfit
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import open_reader, read_info
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.spec import Port
from eozoo_core.task.augment import disturbed, turned
from eozoo_core.task.classes import ClassCount, ClassNames, ClassSurvey
from eozoo_core.task.data import Arrays, Data
from eozoo_core.task.image_settings import ImageDataSettings
from eozoo_core.task.survey import BandSurvey, Survey, surveyed
from eozoo_core.train.loading import Draw


class ImageData(Data):
    """The images of a split, each with a label of one band unless ``labelled`` is False; ``how`` says what is read.

    ``item`` gives "image" (C, H, W) in the files' units and "target" (1, H, W): the label where all bands are there,
    float32, NaN = missing. ``draw`` gives a random window of ``crop`` pixels, changed as ``augment`` says. Raises
    NoSplit where there are no images, ZooError where image and label do not go together.
    """

    def __init__(
        self, folder: Path | None, split: str, how: ImageDataSettings, seed: int, labelled: bool = True
    ):  # fmt: skip
        if folder is None:
            raise ZooError(
                "runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds train/, val/, test/)"
            )
        self.folder, self.crop, self._seed, self._how = Path(folder) / split, how.crop, seed, how
        self.images = sorted((self.folder / "image").glob("*.tif"))
        if not self.images:
            raise NoSplit(f"{self.folder / 'image'}: holds no .tif file")
        self.labels = [self.folder / "label" / file.name for file in self.images] if labelled else []
        for file in self.labels:
            if not file.exists():
                raise ZooError(f"{file}: no label for this image; add it, or take the image away")
        info = read_info(self.images[0])
        chosen = info.select(how.bands)
        self.bands = tuple(info.descriptions[n - 1] or f"band {n}" for n in chosen)
        self.units = tuple(info.units[n - 1] for n in chosen)
        self.label_unit = read_info(self.labels[0]).units[0] if labelled else ""
        self.input_files, self.files = self.images, [*self.images, *self.labels]

    def __len__(self) -> int:
        return len(self.images)

    def example(self, image: np.ndarray, label: np.ndarray | None, random: np.random.Generator) -> Arrays:
        """Turn an image (C, H, W) and its label (1, H, W) into what is learned from; a subclass may hide pixels."""
        if label is None:
            return {"image": image}
        return {"image": image, "target": where_seen(image, label)}

    def item(self, index: int) -> Arrays:
        """See `Data.item`; random parts are those of the sample's number."""
        return self.example(*self.arrays(index), np.random.default_rng(index))

    def draw(self, draw: Draw) -> Arrays:
        """See `Data.draw`."""
        random = np.random.default_rng((self._seed, draw.epoch, draw.index))
        image, label = self.arrays(draw.index)
        if min(image.shape[1:]) < self.crop:
            raise ZooError(f"{self.images[draw.index]}: is smaller than data.crop={self.crop}; lower it")
        row, column = (random.integers(side - self.crop + 1) for side in image.shape[1:])
        where = (..., slice(row, row + self.crop), slice(column, column + self.crop))
        parts = [None if array is None else array[where] for array in (image, label)]
        image, label = turned(parts, self._how.augment, random)
        return disturbed(self.example(image, label, random), self._how.augment, random)

    def arrays(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Read image (C, H, W) and label (1, H, W) or None; float32, NaN = missing.

        Raises ZooError where the label lies on another grid than its image.
        """
        with open_reader(self.images[index], self._how.nodata) as reader:
            grid, image = reader.info.grid, reader.read(reader.info.grid.whole, self._chosen(reader.info))
        if not self.labels:
            return image, None
        with open_reader(self.labels[index], self._how.label_nodata) as reader:
            if problem := misfit(reader.info.grid, grid, f"its image {self.images[index]}"):
                raise ZooError(f"{self.labels[index]}: {problem}")
            return image, reader.read(reader.info.grid.whole, (reader.info.bands[0],))

    def grid(self, index: int) -> Grid:
        """Where the image lies."""
        return read_info(self.images[index]).grid

    def _chosen(self, info: RasterInfo) -> tuple[int, ...]:
        """Numbers of the bands of a file: those of the first by their names, of unnamed files by their order."""
        if self._how.bands is None and len(info.bands) != len(self.bands):
            raise ZooError(f"{info.path}: has {len(info.bands)} bands, {self.images[0].name} {len(self.bands)}")
        named = any(info.descriptions) and not any(name.startswith("band ") for name in self.bands)
        return info.select(self.bands if named else self._how.bands)


def where_seen(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return ``label`` (1, H, W), NaN where any band of ``image`` (C, H, W) is missing: nothing is learned there."""
    return np.where(np.isfinite(image).all(axis=0), label, np.float32(np.nan))


def survey_images(data: ImageData, unit: str = "", see: Callable[[np.ndarray, Path], None] | None = None) -> Survey:
    """Look once through the images: statistics of every band and of the label, whose unit is ``unit``.

    ``see`` gets each label (1, H, W), NaN = missing, and its file.

    Raises ZooError for a band that is missing or constant everywhere, and where every label is missing.
    """
    inputs, labels = ChannelStatistics(data.bands), ChannelStatistics(["label"])
    for i in range(len(data)):
        image, label = data.arrays(i)
        inputs.update(image)
        if label is not None:
            label = where_seen(image, label)
            labels.update(label)
            if see is not None:
                see(label, data.labels[i])
    inputs.require_spread(str(data.folder / "image"))
    if data.labels and not labels.count.sum():
        raise ZooError(f"{data.folder / 'label'}: every label is missing")
    label: BandSurvey | None = surveyed(labels, (unit,))[0] if data.labels else None
    return Survey(bands=surveyed(inputs, data.units), label=label)


def survey_classes(data: ImageData, classes: ClassNames | None) -> ClassSurvey:
    """Survey images whose labels are codes of ``classes``, None = those that they hold; raises as `survey_images`.

    Raises ZooError too, naming the file, for a label that is no class.
    """
    count = ClassCount(classes)
    return count.survey(survey_images(data, "class code", count.add))


def image_port(survey: Survey) -> Port:
    """Return the Port of "image", with the bands and statistics that were surveyed; the placeholder has none."""
    units = sorted({band.unit for band in survey.bands})
    unit = units[0] if len(units) == 1 and units[0] else "that of the training images"
    if not survey.bands[0].count:
        return Port("image", "B C H W", "that of the training images")
    return Port("image", "B C H W", unit, survey.names, survey.mean, survey.std)
