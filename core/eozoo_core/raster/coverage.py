"""Which share of every pixel a polygon covers: exactly, so that a sum over a polygon does not depend on the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.area import zone
from eozoo_core.raster.georeference import Grid, apply
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.tiles import Window

_STEP = 0.01  # degrees: a straight line of that length in one CRS is off by less than 0.1 m in another


def edges_of(geometry: dict[str, Any], crs: Any, grid: Grid) -> np.ndarray:
    """Edges of a GeoJSON Polygon or MultiPolygon on a grid: (n, 4) columns and rows of both ends, for `coverage`.

    Edges are straight in ``crs``, as GeoJSON says, and so bent on the map: they are cut into short ones. An edge of
    more than 180 degrees of longitude, but for a full circle, goes across the date line. Raises ZooError for a polygon
    that has no place in the grid's CRS.
    """
    parts = []
    for number, corners in _rings(geometry):
        for part in _on_grid(corners, crs, grid):
            edges = np.concatenate([part, np.roll(part, -1, axis=0)], axis=1)
            area = (edges[:, 0] * edges[:, 3] - edges[:, 2] * edges[:, 1]).sum()
            parts.append(edges if (area > 0) == (number == 0) else edges[:, [2, 3, 0, 1]])  # holes run the other way
    return np.concatenate(parts) if parts else np.empty((0, 4))


def coverage(edges: np.ndarray, window: Window) -> np.ndarray:
    """Share of every pixel of ``window`` that lies in the polygon: (h, w) float64 from 0 to 1.

    Every edge adds what lies between it and the right side of the window, with its sign: the sum of all is the area.
    """
    moved = edges - np.array([window.col, window.row] * 2)
    near = (moved[:, [1, 3]].max(axis=1) > 0) & (moved[:, [1, 3]].min(axis=1) < window.height)
    a, b = _pieces(moved[near], window)
    middle, height = (a + b) / 2, b[:, 1] - a[:, 1]
    row, col = np.floor(middle[:, 1]).astype(int), np.floor(middle[:, 0]).clip(-1, window.width).astype(int)
    inside = (row >= 0) & (row < window.height) & (col < window.width)
    row, col, height, x = row[inside], col[inside], height[inside], middle[inside, 0]
    beyond = np.where(col < 0, 0.0, x - col)  # share of the pixel left of the edge; what is left of the window: none
    first = row * (window.width + 1) + col.clip(0)
    size = window.height * (window.width + 1)
    added = np.bincount(first, height * (1 - beyond), size) + np.bincount(first + 1, height * beyond, size + 1)[:size]
    return np.abs(added.reshape(window.height, -1)[:, :-1].cumsum(axis=1)).clip(0, 1)


def extent(edges: np.ndarray, grid: Grid) -> Window | None:
    """The part of the grid that the polygon lies in; None = it lies beside."""
    if not len(edges):
        return None
    low, high = np.floor(edges.reshape(-1, 2).min(axis=0)), np.ceil(edges.reshape(-1, 2).max(axis=0))
    left, top = (int(max(v, 0)) for v in low)
    right, bottom = int(min(high[0], grid.width)), int(min(high[1], grid.height))
    return Window(top, left, bottom - top, right - left) if left < right and top < bottom else None


def polygon_area(geometry: dict[str, Any], crs: Any) -> float:
    """Area on the ground, m2, of a GeoJSON Polygon or MultiPolygon; see `edges_of` for its edges. Parts add up.

    The line integral of the area between an edge and the equator: between parallels and meridians it is exact.
    """
    area = 0.0
    for number, corners in _rings(geometry):
        lon, lat = _lonlat(corners, crs).T
        south = zone(np.zeros(len(lat)), lat)  # of the whole zone between the equator and a corner
        ring = abs(float(np.diff(lon) @ (south[1:] + south[:-1]))) / 720
        area += ring if number == 0 else -ring
    return area


def _rings(geometry: dict[str, Any]) -> list[tuple[int, np.ndarray]]:
    """Number in its polygon (0 = its outline, others are holes) and corners (n, 2) of every ring."""
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = [(number, ring) for polygon in polygons for number, ring in enumerate(polygon)]
    return [(number, np.array([position[:2] for position in ring], np.float64)) for number, ring in rings]


def _on_grid(ring: np.ndarray, crs: Any, grid: Grid) -> list[np.ndarray]:
    """A ring as rings in columns and rows: one, two where the map ends at the date line, copies on a map in degrees."""
    from rasterio.crs import CRS

    inverse = ~grid.transform
    if CRS.from_user_input(crs) == grid.crs and not grid.crs.is_geographic:
        return [np.stack(apply(inverse, *ring.T), axis=1)]
    lonlat = _lonlat(ring, crs)
    lonlat = lonlat - [360 * np.round(lonlat[:, 0].mean() / 360), 0]
    if grid.crs.is_geographic:
        placed = _moved(lonlat, grid.crs)
        copies = [placed + np.array([turn, 0.0]) for turn in (-360, 0, 360)]
    else:
        parts = [(_clip(_clip(lonlat, low, 1), low + 360, -1), low + 180) for low in (-540.0, -180.0, 180.0)]
        copies = [_moved(part - [middle, 0], grid.crs) for part, middle in parts if len(part)]
    if not all(np.isfinite(copy).all() for copy in copies):
        raise ZooError(
            f"part of it has no place in {grid.crs.to_string()[:40]}, the map's CRS; cut it to the map's region"
        )
    return [np.stack(apply(inverse, *copy.T), axis=1) for copy in copies]


def _lonlat(ring: np.ndarray, crs: Any) -> np.ndarray:
    """A ring in degrees, in short steps, closed, and without a jump at the date line."""
    from rasterio.crs import CRS

    source = CRS.from_user_input(crs)
    if source.is_geographic and not (np.abs(ring) <= [720, 90]).all():
        raise ZooError("its corners are not degrees of longitude and latitude; name its CRS, or transform it to WGS 84")
    if not np.isfinite(ring).all() or len(ring) < 3:
        raise ZooError("it is not a ring of places; correct it")
    if source.is_geographic:
        found = _short(_unwrapped(ring), _STEP)
        if source != CRS.from_epsg(4326):
            found = _moved(found, source, back=True)
    else:
        found = _short(ring, _STEP * 111_195 / source.linear_units_factor[1])
        found = _unwrapped(transform_points(source, "EPSG:4326", *found.T).T)
    if not np.isfinite(found).all():
        raise ZooError(f"a corner of it is nowhere in {source.to_string()[:40]}; correct it, or name its CRS")
    return found


def _moved(lonlat: np.ndarray, crs: Any, back: bool = False) -> np.ndarray:
    """From WGS 84 degrees to ``crs`` (or ``back``), and where that is in degrees on the same turn around the Earth."""
    if not crs.is_geographic:
        return transform_points("EPSG:4326", crs, *lonlat.T).T
    ends = (crs, "EPSG:4326") if back else ("EPSG:4326", crs)
    x, y = transform_points(*ends, (lonlat[:, 0] + 180) % 360 - 180, lonlat[:, 1])
    return np.stack([x + 360 * np.round((lonlat[:, 0] - x) / 360), y], axis=1)


def _unwrapped(ring: np.ndarray) -> np.ndarray:
    """Longitudes without jumps: an edge of more than 180 degrees goes the other way, but for one of 360."""
    jump = np.diff(ring[:, 0])
    turns = np.where(np.abs(jump) < 360 - 1e-9, -np.round(jump / 360), 0.0)
    return ring + np.stack([360 * np.concatenate([[0.0], turns.cumsum()]), np.zeros(len(ring))], axis=1)


def _short(ring: np.ndarray, step: float) -> np.ndarray:
    """The ring with corners added, so that no edge is longer than ``step``; closed."""
    if not np.array_equal(ring[0], ring[-1]):
        ring = np.concatenate([ring, ring[:1]])
    pieces = np.ceil(np.abs(np.diff(ring, axis=0)).max(axis=1) / step).clip(1).astype(int)
    edge = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(len(edge)) - (pieces.cumsum() - pieces)[edge]) / pieces[edge]
    return np.concatenate([ring[edge] + share[:, None] * (ring[edge + 1] - ring[edge]), ring[-1:]])


def _clip(ring: np.ndarray, line: float, side: int) -> np.ndarray:
    """The part of a ring right (``side`` 1) or left (-1) of a longitude; it may run along the line to and fro."""
    if not len(ring):
        return ring
    after = np.roll(ring, -1, axis=0)
    kept, next_kept = (side * (points[:, 0] - line) >= 0 for points in (ring, after))
    crosses = kept != next_kept
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (line - ring[:, 0]) / (after[:, 0] - ring[:, 0])
        meets = np.stack([np.full(len(ring), line), ring[:, 1] + share * (after[:, 1] - ring[:, 1])], axis=1)
    order = np.concatenate([2.0 * np.flatnonzero(kept), 2.0 * np.flatnonzero(crosses) + 1])
    return np.concatenate([ring[kept], meets[crosses]])[np.argsort(order)]


def _pieces(edges: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Cut edges where they cross borders of the window's pixels; both ends (m, 2) of the pieces."""
    start, step = edges[:, :2], edges[:, 2:] - edges[:, :2]
    n = len(edges)
    numbers, shares = [np.arange(n), np.arange(n)], [np.zeros(n), np.ones(n)]
    for axis, size in ((0, window.width), (1, window.height)):
        ends = np.stack([start[:, axis], start[:, axis] + step[:, axis]])
        low, high = np.ceil(ends.min(axis=0)).clip(0, size), np.floor(ends.max(axis=0)).clip(0, size)
        count = np.where(step[:, axis] == 0, 0, high - low + 1).clip(0).astype(int)
        edge = np.repeat(np.arange(n), count)
        line = low[edge] + np.arange(len(edge)) - (count.cumsum() - count)[edge]
        share = (line - start[edge, axis]) / step[edge, axis]
        met = (share > 0) & (share < 1)
        numbers.append(edge[met])
        shares.append(share[met])
    number, share = np.concatenate(numbers), np.concatenate(shares)
    order = np.lexsort((share, number))
    number, share = number[order], share[order]
    points = start[number] + share[:, None] * step[number]
    whole = number[1:] == number[:-1]
    return points[:-1][whole], points[1:][whole]
