"""Whether two splits share what they should not: ground, files, pixels, hours. Measurements, and findings from them.

All of it is about pairs of splits: two training samples may lie on one another.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.raster.georeference import degrees_of

if TYPE_CHECKING:
    from eozoo_core.raster.georeference import Grid

_BLOCK = 2**22  # pairs of boxes compared at a time
_DEGREE = 111_195.0  # metres on a sphere of the Earth's mean radius, 6371 km
_KEPT = 8  # of this many fingerprints one is kept
_FEWEST = 8  # fingerprints in common that are no chance
_HEAD = 32_768  # bytes hashed at both ends of a file


@dataclass(frozen=True)
class Place:
    """Where a sample lies on the ground.

    name: for messages, its file. box: left, bottom, right, top in the unit of ``crs``, any text that rasterio
    understands; left > right in degrees means across the date line.
    """

    name: str
    box: tuple[float, float, float, float]
    crs: str


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
    t = grid.transform
    corners = [(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f) for x in (0, grid.width) for y in (0, grid.height)]
    xs, ys = zip(*corners, strict=True)
    return Place(name, (min(xs), min(ys), max(xs), max(ys)), grid.crs.to_string())


def nearest(places: Sequence[Place], others: Sequence[Place]) -> Near:
    """Find for each of ``places`` (at least one) the nearest of ``others`` (at least one).

    In one projected CRS distances are those on the map, and places overlap that share more than a thousandth of the
    smaller one's side both ways (neighbours whose edges differ by rounding do not). Otherwise boxes are compared in
    degrees, distances are those on a sphere at the pair's latitude, and only more than a tenth of a side counts as
    overlap, because a box turned into another CRS grows; where the lists mix several CRS, overlap is looked for in each
    of them too. A box that is nowhere on Earth (see ``georeference.degrees_of``) is infinitely far from others.
    Memory is bounded; time goes with the product of the lengths.
    """
    systems = {place.crs for place in (*places, *others)}
    found = _nearest(places, others)
    for crs in systems if len(systems) > 1 else ():
        mine, theirs = (np.array([i for i, p in enumerate(many) if p.crs == crs], int) for many in (places, others))
        if len(mine) and len(theirs):
            exact = _nearest([places[i] for i in mine], [others[i] for i in theirs])
            better = exact.overlap & ~found.overlap[mine]
            found.index[mine[better]], found.metres[mine[better]] = theirs[exact.index[better]], 0.0
            found.overlap[mine[better]] = True
    return found


def _nearest(places: Sequence[Place], others: Sequence[Place]) -> Near:
    boxes, against, scale, tolerance = _common(places, others)
    n = len(boxes)
    index, metres, overlap = np.zeros(n, np.int64), np.zeros(n), np.zeros(n, bool)
    step = max(1, _BLOCK // len(against))
    for first in range(0, n, step):
        part = slice(first, min(first + step, n))
        gap, shared = _gaps(boxes[part, None], against[None], scale, tolerance)
        # Among those at the same distance, one that overlaps is the one to name.
        best = np.where(shared, -1.0, gap).argmin(axis=1)
        rows = np.arange(len(best))
        index[part], metres[part], overlap[part] = best, gap[rows, best], shared[rows, best]
    return Near(index, metres, overlap)


def nearest_time(times: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``times (n,)`` datetime64 the nearest of ``others (m,)``, m > 0: its index and the time between.

    Returns index (n,) int64 and gap (n,) timedelta64[s], never negative. NaT is far from everything: its gap is NaT.
    """
    times, others = (np.asarray(t, "datetime64[s]") for t in (times, others))
    order = np.argsort(others, kind="stable")[: int((~np.isnat(others)).sum())]
    if not len(order):
        return np.zeros(len(times), np.int64), np.full(len(times), np.timedelta64("NaT"), "timedelta64[s]")
    after = np.searchsorted(others[order], times).clip(0, len(order) - 1)
    before = (after - 1).clip(0)
    gaps = [np.abs(times - others[order[k]]) for k in (before, after)]
    closer = gaps[1] < gaps[0]
    return np.where(closer, order[after], order[before]), np.where(closer, gaps[1], gaps[0])


def fingerprints(image: np.ndarray) -> np.ndarray:
    """Numbers that say which ground an image ``(C, H, W)`` shows, sorted uint64: about one for 8 pixels.

    Each is of a square of 2 x 2 pixels, all their bands, whatever their order: the same pixels give the same numbers
    when an image is renamed, shifted, cut, turned or mirrored, and other values give other ones. Squares in which
    something is missing, even ones (no data, saturation) and those that are in the image more than once give none; an
    image with so few grey levels that most of its squares are repeated gives nothing at all.
    """
    bits = np.ascontiguousarray(image + np.float32(0), np.float32).view(np.uint32)  # + 0: -0.0 is 0.0
    pixel = np.zeros(image.shape[1:], np.uint64)
    for band in bits:
        pixel = _mixed(pixel * np.uint64(0x9E3779B97F4A7C15) + band.astype(np.uint64) + np.uint64(1))
    valid = np.isfinite(image).all(axis=0)
    corners = [np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]]
    good = np.logical_and.reduce([valid[c] for c in corners])
    good &= np.logical_or.reduce([pixel[c] != pixel[corners[0]] for c in corners[1:]])
    prints = _mixed(sum(pixel[c][good] for c in corners) if good.any() else np.empty(0, np.uint64))
    kept, counts = np.unique(prints[prints % np.uint64(_KEPT) == 0], return_counts=True)
    once = kept[counts == 1]
    return once if 2 * len(once) > counts.sum() else once[:0]


