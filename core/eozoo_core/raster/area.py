"""How large pixels are on the ground: square metres on the WGS 84 ellipsoid, in any CRS.

Map metres are not ground metres: at 60 degrees a pixel of Web Mercator has a quarter of the area that it seems to have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, apply
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.tiles import Window

SEMI_MAJOR, FLATTENING = 6_378_137.0, 1 / 298.257223563  # WGS 84, m
E2 = FLATTENING * (2 - FLATTENING)
TOLERANCE = 4e-5  # of a pixel's area: how far interpolation may be off in the middle of a block
_DEGREE = 111_195.0  # m
_STEP = 10.0  # m: areas of smaller pixels are those of squares of this side, so that rounding does not matter
_SMALLEST = 8  # pixels: a block of this side is not cut again
_NOWHERE = 64  # pixels: a block of this side is not on Earth where nine of its pixels are not


def pixel_area(grid: Grid, window: Window | None = None) -> np.ndarray:
    """Return the area of every pixel of ``window`` (None = the whole grid): (h, w) float64, m2; NaN = not on Earth.

    Exact in degrees, where an area follows from the latitudes of its edges (`zone`). In other CRSs pixels are placed on
    the ellipsoid; between places where they were, areas are interpolated, off by less than 0.01 %. Pixels may be up to
    50 km wide. The array may be read-only. Raises ZooError for a grid without CRS, or a CRS that is not of the Earth.
    """
    crs, t = _placed(grid)
    window = window or grid.whole
    if crs.is_geographic and t.b == 0 and t.d == 0 and crs.units_factor[0].startswith("degree"):
        edges = t.f + t.e * (window.row + np.arange(window.height + 1))
        edges = np.where(np.abs(edges) > 90 + abs(t.e), np.nan, edges).clip(-90, 90)  # half pixels beyond poles are cut
        rows = np.abs(zone(edges[:-1], edges[1:])) * abs(t.a) / 360
        return np.broadcast_to(rows[:, None], (window.height, window.width))
    return _interpolated(grid, window)


def zone(south: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Area of the ellipsoid between two latitudes in degrees, all around it, m2.

    Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395 (1987), equation 3-12.
    """
    return np.pi * SEMI_MAJOR**2 * (_q(north) - _q(south))


def pixel_size(grid: Grid, col: float, row: float) -> tuple[float, float]:
    """Return width and height in ground metres of the pixel at ``col``, ``row`` (fractions allowed)."""
    crs, t = _placed(grid)
    half = max(1.0, _STEP / _side(crs, t)) / 2
    cols, rows = col + half * np.array([-1, 1, 0, 0]), row + half * np.array([0, 0, -1, 1])
    west, east, north, south = _on_ellipsoid(crs, *apply(t, cols, rows))
    return float(np.linalg.norm(east - west)) / (2 * half), float(np.linalg.norm(south - north)) / (2 * half)


def _placed(grid: Grid) -> tuple[Any, Any]:
    if grid.crs is None or grid.transform is None or not (grid.crs.is_projected or grid.crs.is_geographic):
        raise ZooError("a raster without a CRS of the Earth has no area in m2; give it its CRS first")
    return grid.crs, grid.transform


def _q(degrees: np.ndarray) -> np.ndarray:
    sine, e = np.sin(np.radians(degrees)), E2**0.5
    return (1 - E2) * (sine / (1 - E2 * sine**2) + np.arctanh(e * sine) / e)


