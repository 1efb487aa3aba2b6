"""A label raster, on the grid of its images or another one: codes or values of their windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eozoo_core.checking.design import SPLITS, Units
from eozoo_core.errors import ZooError
from eozoo_core.images.labels import CODES, are_classes, on_ground, pixel_of, require_few, require_no_columns, size_of
from eozoo_core.images.settings import ImageDataSettings
from eozoo_core.raster.georeference import Grid, area_of, misfit
from eozoo_core.raster.mosaic import Mosaic
from eozoo_core.raster.read import Reader, read_info
from eozoo_core.raster.stack import Stack
from eozoo_core.raster.tiles import Window


class RasterLabels:
    """A label raster: whole windows are divided; those without any label are in no split."""

    disputed = 0

    def __init__(self, path: Path, grid: Grid, windows: Sequence[Window], how: ImageDataSettings):
        require_no_columns(how, f"the label raster {path.name} has")
        self._path, self.what = path, "windows"
        self._reader: Reader = Stack([path], how.no_label)
        self._band = self._reader.info.select((1 if how.label is None else how.label,))
        self._grid, self._windows, self._how = grid, windows, how
        self.names, self.unit = {}, self._reader.info.units[self._band[0] - 1]
        self.notes = [f"{path.name}: {note}" for note in self._reader.info.notes]
        if misfit(self._reader.info.grid, grid, "the images"):
            self._reader = Regridded(path, self._band[0], grid, are_classes(how), how.no_label)
            own = read_info(path).grid
            told = f"is on another grid ({own.height} x {own.width} px, {own.crs}) than the images"
            self.notes.append(f"{path.name}: {told}: pixels get {self._reader.how}")
        self._rows = [self._counted(row) for row in sorted({window.row for window in windows})]
        self.codes = sorted(self._codes()) if are_classes(how) else ()

    def units(self) -> Units:
        """Every window, its middle, with its labels."""
        weight, total = (np.concatenate([row[i] for row in self._rows]) for i in (0, 1))
        middle = [(w.col + w.width / 2, w.row + w.height / 2) for w in self._windows]
        counts = None
        if self.codes:
            counts = np.stack([count for _, count in sorted(self._codes().items())], axis=1).astype(np.float64)
        place = on_ground(self._grid, *np.array(middle).T)
        mean = None if counts is not None else np.where(weight > 0, total / np.maximum(weight, 1), np.nan)
        return Units(*place, weight, counts, mean, size=size_of(self._grid, self._windows[0]), what="windows")

    def columns(self, name: str) -> None:
        """See `Labelling`."""

    def divide(self, split: np.ndarray | None) -> list[np.ndarray]:
        """See `Labelling`."""
        labelled = np.concatenate([row[0] for row in self._rows]) > 0
        given = np.zeros(len(labelled), np.uint8) if split is None else split
        return [np.flatnonzero(labelled & (given == s)) for s in range(1 if split is None else len(SPLITS))]

    def first(self, given: np.ndarray, split: int) -> np.ndarray:
        """See `Labelling`: windows are units themselves."""
        return self.divide(given)[split]

    def read(self, window: Window, split: int) -> np.ndarray:
        """See `Labelling`."""
        return self._reader.read(window, self._band)[0]

    def require_several(self) -> None:
        """Raise ZooError where fewer windows hold labels than splits are asked for."""
        count = sum(int((row[0] > 0).sum()) for row in self._rows)
        wanted = sum(share > 0 for share in self._how.split.shares)
        if count < wanted:
            told = f"{count} windows of {self._windows[0].height} px hold labels, and {wanted} splits need one each"
            raise ZooError(f"{self._path}: {told}; set a smaller data.window (and data.crop)")

    def _counted(self, row: int) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
        """Labels of each window of one row of them, their sum, and of classes how many of each code."""
        windows = [window for window in self._windows if window.row == row]
        values = self._reader.read(Window(row, 0, windows[0].height, self._grid.width), self._band)[0]
        known, starts = np.isfinite(values), [window.col for window in windows]
        weight = np.add.reduceat(known.sum(axis=0).astype(np.float64), starts)
        total = np.add.reduceat(np.where(known, values, 0).sum(axis=0, dtype=np.float64), starts)
        if not are_classes(self._how):
            return weight, total, {}
        odd = known & ((np.floor(values) != values) | (values < 0) | (values >= CODES))
        if odd.any():
            raise ZooError(f"{self._path}: holds {values[odd][0]:g}; classes are whole numbers from 0 to {CODES - 1}, "
                           "other values are no labels where data.label_nodata lists them")  # fmt: skip
        stored = np.where(known, values, -1).astype(np.int64) + 1  # 0 = none
        most = int(stored.max()) + 1
        counts = [np.bincount(stored[:, w.col : w.col + w.width].ravel(), minlength=most)[1:] for w in windows]
        there = np.flatnonzero(np.any(counts, axis=0))
        return weight, total, {int(code): np.array([count[code] for count in counts]) for code in there}

    def _codes(self) -> dict[int, np.ndarray]:
        """Labels of each code that there is, by window."""
        codes = sorted({code for row in self._rows for code in row[2]})
        require_few(codes, str(self._path))
        return {code: np.concatenate([row[2].get(code, np.zeros(len(row[0]))) for row in self._rows]) for code in codes}


class Regridded(Reader):
    """One band of a raster on another grid, read by window: classes from the nearest pixel, as values are.

    Values of finer pixels are averaged. Raises ZooError where it does not touch the grid.
    """

    def __init__(self, path: Path, band: int, grid: Grid, classes: bool, missing: Sequence[float]):
        own = read_info(path)
        if grid.crs is None or own.grid.crs is None or grid.transform is None or own.grid.transform is None:
            raise ZooError(f"{path}: {misfit(own.grid, grid, 'the images')}, and cannot be placed without CRS")
        finer = not classes and max(pixel_of(own.grid)) < 0.99 * max(pixel_of(grid))
        self.how = "the mean of its pixels" if finer else "the label of its nearest pixel"
        self._mosaic = Mosaic(grid, "average" if finer else "nearest", missing)
        self._mosaic.add(path, (band,), lambda values: values)
        if not len(self._mosaic):
            raise ZooError(f"{path}: does not touch the images: it lies at {area_of([own.grid])} degrees")
        self.info = replace(own, grid=grid)

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """See `RasterReader.read`; the band is the one that was chosen."""
        return self._mosaic.read(window, 1)
