"""Labels of rasters of any size: polygons and points, or a label raster; which window has which, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eozoo_core.checking.design import SPLITS, Units, design
from eozoo_core.errors import ZooError
from eozoo_core.images.settings import ImageDataSettings
from eozoo_core.raster.burn import Burner, labels_on
from eozoo_core.raster.georeference import Grid, apply, area_of
from eozoo_core.raster.points import on_plane, transform_points
from eozoo_core.raster.tiles import Window
from eozoo_core.raster.vector import Shapes, numbers, read_shapes
from eozoo_core.task.classes import MOST

ALL = "all"  # the split of everything
CODES = 2**16  # codes of classes are below


class Labelling(Protocol):
    """What labels the windows of one grid."""

    notes: Sequence[str]
    names: Mapping[int, str]  # of class codes that follow from names in a column; {} where numbers are stored
    codes: Sequence[int]  # that the labels hold, of classes; () of values
    unit: str  # of values, as the file says

    def units(self) -> Units:
        """Return what is divided."""

    def columns(self, name: str) -> Sequence[Any] | None:
        """Return the values of a column of what is divided, None = it has none."""

    def divide(self, split: np.ndarray | None) -> list[np.ndarray]:
        """Take the split of each unit (None = all are one); return for each split the numbers of its windows."""

    def first(self, given: np.ndarray, split: int) -> np.ndarray:
        """Return the first unit of ``split`` in each of its windows, the splits (n,) of the units being ``given``."""

    def read(self, window: Window, split: int) -> np.ndarray:
        """Return labels (h, w) float32 of a split in a window, NaN = none."""

    @property
    def disputed(self) -> int:
        """Pixels that were read so far and have no label because several differ there."""


class ShapeLabels:
    """Polygons or points: each is in one split, and where a window shows those of another they are no labels."""

    def __init__(self, path: Path, grid: Grid, windows: Sequence[Window], how: ImageDataSettings):
        if grid.crs is None or grid.transform is None:
            raise ZooError(f"{path}: cannot be laid over images without CRS; give images that are georeferenced")
        wanted = ["" if how.label is None else str(how.label), *filter(None, (how.split.column, how.group))]
        self._shapes = read_shapes(path, list(dict.fromkeys(wanted)), how.crs, how.layer)
        self._columns = self._shapes.columns
        column = next(iter(self._columns.values())) if how.label is None else self._columns[str(how.label)]
        where = f"{path}, column {how.label or next(iter(self._columns))}"
        values, self.names = coded(column, how, where)
        self._labels = labels_on(grid, self._shapes, values, are_classes(how))
        self.unit = self._shapes.units.get(str(how.label or next(iter(self._columns))), "")
        self._grid, self._windows, self._how = grid, windows, how
        if not len(self._labels):
            area = ", ".join(f"{edge:g}" for edge in area_of([grid]) or ())
            raise ZooError(
                f"{path}: none of its {len(values):,} labels lies on the images, which are at {area} (west, south, "
                f"east, north in degrees); {placed(self._shapes)}; is that CRS right?"
            )
        self.codes = np.unique(self._labels.values).astype(int).tolist() if are_classes(how) else ()
        require_few(self.codes, where)
        self.notes = [f"{path.name}: {note}" for note in (*self._shapes.notes, *self._labels.notes)]
        self.what = "polygons" if (self._labels.weight > 1).any() else "points"
        self._burner: Burner | None = None

    def units(self) -> Units:
        """Every polygon or point, where it lies, with its pixels."""
        import shapely

        labels, place = self._labels, on_ground(self._grid, *self._labels.points)
        shapes = shapely.transform(labels.geometry, lambda xy: np.stack(on_ground(self._grid, *xy.T), axis=1))
        side = float(np.median(np.sqrt(labels.weight))) * max(pixel_of(self._grid)) if self.what == "polygons" else 0.0
        counts = None
        if are_classes(self._how):
            counts = np.where(labels.values[:, None] == np.array(self.codes), labels.weight[:, None], 0.0)
        group = np.asarray(self.columns(self._how.group), str) if self._how.group else None
        return Units(
            *place, labels.weight, counts, None if self.codes else labels.values.astype(np.float64),
            None if group is None else np.unique(group, return_inverse=True)[1], side, self.what, shapes,
        )  # fmt: skip

    def columns(self, name: str) -> Sequence[Any] | None:
        """See `Labelling`."""
        return ["" if v is None or v != v else v for v in self._columns[name][self._labels.row]]

    def divide(self, split: np.ndarray | None) -> list[np.ndarray]:
        """See `Labelling`; a window is in each split of which it shows a label."""
        given = np.zeros(len(self._labels), np.uint8) if split is None else split
        self._burner = Burner(self._labels, given)
        self._touched = window, label = self._burner.touched(list(self._windows))
        return [np.unique(window[given[label] == s]) for s in range(1 if split is None else len(SPLITS))]

    def first(self, given: np.ndarray, split: int) -> np.ndarray:
        """See `Labelling`; of what `divide` found."""
        window, label = (found[given[self._touched[1]] == split] for found in self._touched)
        return np.array([label[window == one].min() for one in np.unique(window)])

    def read(self, window: Window, split: int) -> np.ndarray:
        """See `Labelling`."""
        assert self._burner is not None
        return self._burner.read(window, split)

    @property
    def disputed(self) -> int:
        """See `Labelling`."""
        return self._burner.disputed if self._burner else 0


def require_few(codes: Sequence[int], where: str) -> None:
    """Raise ZooError for more codes than classes may be."""
    if len(codes) > MOST:
        raise ZooError(f"{where}: holds {len(codes):,} different labels: those are values, not {MOST} classes or less")


def require_no_columns(how: ImageDataSettings, what: str) -> None:
    """Raise ZooError where settings name a column, or a layer, of labels that have none."""
    for name, value in (("group", how.group), ("layer", how.layer), ("split.column", how.split.column)):
        if value is not None:
            raise ZooError(f"data.{name} {value!r}: {what} no columns or layers; take it away")


def placed(shapes: Shapes) -> str:
    """Say where polygons or points lie, in degrees."""
    import shapely

    west, south, east, north = shapely.total_bounds(shapes.geometry)
    x, y = transform_points(shapes.crs, "EPSG:4326", np.array([west, east]), np.array([south, north]))
    edges = ", ".join(f"{edge:g}" for edge in (x[0], y[0], x[1], y[1]))
    return f"by {shapes.crs.to_string()[:40]} they lie at {edges}"


def are_classes(how: ImageDataSettings) -> bool:
    """Whether labels are codes of classes: tasks of classes have ``data.classes``."""
    return hasattr(how, "classes")


def coded(column: np.ndarray, how: ImageDataSettings, where: str) -> tuple[np.ndarray, dict[int, str]]:
    """Return a column's labels (n,) float64, NaN = none, and the names of their codes where the column holds names.

    Names get the codes that ``data.classes`` gives them; where that is null 0, 1, ... in sorted order. Whole numbers
    that are too large for codes (of crops: 3301010101) are names. Raises ZooError for text where numbers are wanted,
    for codes that are not whole, and for names that are no class.
    """
    if column.dtype.kind == "f":
        column = np.where(np.isin(column, how.no_label), np.nan, column)
        if are_classes(how) and np.nanmax(column, initial=0) >= CODES:
            column = np.array([None if v != v else f"{v:.0f}" for v in column], object)
    if column.dtype.kind == "f":
        if (
            are_classes(how)
            and (odd := column[np.isfinite(column) & ((column != np.floor(column)) | (column < 0))]).size
        ):
            raise ZooError(f"{where}: holds {odd[0]:g}; codes of classes are whole numbers from 0 on")
        return column, {}
    if not are_classes(how):
        odd = next(value for value in column if value is not None and numbers([value]) is None)
        raise ZooError(f"{where}: holds {odd!r}, which is no number; a regression learns numbers")
    found = sorted({value for value in column if value is not None and value not in how.label_nodata})
    classes = how.classes
    given = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(found if classes is None else classes))
    code = {name: number for number, name in given.items()}
    if strange := [name for name in found if name not in code]:
        told = f"{', '.join(strange[:5])}" + (", ..." if len(strange) > 5 else "")
        raise ZooError(f"{where}: holds {told}, which data.classes does not name; name it there, or list it in "
                       "data.label_nodata to ignore it")  # fmt: skip
    return np.array([code.get(value, np.nan) for value in column], np.float64), given


def divided(labelling: Labelling, how: ImageDataSettings) -> np.ndarray:
    """Return the split of each unit, by ``data.split``. Raises ZooError as `design`."""
    column = labelling.columns(how.split.column) if how.split.column else None
    return design(labelling.units(), how.split, column)


def on_ground(grid: Grid, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where columns and rows (n,) of a grid lie, in m: on its map, of degrees as `on_plane` does.

    Of a grid that is not georeferenced, pixels.
    """
    if grid.crs is None or grid.transform is None:
        return x, y
    east, north = apply(grid.transform, x, y)
    if grid.crs.is_projected:
        unit = grid.crs.linear_units_factor[1]
        return east * unit, north * unit
    return tuple(on_plane(grid.crs, east, north))


def size_of(grid: Grid, window: Window) -> tuple[float, float]:
    """Return how far a window reaches along x and y of `on_ground`, in the middle of the grid."""
    row, col, box = grid.height / 2, grid.width / 2, np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    found = on_ground(grid, col + box[:, 0] * window.width, row + box[:, 1] * window.height)
    return float(np.ptp(found[0])), float(np.ptp(found[1]))


def pixel_of(grid: Grid) -> tuple[float, float]:
    """Return the size of a pixel as `size_of`."""
    return size_of(grid, Window(0, 0, 1, 1))
