"""The split designer: data that come as one piece are divided into train, val and test, by place where it is known.

Whole blocks, clusters or groups go to one split; see ``assign`` for how, ``settings.splits`` for what may be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eozoo_core.checking.assign import assign
from eozoo_core.checking.findings import listed
from eozoo_core.checking.near import between, clusters, components, distances
from eozoo_core.errors import ZooError
from eozoo_core.settings.splits import SplitSettings

TRAIN, VAL, TEST, NEITHER = 0, 1, 2, 3
SPLITS = ("train", "val", "test")
BLOCKS = 100  # squares with labels, about, where nobody says how large they are
_STRATA = 5  # classes of equal size that numbers are cut into
_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("", "none", "nan", "neither"), NEITHER),
}


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


def design(units: Units, how: SplitSettings, column: Sequence[object] | None = None) -> np.ndarray:
    """Return the split of each unit (n,) uint8: TRAIN, VAL, TEST, or NEITHER for what lies in a gap.

    column: the values (n,) of ``how.column``: groups, or the words train, val and test, which are taken as they are;
    None = ``units.group`` holds the groups.
    The same units, settings and seed give the same splits, in whatever order the units come. No block, cluster or group
    is divided; no split is empty; each is within one of them of its share of the labels where that can be.
    Raises ZooError in one line where that cannot be done.
    """
    by = kind_of(units, how)
    if by == "column" and column is not None:
        words = given_splits(column, how.column or "")
        if words is not None:
            if how.folds:
                raise ZooError(f"data.split.column {how.column!r} names the splits: there are no folds to make of it")
            return _checked(_few(_with_gap(words, units, how), units, how), units, how, by)
        own = np.unique(np.asarray(column, str), return_inverse=True)[1]
        units = replace(units, group=own if units.group is None else _joined(own, units.group))
    if not np.any(units.weight > 0):
        raise ZooError(
            f"data.split: none of {len(units.weight):,} {units.what} has a label; there is nothing to divide"
        )
    block = blocks_of(units, how, by)
    weight = np.bincount(block, units.weight)
    wanted = [s for s, share in enumerate(how.shares) if share > 0]
    least = how.folds + (how.val > 0) if how.folds else len(wanted)
    _require_blocks(int((weight > 0).sum()), least, units, how, by)
    classes = _classes(units, how, block)
    if how.folds:
        split = _in_folds(weight, classes, how)[block]
    else:
        owner = assign(weight, classes, np.array(how.shares)[wanted], how.seed)
        split = np.array(wanted, np.uint8)[owner][block]
    return _checked(_few(_with_gap(split, units, how), units, how), units, how, by)


def _in_folds(weight: np.ndarray, classes: np.ndarray, how: SplitSettings) -> np.ndarray:
    """Split (A,) uint8 of each block: one of the equal folds is the test, of the others ``how.val`` is validation.

    Which fold a block is in does not depend on ``how.fold``: each block is in the test once.
    """
    fold = assign(weight, classes, np.full(how.folds, 1 / how.folds), how.seed)
    split, rest = np.full(len(weight), TEST, np.uint8), np.flatnonzero(fold != how.fold)
    split[rest] = TRAIN
    if how.val:
        split[rest] = assign(weight[rest], classes[rest], np.array([1 - how.val, how.val]), how.seed)
    return split


def _few(split: np.ndarray, units: Units, how: SplitSettings) -> np.ndarray:
    """Keep ``how.labels`` of the labelled units of train and of validation, of each class at least one, at random."""
    if how.labels == 1:
        return split
    split, random = split.copy(), np.random.default_rng((how.seed, how.fold))
    kinds = np.zeros(len(split)) if units.counts is None else units.counts.argmax(axis=1)
    for s in (TRAIN, VAL):
        for kind in np.unique(kinds):
            rows = np.flatnonzero((split == s) & (units.weight > 0) & (kinds == kind))
            kept = max(1, round(how.labels * len(rows)))
            split[random.permutation(rows)[kept:]] = NEITHER
    return split


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


def given_splits(column: Sequence[object], name: str) -> np.ndarray | None:
    """Return splits (n,) uint8 of a column of the words train, val and test (empty = none of them), else None.

    Raises ZooError where there are other words beside them.
    """
    words = np.char.lower(np.char.strip(np.asarray(column, str)))
    known, inverse = np.unique(words, return_inverse=True)
    if not {"train", "training"} & set(known.tolist()):
        return None
    strange = [str(word) for word in known if word not in _WORDS]
    if strange:
        raise ZooError(f"data.split.column {name!r}: holds {listed(strange)} beside 'train'; write train, val or test")
    return np.array([_WORDS[word] for word in known.tolist()], np.uint8)[inverse]


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


def _classes(units: Units, how: SplitSettings, block: np.ndarray) -> np.ndarray:
    """Labels of each class in each block (A, K); of numbers, in five classes of equal size."""
    blocks = int(block.max()) + 1
    if not how.stratify or (units.counts is None and units.values is None):
        return np.zeros((blocks, 0))
    if units.counts is not None:
        return np.stack([np.bincount(block, column, blocks) for column in units.counts.T], axis=1)
    known = np.isfinite(units.values) & (units.weight > 0)
    edges = np.unique(np.quantile(units.values[known], np.arange(1, _STRATA) / _STRATA)) if known.any() else []
    stratum = np.where(known, np.searchsorted(edges, np.nan_to_num(units.values), side="right"), len(edges) + 1)
    return np.stack([np.bincount(block, units.weight * (stratum == k), blocks) for k in range(len(edges) + 1)], axis=1)


def _with_gap(split: np.ndarray, units: Units, how: SplitSettings) -> np.ndarray:
    """Take out what lies nearer than the gap to labels of another split: of train first, then of validation.

    Last what has no label itself: it takes no labels out.
    """
    placed, has = units.placed, units.weight > 0
    if not how.gap or not placed.any():
        return split
    split = split.copy()
    for mine, others, of_labels in (
        (VAL, (TEST,), True), (TRAIN, (VAL, TEST), True), (TEST, (TRAIN, VAL), False), (VAL, (TRAIN, TEST), False)
    ):  # fmt: skip
        rows = np.flatnonzero((split == mine) & placed & (of_labels | ~has))
        held = np.isin(split, others) & placed & (has | (not of_labels))
        near = units.distances(rows, held, how.gap) < how.gap * (1 - 1e-9)
        split[rows[near]] = NEITHER
    return split


_NAMES = {"blocks": "squares", "distance": "clusters", "column": "groups", "samples": "samples"}
_REMEDY = {
    "blocks": "set a smaller data.split.block",
    "distance": "set a smaller data.split.gap, or data.split.by: blocks",
    "column": "choose another data.split.column, or data.split.by: samples",
    "samples": "give more data",
}


def _require_blocks(labelled: int, wanted: int, units: Units, how: SplitSettings, by: str) -> None:
    if labelled >= wanted:
        return
    name = _NAMES[by] if labelled != 1 else _NAMES[by][:-1]
    raise ZooError(
        f"data.split: the labels of {len(units.weight):,} {units.what} lie in {labelled} {name}, and {wanted} splits "
        f"need one each; {_REMEDY[by]}, or set data.split.val or test to 0"
    )


def _checked(split: np.ndarray, units: Units, how: SplitSettings, by: str) -> np.ndarray:
    """Raise ZooError where a split that was asked for holds no label."""
    given = by == "column" and units.group is None
    for s, (name, share) in enumerate(zip(SPLITS, how.shares, strict=True)):
        wanted = name == "train" if given else share > 0
        if wanted and not (units.weight[split == s] > 0).any():
            lost = int(((split == NEITHER) & (units.weight > 0)).sum())
            cause = f"data.split.gap of {how.gap:g} leaves out {lost:,} {units.what}, and " if how.gap and lost else ""
            raise ZooError(f"data.split: {cause}{name} has no label; set a smaller gap, or other shares")
    return split
