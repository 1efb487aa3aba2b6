"""Images and labels of one split: the data of most tasks of maps, in all forms that people hold them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.images.augment import disturbed, turned
from eozoo_core.images.pairs import open_pairs, split_pairs
from eozoo_core.images.settings import ImageDataSettings, ImageRuntime
from eozoo_core.images.source import Images, no_place, registered_images
from eozoo_core.images.windows import open_windows
from eozoo_core.raster.georeference import Grid, area_of
from eozoo_core.raster.tiles import Window
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.spec import Port
from eozoo_core.task.classes import ClassCount, ClassNames, ClassSurvey
from eozoo_core.task.data import Arrays, Data
from eozoo_core.task.survey import BandSurvey, Survey, surveyed
from eozoo_core.train.loading import Draw

if TYPE_CHECKING:
    from eozoo_core.checking import Findings
    from eozoo_core.task.contract import Contract


class ImageData(Data):
    """The images of a split, each with a label of one band unless ``labelled`` is False; ``how`` says what is read.

    where: the settings that name files, or DATA_DIR of train/, val/ and test/, or samples that are open already. split:
    train, val, test, or all of them as one. ``item`` gives "image" (C, H, W) in the files' units and "target"
    (1, H, W): the label where all bands are there, float32, NaN = missing. ``draw`` gives a random window of ``crop``
    pixels, flipped and turned at random. Raises NoSplit where there are no images, ZooError where image and label do
    not go together.
    """

    def __init__(
        self, where: ImageRuntime | Images | Path | None, split: str, how: ImageDataSettings, seed: int,
        labelled: bool = True,
    ):  # fmt: skip
        source = where if isinstance(where, Images) else open_source(where, split, how, labelled)
        self.source, self.crop, self._seed, self._how = source, how.crop, seed, how
        self._opened = where, split, labelled
        self.labelled, self.bands, self.units = source.labelled, source.bands, source.units
        self.input_files, self.files = source.input_files, source.files
        self.together = source.together
        self.what, self.apart = source.what, source.apart
        self.division, self.kept = source.division, source.kept
        self.label_unit, self.notes = source.unit, source.notes

    def __len__(self) -> int:
        return len(self.source)

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
        grid, label = self.source.grid(draw.index), self.source.label(draw.index) if self.labelled else None
        part = self._crop(random, (grid.height, grid.width), label, self.name(draw.index))
        image = self.source.image(draw.index, part)
        cut = None if label is None else label[(slice(None), *part.slices)]
        image, cut = turned([image, cut], self._how.augment, random)
        return disturbed(self.example(image, cut, random), self._how.augment, random)

    def _crop(
        self, random: np.random.Generator, size: tuple[int, int], label: np.ndarray | None, name: str
    ) -> Window:  # fmt: skip
        """Return a random window; where labels are sparse, one that holds a label."""
        if min(size) < self.crop:
            raise ZooError(f"{name}: is smaller than data.crop={self.crop}; lower it")
        low, high = np.zeros(2, int), np.array(size) - self.crop
        if self.source.sparse and label is not None and (known := np.flatnonzero(np.isfinite(label))).size:
            pixel = np.array(divmod(int(known[random.integers(known.size)]), size[1]))
            low, high = np.maximum(low, pixel - self.crop + 1), np.minimum(high, pixel)
        row, column = (int(random.integers(a, b + 1)) for a, b in zip(low, high, strict=True))
        return Window(row, column, self.crop, self.crop)

    def arrays(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Read image (C, H, W) and label (1, H, W) or None; float32, NaN = missing.

        Raises ZooError where the label lies on another grid than its image.
        """
        return self.source.image(index), self.source.label(index) if self.labelled else None

    def name(self, index: int) -> str:
        """See `Data.name`."""
        return self.source.name(index)

    def grid(self, index: int) -> Grid:
        """Where the image lies."""
        return self.source.grid(index)

    def pick(self, others: Sequence[ImageData], rows: np.ndarray) -> ImageData:
        """See `Data.pick`; of patches."""
        source = self.source.pick([one.source for one in others], rows)
        return type(self)(source, self._opened[1], self._how, self._seed, self.labelled)

    def area(self) -> list[float] | None:
        """See `Data.area`: of windows that of their raster."""
        return super().area() if self.source.extent is None else area_of([self.source.extent])

    def problems(self, findings: Findings, split: str) -> None:
        """See `Data.problems`."""
        self.source.problems(findings, split)

    @property
    def class_names(self) -> Mapping[int, str]:
        """See `Data.class_names`: of files whose codes nobody listed, those that their labels hold."""
        if getattr(self._how, "classes", ()) is not None or self.source.names:
            return self.source.names if getattr(self._how, "classes", ()) is None else {}
        found = (np.unique(self.source.label(i)) for i in range(len(self)))
        return {int(code): f"{code:g}" for code in sorted({code for one in found for code in one[np.isfinite(one)]})}

    def settled(self, survey: Survey) -> ImageData:
        """See `Data.settled`: names in a column have their codes of training; what had none there is no label."""
        known = dict(getattr(survey, "legend", ()))
        if getattr(self._how, "classes", ()) is not None or not known or not self.source.names:
            return self
        column, (where, split, labelled) = self.source.column, self._opened
        strange = [name for name in column if name not in known.values()]
        strange += [] if column else [float(code) for code in self.source.names if code not in known]
        ignored = (*self._how.label_nodata, *strange)
        how = self._how.model_copy(update={"classes": known, "label_nodata": ignored})
        found = type(self)(where, split, how, self._seed, labelled)
        if strange:
            names = listed([one if isinstance(one, str) else f"{one:g}" for one in strange])
            text = f"{self.source.where}: training knew no {names}: labels of it are not scored"
            found.notes = (*found.notes, text)
        return found


