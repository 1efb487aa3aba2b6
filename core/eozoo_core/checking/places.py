"""Where samples lie, and which of two lists lie nearest to one another or on the same ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eozoo_core.raster.georeference import Grid, degrees_of

NEAR = 0.5  # pixels: where centres of pixels of two samples are nearer than this, they are on the same ground
_BLOCK = 2**22  # pairs of boxes compared at a time
_PAIRS = 2**15  # pairs of quadrilaterals
_DEGREE = 111_195.0  # metres on a sphere of the Earth's mean radius, 6371 km


@dataclass(frozen=True)
class Place:
    """Where a sample lies on the ground.

    name: for messages, its file. box: left, bottom, right, top in the unit of ``crs``, any text that rasterio
    understands; left > right in degrees means across the date line. pixel: the shorter side of its pixels in that unit.
    A point has the box of its footprint, and the side of that for a pixel. corners: four of them in turn, where the
    sample is turned against its CRS and so fills less than its box.
    """

    name: str
    box: tuple[float, float, float, float]
    crs: str
    pixel: float
    corners: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True)
class Near:
    """For every place of one list the nearest of another: its index, metres between the edges, whether they overlap.

    index (n,) int64, metres (n,) float64 (0 = they touch or overlap, inf = cannot be said), overlap (n,) bool.
    """

    index: np.ndarray
    metres: np.ndarray
    overlap: np.ndarray


def place_of(name: str, grid: Grid) -> Place | None:
    """Return where a raster lies, None where it is not georeferenced or its system is not that of a map."""
    if grid.crs is None or grid.transform is None or not (grid.crs.is_projected or grid.crs.is_geographic):
        return None
    t, h, w = grid.transform, grid.height, grid.width
    corners = tuple((t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x, y in ((0, 0), (w, 0), (w, h), (0, h)))
    xs, ys = zip(*corners, strict=True)
    pixel = float(min(np.hypot(t.a, t.d), np.hypot(t.b, t.e)))
    straight = (t.b == 0 and t.d == 0) or (t.a == 0 and t.e == 0)
    box = (min(xs), min(ys), max(xs), max(ys))
    return Place(name, box, grid.crs.to_string(), pixel, None if straight else corners)


def nearest(places: Sequence[Place], others: Sequence[Place], same: bool = False) -> Near:
    """Find for each of ``places`` (at least one) the nearest of ``others`` (at least one).

    Places overlap that share more than half a pixel (``NEAR``, the smaller of their pixels) in every direction: then
    centres of their pixels are nearer than half a pixel. Neighbours that touch do not, nor do those whose edges differ
    by rounding. ``same``: both lists are one, and no place is compared with itself.

    In one projected CRS distances are those on the map. In degrees, and where CRSs differ, they are those on a sphere
    at the pair's latitude; edges count as straight there, which is 3 m off in the middle of an edge of 10 km. A box
    that is nowhere on Earth (see ``georeference.degrees_of``) is infinitely far from others. Memory is bounded; time
    goes with the product of the lengths.
    """
    mine, theirs, scale = _grounds(places, others)
    n, step = len(places), max(1, _BLOCK // len(others))
    found = Near(np.zeros(n, np.int64), np.zeros(n), np.zeros(n, bool))
    for first in range(0, n, step):
        rows = np.arange(first, min(first + step, n))
        gap, shared = _gaps(mine, theirs, rows, scale)
        if same:
            gap[rows - first, rows], shared[rows - first, rows] = np.inf, False
        # Among those at the same distance, one that overlaps is the one to name.
        best = np.where(shared, -1.0, gap).argmin(axis=1)
        here = np.arange(len(rows))
        found.index[rows], found.metres[rows], found.overlap[rows] = best, gap[here, best], shared[here, best]
    return found


@dataclass(frozen=True)
class _Ground:
    """Many places. ``own`` boxes (n, 4) in their own CRS, ``boxes`` in the one that all are compared in; which CRS
    (n,), whether it is in degrees, and its metres per unit; pixels (n,); corners (n, 4, 2) and whether turned."""

    own: np.ndarray
    boxes: np.ndarray
    system: np.ndarray
    around: np.ndarray
    unit: np.ndarray
    pixel: np.ndarray
    corners: np.ndarray
    turned: np.ndarray
    degrees: np.ndarray  # corners (n, 4, 2): longitude, latitude; NaN where nobody needs them


def _grounds(places: Sequence[Place], others: Sequence[Place]) -> tuple[_Ground, _Ground, float | None]:
    """Both lists, and metres per unit of ``boxes``, None for degrees."""
    from rasterio.crs import CRS

    kinds: list[Any] = []
    number = {}
    for name in dict.fromkeys(place.crs for place in (*places, *others)):
        crs = CRS.from_user_input(name)
        if crs not in kinds:
            kinds.append(crs)
        number[name] = kinds.index(crs)
    one = len(kinds) == 1 and kinds[0].is_projected
    plane = len(kinds) > 1 or (not one and any(place.corners for place in (*places, *others)))
    grounds = tuple(_ground(many, kinds, number, plane) for many in (places, others))
    return *grounds, kinds[0].linear_units_factor[1] if one else None


def _ground(places: Sequence[Place], kinds: Sequence[Any], number: dict[str, int], plane: bool) -> _Ground:
    own = np.array([p.box for p in places], np.float64)
    system = np.array([number[p.crs] for p in places])
    turned = np.array([p.corners is not None for p in places])
    units = [kind.linear_units_factor[1] if kind.is_projected else _DEGREE for kind in kinds]
    straight = own[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # the corners of boxes, in turn
    corners = np.array([p.corners or box for p, box in zip(places, straight)], np.float64)
    boxes, degrees = own, np.full_like(corners, np.nan)
    if len(kinds) > 1:
        nowhere = (np.nan,) * 4
        boxes = np.array([degrees_of(kinds[s], p.box) or nowhere for s, p in zip(system, places, strict=True)])
    if plane:
        for k, kind in enumerate(kinds):
            rows = np.flatnonzero((system == k) & np.isfinite(boxes).all(axis=1))
            degrees[rows] = _in_degrees(kind, corners[rows])
    pixel = np.array([p.pixel for p in places], np.float64)
    in_degrees = np.array([not kind.is_projected for kind in kinds])
    return _Ground(own, boxes, system, in_degrees[system], np.array(units)[system], pixel, corners, turned, degrees)


def _in_degrees(crs: Any, corners: np.ndarray) -> np.ndarray:
    from rasterio.warp import transform

    if not len(corners):
        return corners
    lon, lat = transform(crs, "EPSG:4326", corners[..., 0].ravel(), corners[..., 1].ravel())
    found = np.stack([lon, lat], axis=-1).reshape(corners.shape)
    return np.where(np.isfinite(found).all(axis=(1, 2), keepdims=True), found, np.nan)


def _gaps(a: _Ground, b: _Ground, rows: np.ndarray, scale: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Metres between rows of ``a`` and all of ``b`` (rows, m), and whether they overlap."""
    across, along = _between(a.boxes[rows, None], b.boxes[None], scale is None)
    x, y = (np.where(np.isnan(d), np.inf, d.clip(0)) for d in (across, along))  # NaN: a box that is nowhere
    if scale is None:
        latitude = (a.boxes[rows, None, 1] + a.boxes[rows, None, 3] + b.boxes[None, :, 1] + b.boxes[None, :, 3]) / 4
        gap = np.hypot(x * np.cos(np.radians(np.nan_to_num(latitude))), y) * _DEGREE
    else:
        gap = np.hypot(x, y) * scale
    shared = (across < 0) & (along < 0)  # the boxes do; what lies in them is looked at now
    ii, jj = np.nonzero(shared)
    for first in range(0, len(ii), _PAIRS):
        i, j = (index[first : first + _PAIRS] for index in (ii, jj))
        depth, near = _depth(a, b, rows[i], j)
        shared[i, j] = depth > near
        gap[i, j] = (-depth).clip(0)
    return gap, shared


