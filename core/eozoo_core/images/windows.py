"""Windows of one raster of any size, or of several of one grid, cut as they are read; nothing is loaded whole."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.checking.blocks import kept_together
from eozoo_core.checking.design import SPLITS, Units, design, given_splits
from eozoo_core.checking.division import Division
from eozoo_core.errors import NoSplit, ZooError
from eozoo_core.images.label_rasters import RasterLabels
from eozoo_core.images.labels import ALL, Labelling, ShapeLabels, divided, on_ground, size_of
from eozoo_core.images.settings import ImageDataSettings
from eozoo_core.images.source import Images
from eozoo_core.raster.georeference import Grid, part_of
from eozoo_core.raster.stack import Stack
from eozoo_core.raster.tiles import Window
from eozoo_core.raster.trust import files_of
from eozoo_core.raster.vector import is_vector, parts_of

if TYPE_CHECKING:
    from eozoo_core.checking import Findings

_SIDE, _MANY = 256, 64  # px of a window, and so many of them, where nobody says
_LOOKED_AT = 50  # windows whose labels ``check`` burns to see how many pixels several labels claim
_KEPT = 2**28  # bytes of labels, compressed, that are kept once they were burned


class Layout:
    """A raster cut into squares of ``data.window`` px, its labels, and the squares of each split.

    Squares that reach over the edge are missing there. whole: everything is one split.
    """

    def __init__(self, files: Sequence[Path], labels: Path | None, how: ImageDataSettings, whole: bool):
        self.stack = Stack(files, how.nodata)
        self.grid, self.how, self.whole = self.stack.info.grid, how, whole
        side = side_of(self.grid, how)
        rows, cols = range(0, self.grid.height, side), range(0, self.grid.width, side)
        self.windows = [Window(row, col, side, side) for row in rows for col in cols]
        inside = [self.inside(window) for window in self.windows]
        self.labels: Labelling | None = None
        if labels is not None:
            kind = ShapeLabels if is_vector(labels) else RasterLabels
            self.labels = kind(labels, self.grid, inside, how)
        if isinstance(self.labels, RasterLabels) and not whole:
            self.labels.require_several()
        self.units = self.labels.units() if self.labels else self._squares(inside)
        self.split = None if whole else divided(self.labels, how) if self.labels else design(self.units, how.split)
        self.chosen = self.labels.divide(self.split) if self.labels else self._own()
        self._burned: dict[tuple[int, int], bytes] = {}
        self._room = _KEPT
        self.notes = [*(self.labels.notes if self.labels else ())]

    @property
    def division(self) -> Division | None:
        """What was divided, and how; None = nothing."""
        if self.split is None:
            return None
        labels = self.labels
        names = tuple((labels.names.get(code) or str(code)) for code in labels.codes) if labels else ()
        column, unit = self.how.split.column, "m" if self.grid.crs else "px"
        given = bool(labels and column) and given_splits(labels.columns(column), column) is not None
        return Division(self.units, self.split, self.how.split, names, unit, given)

    def kept(self, split: int) -> np.ndarray:
        """See `Data.kept`, of the windows of a split; of a window with several labels, the first that it shows."""
        assert self.split is not None
        column = self.labels.columns(self.how.split.column) if self.labels and self.how.split.column else None
        block = kept_together(self.units, self.how.split, column)
        return block[self.labels.first(self.split, split) if self.labels else self.chosen[split]]

    def inside(self, window: Window) -> Window:
        """Return the part of a window that lies on the raster."""
        height, width = (
            min(window.height, self.grid.height - window.row),
            min(window.width, self.grid.width - window.col),
        )
        return Window(window.row, window.col, height, width)

    def label(self, number: int, split: int) -> np.ndarray:
        """Labels (H, W) of a window; what was burned once is kept compressed, as long as there is room."""
        assert self.labels is not None
        window = self.windows[number]
        shape, key = (window.height, window.width), (number, split)
        if key in self._burned:
            return np.frombuffer(zlib.decompress(self._burned[key]), np.float32).reshape(shape)
        part = self.inside(window)
        found = np.full(shape, np.nan, np.float32)
        found[: part.height, : part.width] = self.labels.read(part, split)
        packed = zlib.compress(found.tobytes(), 1)
        if self._room >= len(packed):
            self._burned[key], self._room = packed, self._room - len(packed)
        return found

    def _squares(self, inside: Sequence[Window]) -> Units:
        middle = np.array([(w.col + w.width / 2, w.row + w.height / 2) for w in inside])
        pixels = np.array([w.height * w.width for w in inside], np.float64)
        return Units(*on_ground(self.grid, *middle.T), pixels, size=size_of(self.grid, inside[0]), what="windows")

    def _own(self) -> list[np.ndarray]:
        given = np.zeros(len(self.windows), np.uint8) if self.split is None else self.split
        return [np.flatnonzero(given == s) for s in range(1 if self.whole else len(SPLITS))]


def side_of(grid: Grid, how: ImageDataSettings) -> int:
    """Return the side of windows: as set; null = 256 px, halved while there are fewer than 64 and a crop fits in."""
    side = how.window or _SIDE
    while how.window is None and side // 2 >= how.crop and -(-grid.height // side) * -(-grid.width // side) < _MANY:
        side //= 2
    return min(side, max(grid.height, grid.width))


class Windows(Images):
    """The windows of one split of a `Layout`."""

    what, apart, sparse = "windows", True, True

    def __init__(self, layout: Layout, split: str, files: Sequence[Path]):
        if split not in (*SPLITS, ALL):
            raise NoSplit(f"data.split: has no split {split!r}; there are {', '.join((*SPLITS, ALL))}")
        self._layout, self._split = layout, 0 if split == ALL else SPLITS.index(split)
        self._chosen, self.extent = layout.chosen[self._split], layout.grid
        info, side = layout.stack.info, layout.windows[0].height
        self._bands = self.take_bands(info, layout.how.bands)
        self.together = max(1, _SIDE**2 // side**2)
        self.where, self.files, self.labelled = str(info.path), files, layout.labels is not None
        if layout.labels is not None:
            self.names = {code: layout.labels.names.get(code, str(code)) for code in layout.labels.codes}
            self.column, self.unit = tuple(layout.labels.names.values()), layout.labels.unit
            self.notes = tuple(layout.notes) if self._split == 0 else ()
        if not len(self._chosen):
            told = "shows a label" if split == ALL else f"is in {split}; data.split.{split} is its share"
            raise NoSplit(f"{self.where}: no window {told}")
        self.division = layout.division
        if self.division is not None:
            self.kept = layout.kept(self._split)

    def __len__(self) -> int:
        return len(self._chosen)

    def window(self, index: int) -> Window:
        """Return where a sample lies on the raster; it may reach over the edge."""
        return self._layout.windows[self._chosen[index]]

    def name(self, index: int) -> str:
        """See `Images.name`."""
        window = self.window(index)
        return f"{Path(self.where).name} at row {window.row}, column {window.col}"

    def grid(self, index: int) -> Grid:
        """See `Images.grid`."""
        return part_of(self._layout.grid, self.window(index))

    def image(self, index: int, part: Window | None = None) -> np.ndarray:
        """See `Images.image`."""
        own = self.window(index)
        asked = part or Window(0, 0, own.height, own.width)
        there = self._layout.inside(Window(own.row + asked.row, own.col + asked.col, asked.height, asked.width))
        if (there.height, there.width) == (asked.height, asked.width):
            return self._layout.stack.read(there, self._bands)
        out = np.full((len(self._bands), asked.height, asked.width), np.nan, np.float32)
        if there.height > 0 and there.width > 0:
            out[:, : there.height, : there.width] = self._layout.stack.read(there, self._bands)
        return out

    def label(self, index: int) -> np.ndarray:
        """See `Images.label`."""
        return self._layout.label(int(self._chosen[index]), self._split)[None]

    def problems(self, findings: Findings, split: str) -> None:
        """See `Images.problems`: what became of the labels, once."""
        layout, division = self._layout, self.division
        if split != SPLITS[0] or layout.labels is None:
            return
        times = np.unique(np.concatenate(layout.chosen), return_counts=True)[1]
        text = f"{len(times):,} of {len(layout.windows):,} windows of {layout.windows[0].height} px show labels"
        shared = f"; {(times > 1).sum():,} show those of several splits, and each split sees its own"
        findings.ok("windows", text + (shared if (times > 1).any() else ""))
        if not layout.labels.disputed:
            for index in np.unique(np.linspace(0, len(self) - 1, min(len(self), _LOOKED_AT)).astype(int)).tolist():
                self.label(index)
        if layout.labels.disputed:
            text = (
                f"{layout.labels.disputed:,} pixels or more lie in {layout.labels.what} of different labels or splits"
            )
            findings.ok("labels", f"{text}: they have no label")
        if division is not None and not layout.how.split.gap and min(division.nearest.values(), default=1.0) <= 0:
            text = f"{layout.labels.what} of two splits touch: neighbours are alike, and scores too good"
            findings.warning(
                "splits", text, f"set data.split.gap, in {division.unit}: as wide as what is on the ground"
            )


def open_windows(
    images: Path | tuple[Path, ...], labels: Path | None, split: str, how: ImageDataSettings
) -> Windows:  # fmt: skip
    """Open a split of a raster, a VRT, or rasters of one grid. Raises ZooError for what does not go together."""
    files = list(images) if isinstance(images, tuple) else rasters_of(images)
    for file in filter(None, (*files, labels)):
        if not Path(file).exists():
            raise ZooError(f"{file}: no such file")
    read = [part for file in files for part in files_of(file)]
    if labels is not None:
        read += parts_of(labels) if is_vector(labels) else files_of(labels)
    stamps = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in read)
    key = type(how), how.model_dump_json()
    layout = _layout(tuple(files), labels, key, split == ALL, stamps)
    return Windows(layout, split, read)


def rasters_of(images: Path) -> list[Path]:
    """Return a raster, or those of a folder: dates."""
    from eozoo_core.task.scenes import rasters

    return rasters(images)


@lru_cache(maxsize=3)
def _layout(
    files: tuple[Path, ...], labels: Path | None, how: tuple[type[ImageDataSettings], str], whole: bool, stamps: object
) -> Layout:  # fmt: skip
    """Open once for all splits of a verb; ``stamps`` change with the files."""
    return Layout(files, labels, how[0].model_validate_json(how[1]), whole)