def image_data(task: Contract, split: str, labelled: bool = True) -> ImageData:
    """Open a split of the data that the settings of a task of images name; see `ImageData`."""
    s = task.settings
    where = s.runtime if s.data.dataset is None else registered_images(task, s.data.dataset, split, labelled)
    return ImageData(where, split, s.data, s.train.seed, labelled)


def open_source(
    where: ImageRuntime | Path | None, split: str, how: ImageDataSettings, labelled: bool
) -> Images:  # fmt: skip
    """Open a split of what the settings name: see the forms in `ImageRuntime`. Raises ZooError where nothing is."""
    runtime = where if isinstance(where, ImageRuntime) else ImageRuntime(data_dir=where)
    images, labels = runtime.images, runtime.labels if labelled else None
    if images is None:
        if runtime.data_dir is None:
            raise no_place()
        return open_pairs(runtime.data_dir, split, how, labelled)
    if runtime.data_dir is not None:
        raise ZooError("runtime.data_dir and runtime.images are both set; take one away")
    if labelled and labels is None:
        raise ZooError("runtime.labels is not set; add --set runtime.labels=FILE (polygons, points or a label raster)")
    if isinstance(images, Path) and is_folder(images) and (labels is None or is_folder(labels)):
        return split_pairs(images, labels, split, how)
    return open_windows(images, labels, split, how)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or a pattern of files in one."""
    return path.is_dir() or "*" in path.name


def where_seen(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return ``label`` (1, H, W), NaN where any band of ``image`` (C, H, W) is missing: nothing is learned there."""
    return np.where(np.isfinite(image).all(axis=0), label, np.float32(np.nan))


def survey_images(data: ImageData, unit: str = "", see: Callable[[np.ndarray, str], None] | None = None) -> Survey:
    """Look once through the images: statistics of every band and of the label, whose unit is ``unit``.

    ``see`` gets each label (1, H, W), NaN = missing, and its file. Raises ZooError for a band that is missing or
    constant everywhere, and where every label is missing.
    """
    inputs, labels = ChannelStatistics(data.bands), ChannelStatistics(["label"])
    for i in range(len(data)):
        image, label = data.arrays(i)
        inputs.update(image)
        if label is not None:
            label = where_seen(image, label)
            labels.update(label)
            if see is not None:
                see(label, data.source.label_name(i))
    inputs.require_spread(data.source.where)
    if data.labelled and not labels.count.sum():
        raise ZooError(f"{data.source.where}: every label is missing")
    label: BandSurvey | None = surveyed(labels, (unit,))[0] if data.labelled else None
    return Survey(bands=surveyed(inputs, data.units), label=label)


def survey_classes(data: ImageData, classes: ClassNames | None) -> ClassSurvey:
    """Survey images whose labels are codes of ``classes``, None = those that they hold; raises as `survey_images`.

    Raises ZooError too, naming the file, for a label that is no class.
    """
    count = ClassCount(classes)
    return count.survey(survey_images(data, "class code", count.add), data.source.names)


def image_port(survey: Survey) -> Port:
    """Return the Port of "image", with the bands and statistics that were surveyed; the placeholder has none."""
    units = sorted({band.unit for band in survey.bands})
    unit = units[0] if len(units) == 1 and units[0] else "that of the training images"
    if not survey.bands[0].count:
        return Port("image", "B C H W", "that of the training images")
    return Port("image", "B C H W", unit, survey.names, survey.mean, survey.std)
