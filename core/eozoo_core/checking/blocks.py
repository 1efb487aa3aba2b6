"""What is divided, and what of it is kept together: squares, clusters, groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eozoo_core.checking.near import between, clusters, components, distances
from eozoo_core.errors import ZooError
from eozoo_core.settings.splits import SplitSettings

BLOCKS = 100  # squares with labels, about, where nobody says how large they are


@dataclass(frozen=True)
class Units:
    """What is divided: windows, fields, rows of a table; n of them.

    x, y:   (n,) float64, where they lie (their middle), metres in one projected system, or pixels; NaN = not known.
    weight: (n,) labels (pixels or rows) in each.
    counts: (n, K) labels of each class; None = they are no classes. values: (n,) mean label where they are numbers,
            NaN = none; None.
    group:  (n,) int64, what must stay together; None.
    size:   side of each on the ground, in the unit of x, or that along x and along y; 0 = points.
    shapes: (n,) shapely geometries, in the unit of x, between which distances are measured; None = squares of ``size``.
    what:   the word for them in messages.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    counts: np.ndarray | None = None
    values: np.ndarray | None = None
    group: np.ndarray | None = None
    size: float | tuple[float, float] = 0.0
    what: str = "samples"
    shapes: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """Where they lie (n, 2) float64."""
        return np.column_stack([self.x, self.y]).astype(np.float64)

    @property
    def placed(self) -> np.ndarray:
        """Whether each one's place is known (n,)."""
        return np.isfinite(self.points).all(axis=1)

    @property
    def side(self) -> float:
        """The longer side of each."""
        return float(np.max(self.size))

    def distances(self, rows: np.ndarray, others: np.ndarray, most: float) -> np.ndarray:
        """Distance (k,) of units ``rows`` (k,) to the nearest of ``others``, edge to edge, inf = beyond ``most``."""
        if self.shapes is not None:
            return between(self.shapes[rows], self.shapes[others], most)
        return distances(self.points[rows], self.points[others], most, self.size)


def grouped(units: Units, how: SplitSettings, column: Sequence[object] | None) -> Units:
    """Return units whose groups are also the values (n,) of ``how.column``; None = ``units.group`` has them."""
    if column is None or kind_of(units, how) != "column":
        return units
    own = np.unique(np.asarray(column, str), return_inverse=True)[1].ravel()
    return replace(units, group=own if units.group is None else _joined(own, units.group))


def kept_together(units: Units, how: SplitSettings, column: Sequence[object] | None = None) -> np.ndarray:
    """Number (n,) of what `design` does not divide that each unit is in: the same for every fold and seed."""
    return blocks_of(grouped(units, how, column), how, kind_of(units, how))


def kind_of(units: Units, how: SplitSettings) -> str:
    """What ``how.by`` means for these units. Raises ZooError where a place is needed and some have none."""
    if how.by in ("column", "samples") or (how.by == "auto" and how.column):
        return "samples" if how.by == "samples" else "column"
    placed = units.placed
    if how.by == "auto" and not placed.any():
        return "samples"
    if not placed.all():
        raise ZooError(
            f"data.split.by {how.by}: {(~placed).sum():,} of {len(placed):,} {units.what} have no place on the ground; "
            "leave them out, or set data.split.by to samples or column"
        )
    return "blocks" if how.by == "auto" else how.by


def blocks_of(units: Units, how: SplitSettings, by: str) -> np.ndarray:
    """Number (n,) of what is not divided that each unit is in, 0, 1, ...; not by the order in which units come."""
    n, group = len(units.weight), units.group
    if by == "column" and group is None:
        raise ZooError(f"data.split.column {how.column!r}: these {units.what} have no such column")
    if by in ("column", "samples") and group is not None:
        return np.unique(group, return_inverse=True)[1]
    if by == "samples":
        keys = [units.x, units.y, units.weight] + [k for k in (units.values,) if k is not None]
        keys += [] if units.counts is None else list(units.counts.T)
        rank = np.empty(n, np.int64)
        rank[np.lexsort(keys)] = np.arange(n)
        return rank
    if by == "distance":
        block = clusters(units.points, how.gap + np.asarray(units.size))
    else:
        block = np.unique(_cells(units.points, how.block or side_of(units)), return_inverse=True)[1]
    return block if group is None else _joined(block, group)


def _joined(block: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Number (n,) of what holds together where neither a block (n,) nor a group (n,) may be divided."""
    names, group = np.unique(group, return_inverse=True)
    blocks = int(block.max()) + 1
    return components(blocks + len(names), block, blocks + group)[block]


def side_of(units: Units) -> float:
    """Return the side of blocks at which about 100 of them hold labels; it stops shrinking at a unit's side."""
    points = units.points[units.weight > 0]
    side = float(np.ptp(points, axis=0).max()) or units.side or 1.0
    least = units.side or side / 2**16
    while side > least:
        if len(np.unique(_cells(points, side))) >= BLOCKS:
            break
        side /= 1.25
    return side


def _cells(points: np.ndarray, side: float) -> np.ndarray:
    """The square (n,) int64 that each point lies in; they begin at (0, 0) and rise by rows."""
    cells = np.floor(points / side).astype(np.int64)
    cells -= cells.min(axis=0)
    return cells[:, 1] * (cells[:, 0].max() + 1) + cells[:, 0]