def shared_pixels(one: Sequence[np.ndarray], two: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """Find images of two lists of `fingerprints` that show the same pixels.

    Returns (index in one, index in two, share of the smaller image that the other one holds too), the largest share
    first. Fewer than 8 numbers or 5 % in common count as chance.
    """
    if not sum(map(len, one)) or not sum(map(len, two)):
        return []
    prints, owner = np.concatenate(one), np.repeat(np.arange(len(one)), [len(p) for p in one])
    order = np.argsort(prints, kind="stable")
    prints, owner = prints[order], owner[order]
    found = []
    for j, mine in enumerate(two):
        first, last = (np.searchsorted(prints, mine, side) for side in ("left", "right"))
        hits = last - first
        if not hits.any():
            continue
        starts = np.repeat(first - np.concatenate([[0], np.cumsum(hits)[:-1]]), hits)
        counts = np.bincount(owner[starts + np.arange(hits.sum())])
        for i in np.flatnonzero(counts >= _FEWEST):
            share = counts[i] / min(len(one[i]), len(mine))
            if share >= 0.05:
                found.append((int(i), j, float(share)))
    return sorted(found, key=lambda f: -f[2])


def same_files(one: Sequence[Path], two: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Return pairs of files with the same bytes, whatever their names, in the order of ``two``.

    A file that is in both lists is one of them. Files are first told apart by size and by both ends.
    """
    files = [*one, *two]
    return [(files[i], files[j]) for j, i in copies(files).items() if i < len(one) <= j]


def copies(files: Sequence[Path]) -> dict[int, int]:
    """Return the number of every file that has the bytes of an earlier one -> the number of the first such."""
    known: dict[Any, list[int]] = {}
    found = {}
    for j, path in enumerate(files):
        alike = known.setdefault(_outline(path), [])
        i = next((i for i in alike if _same(files[i], path)), None)
        if i is None:
            alike.append(j)
        else:
            found[j] = i
    return found


def pairs_of(splits: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of every two splits, in their order."""
    yield from combinations(splits, 2)


def _outline(path: Path) -> tuple[int, bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
        file.seek(max(0, size - _HEAD))
        return size, hashlib.blake2b(head + file.read(_HEAD)).digest()


def _same(one: Path, two: Path) -> bool:
    return one.samefile(two) or filecmp.cmp(one, two, shallow=False)


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _common(places: Sequence[Place], others: Sequence[Place]) -> tuple[np.ndarray, np.ndarray, float | None, float]:
    """Both lists as boxes (n, 4) in one CRS; metres per unit, or None for degrees; the tolerance of an overlap."""
    from rasterio.crs import CRS

    names = {p.crs for p in places} | {p.crs for p in others}
    systems = {name: CRS.from_user_input(name) for name in names}
    first = next(iter(systems.values()))
    if all(system == first for system in systems.values()):
        boxes = [np.array([p.box for p in many], np.float64) for many in (places, others)]
        if first.is_projected:
            return *boxes, first.linear_units_factor[1], 1e-3
        return *boxes, None, 1e-3
    return *(_degrees(many, systems) for many in (places, others)), None, 0.1


def _degrees(places: Sequence[Place], systems: Mapping[str, Any]) -> np.ndarray:
    nowhere = (np.nan,) * 4
    return np.array([degrees_of(systems[p.crs], p.box) or nowhere for p in places], np.float64)


def _gaps(a: np.ndarray, b: np.ndarray, scale: float | None, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Metres between the edges of boxes (..., 4) that broadcast, and whether they overlap."""
    width, other = ((x[..., 2] - x[..., 0]) for x in (a, b))
    offset = (b[..., 0] + b[..., 2] - a[..., 0] - a[..., 2]) / 2
    if scale is None:  # longitudes go round
        width, other = (np.where(w < 0, w + 360.0, w) for w in (width, other))
        middle = [(x[..., 0] + w / 2) for x, w in ((a, width), (b, other))]
        offset = (middle[1] - middle[0] + 180.0) % 360.0 - 180.0
    heights = [x[..., 3] - x[..., 1] for x in (a, b)]
    across = np.abs(offset) - (width + other) / 2
    along = np.maximum(b[..., 1] - a[..., 3], a[..., 1] - b[..., 3])
    overlap = (-across > tolerance * np.minimum(width, other)) & (-along > tolerance * np.minimum(*heights))
    x, y = (np.where(np.isnan(d), np.inf, d.clip(0)) for d in (across, along))  # NaN: a box that is nowhere
    if scale is None:
        latitude = (a[..., 1] + a[..., 3] + b[..., 1] + b[..., 3]) / 4
        return np.hypot(x * np.cos(np.radians(np.nan_to_num(latitude))), y) * _DEGREE, overlap
    return np.hypot(x, y) * scale, overlap