def _between(a: np.ndarray, b: np.ndarray, around: bool | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From edge to edge of boxes (..., 4) that broadcast, below 0 where they overlap; ``around``: of longitudes."""
    width, other = (x[..., 2] - x[..., 0] for x in (a, b))
    width, other = (np.where(around & (w < 0), w + 360.0, w) for w in (width, other))
    offset = (b[..., 0] + other / 2) - (a[..., 0] + width / 2)
    offset = np.where(around, (offset + 180.0) % 360.0 - 180.0, offset)
    across = np.abs(offset) - (width + other) / 2
    return across, np.maximum(b[..., 1] - a[..., 3], a[..., 1] - b[..., 3])


def _depth(a: _Ground, b: _Ground, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How deep pairs of places overlap (k,), below 0 = they do not, and how deep is too deep; metres.

    Of a pair whose CRS is one, on its map; of others on a plane at the latitude of the pair.
    """
    depth, near = np.empty(len(i)), np.empty(len(i))
    alike, turned = a.system[i] == b.system[j], a.turned[i] | b.turned[j]
    straight, planar = alike & ~turned, alike & turned & ~a.around[i]
    p, q = i[straight], j[straight]
    across, along = _between(a.own[p], b.own[q], a.around[p])
    depth[straight] = np.minimum(-across, -along) * a.unit[p]
    near[straight] = NEAR * np.minimum(a.pixel[p], b.pixel[q]) * a.unit[p]
    p, q = i[planar], j[planar]
    depth[planar] = _quads(a.corners[p], b.corners[q]) * a.unit[p]
    near[planar] = NEAR * np.minimum(a.pixel[p], b.pixel[q]) * a.unit[p]
    rest = ~(straight | planar)
    p, q = i[rest], j[rest]
    one, two = _plane(a.degrees[p], b.degrees[q])
    depth[rest] = _quads(one, two)
    near[rest] = NEAR * np.minimum(_pixels(one, a, p), _pixels(two, b, q))
    # What is too wide for a plane, or has a corner nowhere, is judged by its box.
    wide = np.flatnonzero(rest)[~np.isfinite(depth[rest]) | (_width(a.boxes[p]) > 90) | (_width(b.boxes[q]) > 90)]
    p, q = i[wide], j[wide]
    across, along = _between(a.boxes[p], b.boxes[q], True)
    depth[wide] = np.minimum(-across, -along) * _DEGREE
    near[wide] = NEAR * np.minimum(a.pixel[p] * a.unit[p], b.pixel[q] * b.unit[q])
    return depth, near


def _width(boxes: np.ndarray) -> np.ndarray:
    width = boxes[:, 2] - boxes[:, 0]
    return np.where(width < 0, width + 360.0, width)


def _plane(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners in degrees (k, 4, 2) of pairs, in metres on a plane at the middle of both."""
    origin, latitude = a[:, :1, 0], (a[..., 1].mean(axis=1) + b[..., 1].mean(axis=1)) / 2
    narrow = np.cos(np.radians(latitude))[:, None]
    flat = []
    for quad in (a, b):
        east = ((quad[..., 0] - origin + 180.0) % 360.0 - 180.0) * narrow
        flat.append(np.stack([east, quad[..., 1]], axis=-1) * _DEGREE)
    return flat[0], flat[1]


def _pixels(quad: np.ndarray, ground: _Ground, k: np.ndarray) -> np.ndarray:
    """The pixel's side in metres (k,): as long a part of the shorter side as it is on the map."""
    on_map = _shorter(ground.corners[k], ground.around[k])
    return _shorter(quad) * ground.pixel[k] / np.where(on_map > 0, on_map, np.inf)


def _shorter(quad: np.ndarray, around: np.ndarray | bool = False) -> np.ndarray:
    steps = quad[:, 1:3] - quad[:, :2]
    wrap = np.asarray(around)[..., None] if np.ndim(around) else around
    steps[..., 0] = np.where(wrap, (steps[..., 0] + 180.0) % 360.0 - 180.0, steps[..., 0])
    return np.hypot(steps[..., 0], steps[..., 1]).min(axis=1)


def _quads(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How deep convex quadrilaterals (k, 4, 2) overlap (k,): along the edge whose normal parts them best."""
    depth = np.full(len(a), np.inf)
    for quad in (a, b):
        for edge in range(4):
            step = quad[:, (edge + 1) % 4] - quad[:, edge]
            length = np.hypot(step[:, 0], step[:, 1])
            normal = np.stack([-step[:, 1], step[:, 0]], axis=-1) / np.where(length > 0, length, np.inf)[:, None]
            one, two = (((q - a[:, :1]) * normal[:, None]).sum(axis=-1) for q in (a, b))
            shared = np.minimum(one.max(axis=1), two.max(axis=1)) - np.maximum(one.min(axis=1), two.min(axis=1))
            depth = np.minimum(depth, np.where(length > 0, shared, np.inf))
    return depth
