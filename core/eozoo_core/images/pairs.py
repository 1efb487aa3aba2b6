"""Patches as files, GeoTIFF or .npy, each with a label of its name: in train/, val/ and test/, or in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from os.path import commonprefix
from pathlib import Path

import numpy as np
from rasterio import Affine

from eozoo_core.checking.blocks import kept_together
from eozoo_core.checking.design import NEITHER, SPLITS, Units, design
from eozoo_core.checking.division import Division
from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.images.labels import ALL, are_classes, on_ground, require_no_columns, size_of
from eozoo_core.images.settings import ImageDataSettings
from eozoo_core.images.source import Images, all_named
from eozoo_core.raster.georeference import Grid, apply, misfit
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.read import by_stem, open_reader, read_info
from eozoo_core.raster.tiles import Window

SUFFIXES = (".tif", ".tiff", ".npy")


class Pairs(Images):
    """Patches ``images`` with ``labels`` (none: []); see `open_pairs` and `split_pairs`."""

    what = "samples"

    def __init__(self, images: Sequence[Path], labels: Sequence[Path], how: ImageDataSettings, where: Path):
        self.images, self.labels, self._how = list(images), list(labels), how
        self.where, self.labelled = str(where), bool(labels)
        self.take_bands(read_info(self.images[0]), how.bands)
        self.input_files, self.files = self.images, [*self.images, *self.labels]
        self._band = (how.label or 1,)
        if self.labels:
            info = read_info(self.labels[0])
            self.unit = info.units[info.select(self._band)[0] - 1]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """See `Images.name`."""
        return str(self.images[index])

    def label_name(self, index: int) -> str:
        """See `Images.label_name`."""
        return str(self.labels[index])

    def grid(self, index: int) -> Grid:
        """See `Images.grid`."""
        return read_info(self.images[index]).grid

    def image(self, index: int, part: Window | None = None) -> np.ndarray:
        """See `Images.image`."""
        with open_reader(self.images[index], self._how.nodata) as reader:
            return reader.read(part or reader.info.grid.whole, self._chosen(reader.info))

    def label(self, index: int) -> np.ndarray:
        """See `Images.label`."""
        with open_reader(self.labels[index], self._how.no_label) as reader:
            if problem := misfit(reader.info.grid, self.grid(index), f"its image {self.images[index]}"):
                raise ZooError(f"{self.labels[index]}: {problem}")
            return reader.read(reader.info.grid.whole, reader.info.select(self._band))

    def pick(self, others: Sequence[Pairs], rows: np.ndarray) -> Pairs:
        """See `Data.pick`."""
        images = [file for one in others for file in one.images]
        labels = [file for one in others for file in one.labels]
        return Pairs(
            [images[i] for i in rows], [labels[i] for i in rows] if labels else [], self._how, Path(self.where)
        )

    def _chosen(self, info: RasterInfo) -> tuple[int, ...]:
        """Numbers of the bands of a file: those of the first by their names, of unnamed files by their order."""
        if self._how.bands is None and len(info.bands) != len(self.bands):
            raise ZooError(f"{info.path}: has {len(info.bands)} bands, {self.images[0].name} {len(self.bands)}")
        named = any(info.descriptions) and all_named(self.bands)
        return info.select(self.bands if named else self._how.bands)


def open_pairs(folder: Path, split: str, how: ImageDataSettings, labelled: bool) -> Pairs:
    """Open FOLDER/SPLIT/image with FOLDER/SPLIT/label; of ``all`` those of every split. Raises NoSplit for no image."""
    parts = [name for name in SPLITS if (folder / name / "image").is_dir()] if split == ALL else [split]
    images = [file for name in parts for file in _patches(folder / name / "image")]
    if not images:
        place = folder if split == ALL else folder / split / "image"
        raise NoSplit(f"{place}: holds no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file")
    labels = (
        [file for n in parts for file in _labels_of(folder / n / "image", folder / n / "label")] if labelled else []
    )
    return Pairs(images, labels, how, folder / split / "image" if split != ALL else folder)


def split_pairs(images: Path, labels: Path | None, split: str, how: ImageDataSettings) -> Pairs:
    """Open the patches of one folder with the labels of another, divided by ``data.split``; ``all`` = undivided."""
    files = _patches(images)
    if not files:
        raise ZooError(f"{images}: holds no {', '.join(SUFFIXES)} file")
    paired = [] if labels is None else _labels_of(images, labels)
    if split not in (*SPLITS, ALL):
        raise NoSplit(f"data.split: has no split {split!r}; there are {', '.join((*SPLITS, ALL))}")
    stamps = tuple((str(file), file.stat().st_mtime_ns) for file in (*files, *paired))
    division = _divided(images, labels, (type(how), how.model_dump_json()), stamps)
    mine = range(len(files)) if split == ALL else np.flatnonzero(division.split == SPLITS.index(split)).tolist()
    if not len(mine):
        raise NoSplit(f"{images}: no patch is in {split}; data.split.{split} is its share")
    found = Pairs([files[i] for i in mine], [paired[i] for i in mine] if paired else [], how, images)
    if split != ALL:
        found.division, found.kept = division, kept_together(division.units, division.how)[mine]
    return found


def _patches(folder: Path) -> list[Path]:
    """Return the patches of a folder, or those of a pattern in it (``FOLDER/X_*``), by name."""
    inside, pattern = (folder.parent, folder.name) if "*" in folder.name else (folder, "*")
    found = [file for file in inside.glob(pattern) if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    return sorted(by_stem(sorted(found)).values())


def _labels_of(images: Path, labels: Path) -> list[Path]:
    """Return the label of every image: of its name, or of what is left of it without what all names share."""
    files, known = _patches(images), by_stem(_patches(labels))
    if known and not any(file.stem in known for file in files):
        theirs, ours = [path.stem for path in known.values()], [file.stem for file in files]
        known = {_own(path.stem, theirs): path for path in known.values()}
        named = {file: known.get(_own(file.stem, ours)) for file in files}
    else:
        named = {file: known.get(file.stem) for file in files}
    for file, label in named.items():
        if label is None:
            raise ZooError(f"{labels / file.name}: no label for this image; add it, or take the image away")
    return [label for label in named.values() if label is not None]


def _own(stem: str, names: Sequence[str]) -> str:
    """Return what of a name is its own: of X_12_a among X_12_a and X_13_a it is 12."""
    before = commonprefix(names).rstrip("0123456789")  # noqa: RUF071 - of names, not of paths
    after = commonprefix([name[::-1] for name in names]).rstrip("0123456789")  # noqa: RUF071
    return stem[len(before) : len(stem) - len(after)] if len(names) > 1 else ""


@lru_cache(maxsize=3)
def _divided(
    images: Path, labels: Path | None, how: tuple[type[ImageDataSettings], str], stamps: object
) -> Division:  # fmt: skip
    """Divide patches; every label is read once. One without any label is in no split."""
    settings, files = how[0].model_validate_json(how[1]), _patches(images)
    require_no_columns(settings, "patches have")
    pairs = Pairs(files, [] if labels is None else _labels_of(images, labels), settings, images)
    grids = [read_info(file).grid for file in files]
    weight = np.array([grid.height * grid.width for grid in grids], np.float64)
    held: list[dict[float, int]] = []
    for i in range(len(pairs.labels)):
        label = pairs.label(i)
        values, times = np.unique(label[np.isfinite(label)], return_counts=True)
        held.append(dict(zip(values.tolist(), times.tolist(), strict=True)))
        weight[i] = times.sum()
    counts, mean, names = None, None, ()
    if held and are_classes(settings):
        codes = sorted({code for one in held for code in one})
        counts, names = (
            np.array([[one.get(code, 0) for code in codes] for one in held], np.float64),
            tuple(map("{:g}".format, codes)),
        )
    elif held:
        mean = np.array(
            [sum(v * n for v, n in one.items()) / max(1, sum(one.values())) if one else np.nan for one in held]
        )
    size = tuple(np.max([size_of(grid, grid.whole) for grid in grids], axis=0).tolist())
    units = Units(*_places(grids), weight, counts, mean, None, size, "patches")
    owner = np.where(weight > 0, design(units, settings.split), NEITHER).astype(np.uint8)
    return Division(units, owner, settings.split, names, "m" if grids[0].crs else "px")


def _places(grids: Sequence[Grid]) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of grids, m of one projected system, NaN = not georeferenced."""
    placed = [grid.crs is not None and grid.transform is not None for grid in grids]
    found = np.full((2, len(grids)), np.nan)
    if not any(placed):
        return found[0], found[1]
    first = grids[placed.index(True)]
    for i in np.flatnonzero(placed):
        grid = grids[i]
        middle = apply(grid.transform, np.array([grid.width / 2]), np.array([grid.height / 2]))
        found[:, i] = np.ravel(middle if grid.crs == first.crs else transform_points(grid.crs, first.crs, *middle))
    plane = replace(first, transform=Affine.identity())
    return on_ground(plane, *found) if all(placed) else (found[0], found[1])