def _interpolated(grid: Grid, window: Window) -> np.ndarray:
    """Blocks are cut in four until areas at their corners tell those between."""
    out = np.full((window.height, window.width), np.nan)
    each = np.zeros(out.shape, bool)  # pixels that are placed one by one
    blocks = np.array([[0, 0, window.height - 1, window.width - 1]])  # first and last row and column
    while len(blocks):
        last, right = blocks[:, 2], blocks[:, 3]
        rows = np.stack([blocks[:, 0], (blocks[:, 0] + last) / 2, last], axis=1)
        cols = np.stack([blocks[:, 1], (blocks[:, 1] + right) / 2, right], axis=1)
        areas = _areas(grid, window.col + 0.5 + cols[:, None, :], window.row + 0.5 + rows[:, :, None])
        side = np.maximum(last - blocks[:, 0], right - blocks[:, 1])
        smooth = _smooth(areas)
        nowhere = np.isnan(areas).all(axis=(1, 2)) & (side < _NOWHERE)
        small = ~smooth & ~nowhere & (side < _SMALLEST)
        for block, nodes in zip(blocks[smooth], areas[smooth]):
            _fill(out, block, nodes[::2, ::2])
        for top, left, bottom, end in blocks[small]:
            each[top : bottom + 1, left : end + 1] = True
        blocks = _quarters(blocks[~smooth & ~small & ~nowhere])
    row, col = np.nonzero(each)
    out[each] = _areas(grid, window.col + 0.5 + col, window.row + 0.5 + row)
    return out


def _smooth(areas: np.ndarray) -> np.ndarray:
    """Of blocks (n, 3, 3) with areas at corners and between: whether the corners tell the others, to `TOLERANCE`."""
    corner = areas[:, ::2, ::2]
    between = [corner.mean(axis=(1, 2)), *corner.mean(axis=1).T, *corner.mean(axis=2).T]
    known = [areas[:, 1, 1], areas[:, 1, 0], areas[:, 1, 2], areas[:, 0, 1], areas[:, 2, 1]]
    with np.errstate(invalid="ignore"):
        return np.max([np.abs(b / k - 1) for b, k in zip(between, known)], axis=0) < TOLERANCE  # NaN: not smooth


def _fill(out: np.ndarray, block: np.ndarray, corner: np.ndarray) -> None:
    top, left, bottom, right = block
    down = np.linspace(0, 1, bottom - top + 1)[:, None]
    across = np.linspace(0, 1, right - left + 1)[None, :]
    edges = corner[0] * (1 - down) + corner[1] * down
    out[top : bottom + 1, left : right + 1] = edges[:, :1] * (1 - across) + edges[:, 1:] * across


def _quarters(blocks: np.ndarray) -> np.ndarray:
    top, left, bottom, right = blocks.T
    row, col = (top + bottom) // 2, (left + right) // 2
    below, beside = np.minimum(row + 1, bottom), np.minimum(col + 1, right)
    parts = [
        (top, left, row, col),
        (top, beside, row, right),
        (below, left, bottom, col),
        (below, beside, bottom, right),
    ]
    return np.unique(np.concatenate([np.stack(part, axis=1) for part in parts]), axis=0)


def _areas(grid: Grid, cols: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Areas in m2 of pixels whose centres lie at ``cols``, ``rows``, arrays that broadcast: half the cross product of
    the diagonals of a pixel, which is flat: off by 1e-5 for one of 50 km."""
    side = max(1.0, _STEP / _side(grid.crs, grid.transform))
    dx, dy = side / 2 * np.array([-1, 1, 1, -1]), side / 2 * np.array([-1, -1, 1, 1])
    x, y = apply(grid.transform, cols[..., None] + dx, rows[..., None] + dy)
    p = _on_ellipsoid(grid.crs, *np.broadcast_arrays(x, y))
    return np.linalg.norm(np.cross(p[..., 2, :] - p[..., 0, :], p[..., 3, :] - p[..., 1, :]), axis=-1) / 2 / side**2


def _side(crs: Any, t: Any) -> float:
    """About the side of a pixel, m."""
    return abs(t.a * t.e - t.b * t.d) ** 0.5 * (_DEGREE if crs.is_geographic else crs.linear_units_factor[1])


def _on_ellipsoid(crs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places in the unit of ``crs`` as (..., 3) m from the Earth's centre; NaN = not on Earth."""
    lon, lat = np.radians(transform_points(crs, "EPSG:4326", np.ravel(x), np.ravel(y)))
    normal = SEMI_MAJOR / np.sqrt(1 - E2 * np.sin(lat) ** 2)
    flat = normal * np.cos(lat)
    place = np.stack([flat * np.cos(lon), flat * np.sin(lon), normal * (1 - E2) * np.sin(lat)], axis=-1)
    return place.reshape(*np.shape(x), 3)
