"""Distances between many points or squares of one plane, and clusters of them, by a grid of cells."""

from __future__ import annotations

import numpy as np

_PAIRS = 2**21  # pairs compared at a time
_AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def between(shapes: np.ndarray, others: np.ndarray, most: float) -> np.ndarray:
    """Distance (n,) of each of ``shapes`` (n,) to the nearest of ``others`` (m,), shapely; inf = beyond ``most``."""
    import shapely

    found = np.full(len(shapes), np.inf)
    tree = shapely.STRtree(others)
    pairs, apart = tree.query_nearest(shapes, max_distance=most, return_distance=True, all_matches=False)
    found[pairs[0]] = apart
    return found


def distances(
    points: np.ndarray, others: np.ndarray, most: float, size: float | tuple[float, float] = 0.0
) -> np.ndarray:
    """Distance (n,) of each of ``points`` (n, 2) to the nearest of ``others`` (m, 2), inf where beyond ``most``.

    From edge to edge of rectangles of ``size``: one side, or that along x and along y; 0 where they touch or overlap.
    Finite coordinates in one unit.
    """
    found = np.full(len(points), np.inf)
    if not len(others) or not len(points):
        return found
    side = most + np.asarray(size)
    origin = np.minimum(points.min(axis=0), others.min(axis=0)) - side
    cells, theirs = (np.floor((p - origin) / side).astype(np.int64) for p in (points, others))
    across = int(max(cells[:, 1].max(), theirs[:, 1].max())) + 2
    order = np.argsort(theirs[:, 0] * across + theirs[:, 1], kind="stable")
    keys, sorted_others = (theirs[:, 0] * across + theirs[:, 1])[order], others[order]
    for i, j in _AROUND:
        wanted = (cells[:, 0] + i) * across + cells[:, 1] + j
        first, last = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, side="right")
        for rows in _parts(last - first):
            many = (last - first)[rows]
            start = np.repeat(np.cumsum(many) - many, many)
            other = np.arange(many.sum()) - start + np.repeat(first[rows], many)
            apart = np.abs(np.repeat(points[rows], many, axis=0) - sorted_others[other])
            apart = np.hypot(*np.maximum(apart - size, 0).T)
            nearest = np.minimum.reduceat(apart, np.cumsum(many) - many)
            found[rows] = np.minimum(found[rows], nearest)
    return np.where(found <= most, found, np.inf)


def clusters(points: np.ndarray, gap: float | np.ndarray) -> np.ndarray:
    """Number (n,) of each point's cluster: two clusters are at least ``gap`` apart, one number or along x and y.

    By cells of half a gap, so that what is up to 2.2 gaps apart may be in one cluster. Numbers rise with the cells.
    """
    cells = np.floor((points - points.min(axis=0)) / (gap / 2)).astype(np.int64)
    across = int(cells[:, 1].max()) + 5
    known, inverse = np.unique(cells[:, 0] * across + cells[:, 1], return_inverse=True)
    pairs = []
    for step in (i * across + j for i in range(3) for j in range(-2, 3) if i * across + j > 0):
        at = np.searchsorted(known, known + step)
        there = np.flatnonzero(known[np.minimum(at, len(known) - 1)] == known + step)
        pairs.append(np.stack([there, at[there]]))
    return components(len(known), *np.concatenate(pairs, axis=1))[inverse]


def components(n: int, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Number (n,) of the connected part that each of n things is in, 0, 1, ... by its first; pairs (k,), (k,)."""
    label = np.arange(n)
    while True:
        lowest = np.minimum(label[one], label[two])
        before = label.copy()
        np.minimum.at(label, before[one], lowest)
        np.minimum.at(label, before[two], lowest)
        label = label[label]
        if (label[one] == label[two]).all() and (label[label] == label).all():
            return np.unique(label, return_inverse=True)[1]


def _parts(many: np.ndarray) -> list[np.ndarray]:
    """Cut the rows that have any pairs so that each part has about ``_PAIRS`` of them."""
    rows = np.flatnonzero(many)
    if not len(rows):
        return []
    ends = np.searchsorted(np.cumsum(many[rows]), np.arange(_PAIRS, many[rows].sum(), _PAIRS))
    return [part for part in np.split(rows, np.unique(ends)) if len(part)]
