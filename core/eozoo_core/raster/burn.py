"""Polygons and points as labels of pixels, window by window: the whole raster is never made.

A polygon labels the pixels whose centres it holds; one that holds none labels the pixel that it mostly lies in (its
point on the surface), as a point labels the pixel that it lies in. Points of one pixel are one label: their mean where
values are numbers. A pixel on which labels of different values, or of two splits, lie has no label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eozoo_core.raster.georeference import Grid, apply
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.tiles import Window
from eozoo_core.raster.vector import Shapes

_VERTICES = 500  # of polygons that are cut to the window first
_THIN = 2.0  # px of area per px of outline: what is wider holds a pixel's centre
_CENTRES = 2**22  # compared with polygons at a time


@dataclass(frozen=True)
class Labels:
    """What lies on a grid, one entry per label, in pixels: x = column, y = row, 0.5 = the first pixel's centre.

    geometry (n,): polygons that hold a pixel's centre, and points. values (n,) float32. weight (n,): pixels, about.
    row (n,): of the file, for its other columns. notes: what became of the others, a line each.
    """

    geometry: np.ndarray
    values: np.ndarray
    weight: np.ndarray
    row: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def points(self) -> np.ndarray:
        """(2, n): a point on each, column and row."""
        import shapely

        inside = shapely.point_on_surface(self.geometry)
        return np.stack([shapely.get_x(inside), shapely.get_y(inside)])


def labels_on(grid: Grid, shapes: Shapes, values: np.ndarray, classes: bool) -> Labels:
    """Place ``shapes`` with ``values`` (n,), NaN = none, on a grid; ``classes``: values are no quantities.

    Raises ValueError for a grid without CRS.
    """
    import shapely

    if grid.crs is None or grid.transform is None:
        raise ValueError("the grid is not georeferenced")
    rows, notes = np.arange(len(values)), []
    placed = _clipped(_in_pixels(grid, shapes), grid)
    low_x, low_y, high_x, high_y = shapely.bounds(placed).T
    on = (high_x >= 0) & (high_y >= 0) & (low_x < grid.width) & (low_y < grid.height)
    if (known := np.isfinite(values)).sum() < len(values):
        notes.append(f"{(~known).sum():,} of {len(values):,} labels have no value")
    if (known & ~on).any():
        notes.append(f"{(known & ~on).sum():,} of {len(values):,} labels lie outside the raster")
    keep = np.flatnonzero(on & known)
    placed, values, rows = placed[keep], values[keep].astype(np.float32), rows[keep]
    small = _small(placed)
    placed[small] = shapely.point_on_surface(placed[small])
    point = shapely.get_dimensions(placed) == 0
    placed[point] = shapely.transform(placed[point], lambda xy: np.floor(xy) + 0.5)  # the pixel's centre
    if small.any():
        notes.append(f"{small.sum():,} polygons smaller than a pixel label the pixel that they lie in")
    weight = np.maximum(shapely.area(placed), 1.0)
    found = _together(grid, Labels(placed, values, weight, rows), classes, notes)
    return Labels(found.geometry, found.values, found.weight, found.row, tuple(notes))


def _in_pixels(grid: Grid, shapes: Shapes) -> np.ndarray:
    import shapely

    def placed(xy: np.ndarray) -> np.ndarray:
        x, y = xy.T if shapes.crs == grid.crs else transform_points(shapes.crs, grid.crs, *xy.T)
        return np.stack(apply(~grid.transform, x, y), axis=1)

    with np.errstate(invalid="ignore"):
        found = shapely.transform(shapes.geometry, placed)
    lost = np.zeros(len(found), bool)
    xy, index = shapely.get_coordinates(found, return_index=True)
    lost[index[~np.isfinite(xy).all(axis=1)]] = True  # has no place in the CRS of the raster
    found[lost] = shapely.Point()
    return found


def _clipped(geometry: np.ndarray, grid: Grid) -> np.ndarray:
    """Cut polygons at the edge of the grid: what lies beyond counts as no label, and is no place of one."""
    import shapely

    low_x, low_y, high_x, high_y = shapely.bounds(geometry).T
    over = (low_x < 0) | (low_y < 0) | (high_x > grid.width) | (high_y > grid.height)
    cut = np.flatnonzero(over & (shapely.get_dimensions(geometry) == 2))
    inside = shapely.intersection(geometry[cut], shapely.box(0, 0, grid.width, grid.height))
    geometry[cut] = np.where(shapely.get_dimensions(inside) == 2, inside, shapely.Polygon())
    return geometry


def _small(geometry: np.ndarray) -> np.ndarray:
    """Which polygons hold no centre of a pixel."""
    import shapely

    polygon = shapely.get_dimensions(geometry) == 2
    thin = np.flatnonzero(polygon & (shapely.area(geometry) < _THIN * shapely.length(geometry)))
    found = np.zeros(len(geometry), bool)
    if not len(thin):
        return found
    first, last = np.ceil(shapely.bounds(geometry[thin]) - 0.5).astype(int).reshape(-1, 2, 2).swapaxes(0, 1)
    size = np.maximum(last - first, 0)  # centres in the box, columns and rows
    count = size.prod(axis=1)
    found[thin] = True
    shapely.prepare(geometry[thin])
    starts = np.flatnonzero(np.diff(np.cumsum(count) // _CENTRES, prepend=-1))
    for some in np.split(np.arange(len(thin)), starts[1:]):
        which = np.repeat(some, count[some])
        number = np.arange(len(which)) - np.repeat(np.cumsum(count[some]) - count[some], count[some])
        wide = np.maximum(size[which, 0], 1)
        x, y = first[which, 0] + number % wide + 0.5, first[which, 1] + number // wide + 0.5
        inside = shapely.contains_xy(geometry[thin[which]], x, y)
        found[thin[which[inside]]] = False
    return found


def _together(grid: Grid, labels: Labels, classes: bool, notes: list[str]) -> Labels:
    """Make one label of the points of one pixel, and none where their classes differ."""
    import shapely

    point = np.flatnonzero(shapely.get_dimensions(labels.geometry) == 0)
    place = np.floor(np.stack([shapely.get_x(labels.geometry[point]), shapely.get_y(labels.geometry[point])]))
    inside = (place >= 0).all(axis=0) & (place[0] < grid.width) & (place[1] < grid.height)
    point, place = point[inside], place[:, inside]
    _, first, pixel, count = np.unique(
        place[1] * grid.width + place[0], return_index=True, return_inverse=True, return_counts=True
    )
    values = labels.values[point]
    low, high = np.full(len(first), np.inf), np.full(len(first), -np.inf)
    np.minimum.at(low, pixel, values)
    np.maximum.at(high, pixel, values)
    mean = np.bincount(pixel, values, len(first)) / np.maximum(count, 1)
    differ = (low != high) if classes else np.zeros(len(first), bool)
    if len(first) < len(point):
        what = f", {differ.sum():,} of them of two classes and left out" if classes else ", their mean counts"
        notes.append(f"{(count > 1).sum():,} pixels hold several points{what}")
    kept = point[first][~differ]
    polygon = np.flatnonzero(shapely.get_dimensions(labels.geometry) == 2)
    chosen = np.concatenate([polygon, kept])
    merged = np.where(low == high, low, mean)[~differ].astype(np.float32)
    return Labels(
        labels.geometry[chosen], np.concatenate([labels.values[polygon], merged]), labels.weight[chosen],
        labels.row[chosen],
    )  # fmt: skip


class Burner:
    """Labels of a grid by window, of one split each; ``split`` (n,): the number of each label's.

    disputed: pixels so far without label because labels of different values or splits lie on them.
    """

    def __init__(self, labels: Labels, split: np.ndarray):
        import shapely

        self.labels, self.split, self.disputed = labels, split, 0
        pairs = np.stack([split.astype(np.float64), labels.values.astype(np.float64)])
        self._pairs, number = np.unique(pairs, axis=1, return_inverse=True)
        self._number = number.ravel().astype(np.int32)
        self._vertices = shapely.get_num_coordinates(labels.geometry)
        self._is_point = shapely.get_dimensions(labels.geometry) == 0
        self._tree = shapely.STRtree(labels.geometry)

    def touched(self, windows: list[Window]) -> tuple[np.ndarray, np.ndarray]:
        """Return pairs of a window's and a label's number, of those that meet."""
        import shapely

        edges = np.array([(w.col, w.row, w.col + w.width, w.row + w.height) for w in windows], np.float64)
        edges += (0.4, 0.4, -0.4, -0.4)  # to the centres of the outer pixels
        return self._tree.query(shapely.box(*edges.T), predicate="intersects")

    def read(self, window: Window, split: int) -> np.ndarray:
        """Return ``(height, width)`` float32: labels of ``split``, NaN = none, or of several values or splits."""
        import shapely

        area = shapely.box(window.col, window.row, window.col + window.width, window.row + window.height)
        found = self._tree.query(area)
        found = found[np.argsort(self._number[found], kind="stable")]
        if not len(found):
            return np.full((window.height, window.width), np.nan, np.float32)
        high = self._drawn(found, window, np.maximum)
        low = self._drawn(found[::-1], window, np.minimum)
        self.disputed += int((high != low).sum())
        # What is written last is the highest number, or the lowest: where they differ, labels do.
        alone = (high == low) & (high >= 0)
        mine = alone & (self._pairs[0][np.maximum(high, 0)] == split)
        return np.where(mine, self._pairs[1][np.maximum(high, 0)], np.nan).astype(np.float32)

    def _drawn(self, order: np.ndarray, window: Window, keep: np.ufunc) -> np.ndarray:
        """Draw the numbers of labels over one another, -1 = none."""
        import shapely
        from rasterio import Affine
        from rasterio.features import rasterize

        polygon, point = order[~self._is_point[order]], order[self._is_point[order]]
        shape, out = (window.height, window.width), np.full((window.height, window.width), -1, np.int32)
        if len(polygon):
            shapes = self.labels.geometry[polygon]
            if (large := self._vertices[polygon] > _VERTICES).any():
                edges = window.col - 1, window.row - 1, window.col + window.width + 1, window.row + window.height + 1
                shapes[large] = shapely.clip_by_rect(shapes[large], *edges)
            whole = ~shapely.is_empty(shapes)
            pairs = list(zip(shapes[whole], self._number[polygon[whole]].tolist(), strict=True))
            if pairs:
                place = Affine.translation(window.col, window.row)
                out = rasterize(pairs, shape, fill=-1, transform=place, dtype="int32", skip_invalid=False)
        if len(point):
            x, y = (np.floor(get(self.labels.geometry[point])).astype(int) for get in (shapely.get_x, shapely.get_y))
            row, col = y - window.row, x - window.col
            inside = (row >= 0) & (col >= 0) & (row < window.height) & (col < window.width)
            number, place = self._number[point[inside]], (row[inside], col[inside])
            now = out[place]
            out[place] = np.where(now < 0, number, keep(now, number))
        return out
