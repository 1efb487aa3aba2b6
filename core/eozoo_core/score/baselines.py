"""Simple predictors that stand beside every score: the training mean, and ridge regression on a sample's features.

Both come from the same sums, gathered in one pass over the training data, and are small enough to keep in the run:
scoring needs no training data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ridge:
    """What training knows without a network, in the features' and the target's units.

    weights (C,), intercept: ridge regression; mean, std: of the targets, the simplest prediction; residual: the ridge's
    RMSE on the training data, which serves as its constant standard deviation. Plain numbers: ``dataclasses.asdict``
    goes into run.json, and ``Ridge(**record)`` restores it.
    """

    weights: tuple[float, ...]
    intercept: float
    residual: float
    mean: float
    std: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predict float64 ``(...)`` from features ``(C, ...)``, target's unit; NaN where a feature is missing."""
        return np.tensordot(np.asarray(self.weights), features.astype(np.float64), axes=1) + self.intercept


class RidgeFit:
    """Sums for the mean of a target and ridge regression on ``features`` of them, in float64; NaN is missing.

    However the data are cut, the fit is that of all.
    """

    def __init__(self, features: int):
        self._gram = np.zeros((features + 2, features + 2))  # of rows (1, features, target)

    def update(self, features: np.ndarray, target: np.ndarray) -> None:
        """Add samples: features ``(C, n)`` and target ``(n,)``; one that misses any of these is left out."""
        rows = np.vstack([np.ones(target.shape), features, target]).astype(np.float64)
        complete = np.isfinite(rows).all(axis=0)
        rows = rows if complete.all() else rows[:, complete]
        self._gram += rows @ rows.T

    @property
    def count(self) -> int:
        """Samples seen that miss nothing."""
        return int(self._gram[0, 0])

    def solve(self, penalty: float = 1.0, per_sample: bool = False) -> Ridge:
        """Minimise the squared errors plus ``penalty`` times the squared weights; the intercept is free.

        The weights are those of standardised features, and ``penalty`` counts as so many samples. ``per_sample``: the
        weights are those of the features as they are (standardised already), and ``penalty`` grows with the samples.
        A feature without spread gets the weight 0. At least one sample (``count``) must have been seen.
        """
        n = self._gram[0, 0]
        mean = self._gram[0, 1:] / n
        spread = self._gram[1:, 1:] / n - np.outer(mean, mean)
        scale = np.sqrt(np.clip(np.diag(spread), 0, None))
        constant = ~(scale > 1e-7 * np.abs(mean))[:-1]  # as far as the rounding of squares lets us see
        unit = np.where(constant, np.inf, 1.0 if per_sample else scale[:-1])
        covariance = spread[:-1, :-1] / np.outer(unit, unit)
        weight = penalty if per_sample else penalty / n
        ridge = covariance + np.diag(weight + constant)  # 1 more where nothing but the penalty would stand
        weights = np.linalg.solve(ridge, spread[:-1, -1] / unit) / unit
        error = spread[-1, -1] - 2 * weights @ spread[:-1, -1] + weights @ spread[:-1, :-1] @ weights
        return Ridge(
            weights=tuple(weights.tolist()),
            intercept=float(mean[-1] - weights @ mean[:-1]),
            residual=float(np.sqrt(max(error, 1e-12))),
            mean=float(mean[-1]),
            std=float(max(scale[-1], 1e-6)),
        )
