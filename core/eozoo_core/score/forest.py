"""Extremely randomised trees (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1): grown with scikit-learn, applied
with numpy. A forest is a few arrays, kept without pickles and checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

import numpy as np

from eozoo_core.errors import ZooError

TREES, SMALLEST_LEAF = 100, 5  # 50 trees are 3 % worse; leaves of 1 row are 2 % worse, and five times as many nodes
_NEEDED = (1, 6)  # scikit-learn: extremely randomised trees with missing values
_BLOCK = 16_384  # rows that go down at once
_LEAF = -1


@dataclass(frozen=True)
class Forest:
    """All trees, one after the other, each from its root: the left child of a node is the next node.

    roots (T,) int64; feature (N,) int16, -1 = leaf; threshold (N,) float32: values up to it go left; right (N,) int32
    the right child; missing_left (N,) bool: NaN goes left; values (leaves, K) float32 in the order of the leaves.
    residual: RMSE on rows that the trees did not see, which serves as standard deviation. ``ARRAYS``: types and axes.
    """

    ARRAYS: ClassVar = {
        "roots": ("int64", 1),
        "feature": ("int16", 1),
        "threshold": ("float32", 1),
        "right": ("int32", 1),
        "missing_left": ("bool", 1),
        "values": ("float32", 2),
        "features": ("int64", 0),
        "residual": ("float64", 0),
    }
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    values: np.ndarray
    features: int
    residual: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return (n, K) float64, the mean over the trees, for features (n, F), NaN = missing.

        A missing value goes where the tree learned to send it, or with most of its training rows where none missed it.
        """
        found = np.zeros((len(x), self.values.shape[1]))
        for start in range(0, len(x), _BLOCK):
            part, total = x[start : start + _BLOCK], found[start : start + _BLOCK]
            for ends in self.leaves(part):
                total += self.values[ends]
        return found / len(self.roots)

    def leaves(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Yield for every tree the number (n,) of the leaf, a row of ``values``, in which each row (n, F) ends."""
        x = np.ascontiguousarray(x, np.float32)
        leaf = np.cumsum(self.feature == _LEAF) - 1
        for root in self.roots:
            yield leaf[self._descend(x, root)]

    def _descend(self, x: np.ndarray, root: int) -> np.ndarray:
        """The leaf (n,) of every row in one tree, a level at a time for all rows that are not there yet."""
        flat, width = x.ravel(), x.shape[1]
        gaps = bool(np.isnan(flat).any())
        ends, place = np.empty(len(x), np.int64), np.arange(len(x))
        node, first = np.full(len(x), root, np.int64), place * width
        while len(node):
            feature = self.feature[node]
            inner = feature != _LEAF
            if not inner.all():
                ends[place[~inner]] = node[~inner]
                node, place, first, feature = node[inner], place[inner], first[inner], feature[inner]
            value = flat[first + feature]
            left = value <= self.threshold[node]
            if gaps:
                left |= np.isnan(value) & self.missing_left[node]
            node = np.where(left, node + 1, self.right[node])
        return ends

    def fault(self, outputs: int) -> str:
        """Say what keeps the arrays from being trees that give ``outputs`` numbers; "" = nothing.

        Every child comes after its parent and lies within its tree: no descent is endless.
        """
        n, inner = len(self.feature), self.feature != _LEAF
        if not n or not len(self.roots) or {len(self.threshold), len(self.right), len(self.missing_left)} != {n}:
            return "its arrays are empty or of different lengths"
        if self.values.shape != (n - inner.sum(), outputs):
            return f"its leaves hold {self.values.shape}, not {(n - int(inner.sum()), outputs)}"
        if self.roots[0] != 0 or (np.diff(self.roots) <= 0).any() or self.roots[-1] >= n or inner[-1]:
            return "its trees have no beginning or no end"
        if (self.feature < _LEAF).any() or (self.feature >= self.features).any():
            return f"a node asks for a feature that is none of {self.features}"
        number, own = np.arange(n), np.searchsorted(self.roots, np.arange(n), side="right")
        end = np.append(self.roots, n)[own]
        if (inner & ((self.right <= number + 1) | (self.right >= end) | (number + 1 >= end))).any():
            return "a child of a node lies outside its tree"
        if not np.isfinite(self.values).all() or not np.isfinite(self.threshold).all():
            return "a threshold or a leaf is not finite"
        return ""


def absent() -> str:
    """Say why no forest can be grown here, "" where it can."""
    try:
        found = version("scikit-learn")
    except PackageNotFoundError:
        return "scikit-learn is not installed; pip install 'eozoo[forest]'"
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < _NEEDED:
        return f"scikit-learn {found} is too old; pip install 'eozoo[forest]'"
    return ""


def grow_forest(
    x: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    classes: bool,
    threads: int = 1,
    size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Forest:
    """Grow trees on features (n, F), NaN = missing, and targets (n, K); ``classes``: K are indicators of classes.

    Of numbers every split looks at a third of the features, at ten if there are, of classes at the root of their
    number. ``size``: how many trees, and the fewest rows of a leaf; None = `TREES` and `SMALLEST_LEAF`.
    The residual is that of a quarter of the trees, grown without the first ``fold`` (n,) and asked for it. The same
    rows give the same trees. Raises ZooError where scikit-learn is absent.
    """
    if why := absent():
        raise ZooError(f"no forest: {why}")
    x = x.astype(np.float32)
    left_out = fold == fold.min()
    if left_out.all():
        left_out = np.arange(len(x)) % 5 == 0
    (trees, leaf), shape = size or (TREES, SMALLEST_LEAF), (x.shape[1], y.shape[1])
    how = {"min_samples_leaf": leaf, "random_state": seed, "n_jobs": threads}
    tried = _packed(_grown(x[~left_out], y[~left_out], classes, -(-trees // 4), how), *shape)
    error = tried.predict(x[left_out]) - y[left_out]
    forest = _packed(_grown(x, y, classes, trees, how), *shape)
    return replace(forest, residual=float(np.sqrt(max((error**2).mean(), 1e-12))))


def _grown(x: np.ndarray, y: np.ndarray, classes: bool, trees: int, how: dict[str, int]) -> list:
    """Return scikit-learn's trees and, of classes, which of them they know."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    if not classes:
        some = min(x.shape[1], max(10, x.shape[1] // 3))
        model = ExtraTreesRegressor(trees, max_features=some, **how).fit(x, y[:, 0])
        return [(tree.tree_, np.array([0])) for tree in model.estimators_]
    model = ExtraTreesClassifier(trees, max_features="sqrt", **how).fit(x, y.argmax(axis=1))
    return [(tree.tree_, model.classes_) for tree in model.estimators_]


def _packed(trees: list, features: int, outputs: int) -> Forest:
    roots = np.cumsum([0] + [tree.node_count for tree, _ in trees])
    leaves = []
    for tree, known in trees:
        own = tree.value[tree.children_left < 0, 0]
        leaf = np.zeros((len(own), outputs), np.float32)
        leaf[:, known] = own / own.sum(axis=1, keepdims=True) if outputs > 1 else own
        leaves.append(leaf)

    def joined(name: str, dtype: type) -> np.ndarray:
        return np.concatenate([getattr(tree, name) for tree, _ in trees]).astype(dtype)

    inner = joined("children_left", np.int64) >= 0
    below = np.repeat(roots[:-1], np.diff(roots))
    return Forest(
        roots=roots[:-1],
        feature=np.where(inner, joined("feature", np.int16), np.int16(_LEAF)),
        threshold=np.where(inner, _rounded_down(joined("threshold", np.float64)), np.float32(0)),
        right=np.where(inner, joined("children_right", np.int64) + below, 0).astype(np.int32),
        missing_left=inner & joined("missing_go_to_left", bool),
        values=np.concatenate(leaves),
        features=features,
        residual=0.0,
    )


def _rounded_down(values: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above: float32 features fall on the same side as of the float64 threshold."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
