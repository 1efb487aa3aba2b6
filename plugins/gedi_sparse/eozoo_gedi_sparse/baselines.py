"""Two simple predictors that stand beside every score: the training mean, and ridge regression on the pixel's bands.

Both are fitted in the pass over the training data that gathers the statistics, and kept in the run: scoring needs no
training data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Baselines:
    """What training knows without a network, in the bands' and the target's units.

    weights (C,), intercept: ridge regression; mean, std: of the labels; residual: the ridge's RMSE on the training
    labels, which serves as its constant standard deviation.
    """

    weights: tuple[float, ...]
    intercept: float
    residual: float
    mean: float
    std: float

    def ridge(self, image: np.ndarray) -> np.ndarray:
        """Predict (H, W) from bands (C, H, W), target's unit; NaN where a band is missing."""
        return np.tensordot(np.asarray(self.weights), image.astype(np.float64), axes=1) + self.intercept


class BaselineFit:
    """Normal equations of ridge regression, gathered patch by patch in float64 over labelled pixels."""

    def __init__(self, bands: int):
        self._gram = np.zeros((bands + 2, bands + 2))  # of rows (1, bands, target)

    def update(self, image: np.ndarray, target: np.ndarray) -> None:
        """Add a patch: bands (C, H, W) and target (1, H, W), NaN = no label; a label implies all bands."""
        labelled = np.isfinite(target[0])
        rows = np.vstack([np.ones(labelled.sum()), image[:, labelled], target[:, labelled]]).astype(np.float64)
        self._gram += rows @ rows.T

    @property
    def labels(self) -> int:
        """Labelled pixels seen."""
        return int(self._gram[0, 0])

    def solve(self, penalty: float = 1.0) -> Baselines:
        """Fit. ``penalty``: the ridge's weight, in label counts, on standardised bands."""
        n = self._gram[0, 0]
        mean = self._gram[0, 1:] / n
        spread = self._gram[1:, 1:] / n - np.outer(mean, mean)
        scale = np.sqrt(np.clip(np.diag(spread), 0, None))
        safe = np.where(scale > 1e-12 * np.maximum(1, np.abs(mean)), scale, np.inf)[:-1]  # a constant band gets 0
        covariance = spread[:-1, :-1] / np.outer(safe, safe)
        weights = np.linalg.solve(covariance + penalty / n * np.eye(len(safe)), spread[:-1, -1] / safe) / safe
        error = spread[-1, -1] - 2 * weights @ spread[:-1, -1] + weights @ spread[:-1, :-1] @ weights
        return Baselines(
            weights=tuple(weights.tolist()),
            intercept=float(mean[-1] - weights @ mean[:-1]),
            residual=float(np.sqrt(max(error, 1e-12))),
            mean=float(mean[-1]),
            std=float(max(scale[-1], 1e-6)),
        )
