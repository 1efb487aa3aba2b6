"""The split designer: data that come as one piece are divided into train, val and test, by place where it is known.

Whole blocks, clusters or groups go to one split; see ``assign`` for how, ``settings.splits`` for what may be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eozoo_core.checking.assign import assign
from eozoo_core.checking.blocks import Units, blocks_of, grouped, kind_of
from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.settings.splits import SplitSettings

TRAIN, VAL, TEST, NEITHER = 0, 1, 2, 3
SPLITS = ("train", "val", "test")
_STRATA = 5  # classes of equal size that numbers are cut into
_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing"), TEST),
    **dict.fromkeys(("", "none", "nan", "neither"), NEITHER),
}


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
        units = grouped(units, how, column)
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
    names = _NAMES["column" if by == "samples" and units.group is not None else by]
    name = names if labelled != 1 else names[:-1]
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
