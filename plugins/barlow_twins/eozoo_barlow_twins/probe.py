"""Classifiers on embeddings and on raw bands, scored on other places than they learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from eozoo_core.score.calibration import FEWEST_GROUPS
from eozoo_core.score.classes import class_scores
from eozoo_core.score.intervals import resampled_interval

RAW_STEP_DAYS = 30


@dataclass(frozen=True)
class Labelled:
    """Labelled pixels: features by kind ``(n, F)``, class numbers ``(n,)``, spatial unit of each ``(n,)``."""

    features: dict[str, np.ndarray]
    target: np.ndarray
    blocks: np.ndarray


@dataclass(frozen=True)
class Probe:
    """A classifier: which features it sees and what it is: "logistic", "knn" or "forest"."""

    features: str
    kind: str
    neighbours: int = 5
    trees: int = 100

    def predict(self, train: Labelled, rows: np.ndarray, test: Labelled, seed: int) -> np.ndarray:
        """Learn from ``rows`` of ``train``; return class numbers for all of ``test``.

        Features are standardised by the training rows for all but the forest, which does not need it. With a single
        class among the rows that class is the answer.
        """
        x, y = train.features[self.features][rows], train.target[rows]
        if len(np.unique(y)) == 1:
            return np.full(len(test.target), y[0])
        return self._estimator(len(y), seed).fit(x, y).predict(test.features[self.features])

    def _estimator(self, samples: int, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if self.kind == "forest":
            return RandomForestClassifier(self.trees, random_state=seed)
        if self.kind == "knn":
            return make_pipeline(StandardScaler(), KNeighborsClassifier(min(self.neighbours, samples)))
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def raw_features(bands: np.ndarray, clear: np.ndarray, days: np.ndarray, step: int = RAW_STEP_DAYS) -> np.ndarray:
    """Gap-filled series as features ``(n, steps * C)`` float32: linear interpolation of the clear dates.

    bands (n, T, C), clear (n, T), days (T,) ascending. The grid goes from the first to the last day every ``step``
    days; before the first and after the last clear date its value is held. NaN where nothing is clear.
    """
    grid = np.arange(days[0], days[-1] + 1, step)
    counts = clear.sum(axis=1)
    n, channels = len(bands), bands.shape[2]
    out = np.full((n, len(grid), channels), np.nan, np.float32)
    position = np.arange(len(days))
    # Nearest clear date at or before, and at or after, each date of the series.
    before = np.maximum.accumulate(np.where(clear, position, -1), axis=1)
    after = np.minimum.accumulate(np.where(clear, position, len(days))[:, ::-1], axis=1)[:, ::-1]
    for number, day in enumerate(grid):
        last = np.searchsorted(days, day, side="right") - 1
        low, high = before[:, last], after[:, last] if days[last] == day else _next(after, last)
        low_ok, high_ok = low >= 0, high < len(days)
        first, second = np.where(low_ok, low, high), np.where(high_ok, high, low)
        some = counts > 0
        a, b = first[some], second[some]
        span = (days[b] - days[a]).astype(np.float32)
        share = np.where(span > 0, (day - days[a]) / np.maximum(span, 1), 0)[:, None]
        values = bands[some]
        at = np.arange(len(values))
        out[some, number] = values[at, a] * (1 - share) + values[at, b] * share
    return out.reshape(n, -1)


def _next(after: np.ndarray, last: int) -> np.ndarray:
    """First clear date after position ``last``; the number of dates where there is none."""
    if last + 1 < after.shape[1]:
        return after[:, last + 1]
    return np.full(len(after), after.shape[1])


def block_intervals(
    target: np.ndarray, predicted: np.ndarray, blocks: np.ndarray, classes: int, resamples: int
) -> dict[str, list[float]]:
    """95 % intervals of the scores from resampling whole spatial blocks (pixels of a block err together).

    None below 6 blocks.
    """
    names, block = np.unique(blocks, return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return {}
    cells = block.ravel() * classes**2 + target * classes + predicted
    each = np.bincount(cells, minlength=len(names) * classes**2).reshape(len(names), classes, classes)
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    pooled = np.tensordot(draws, each, axes=1)
    pooled = pooled[pooled.sum((1, 2)) > 0]
    scores, whole = class_scores(pooled), class_scores(each.sum(axis=0))
    return {
        name: resampled_interval(values, whole[name], len(names), (-1 if name == "kappa" else 0, 1))
        for name, values in scores.items()
        if name in whole and np.isfinite(values).any()
    }


def draw_labels(target: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows of a random ``share`` of the labels, of each class at least one; sorted."""
    random = np.random.default_rng(seed)
    rows = []
    for k in np.unique(target):
        of_class = np.flatnonzero(target == k)
        count = max(1, round(share * len(of_class)))
        rows.append(random.choice(of_class, count, replace=False))
    return np.sort(np.concatenate(rows))
