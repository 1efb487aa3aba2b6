"""Ridge regression on rows of features, its penalty chosen on places that it was not fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

PENALTIES = 10.0 ** np.arange(-6, 2)  # squared errors per row, of weights of standardised features
FOLDS = 5


@dataclass(frozen=True)
class LinearFit:
    """Weights (F, K) and intercept (K,) float64 of features as they are; ``mean`` (F,) stands for missing ones.

    penalty: the one chosen. residual: RMSE over the rows left out (and over K), which serves as standard deviation.
    ``ARRAYS``: types and axes.
    """

    ARRAYS: ClassVar = {
        "mean": ("float64", 1),
        "weights": ("float64", 2),
        "intercept": ("float64", 1),
        "penalty": ("float64", 0),
        "residual": ("float64", 0),
    }
    mean: np.ndarray
    weights: np.ndarray
    intercept: np.ndarray
    penalty: float
    residual: float

    @property
    def features(self) -> int:
        """How many features it takes."""
        return len(self.mean)

    def fault(self, outputs: int) -> str:
        """Say what keeps it from giving ``outputs`` numbers; "" = nothing."""
        if self.weights.shape != (self.features, outputs) or self.intercept.shape != (outputs,):
            return f"its weights are {self.weights.shape}, not {(self.features, outputs)}"
        finite = all(np.isfinite(a).all() for a in (self.mean, self.weights, self.intercept, self.residual))
        return "" if finite else "a weight is not finite"

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return (n, K) float64 for features (n, F); NaN counts as the training mean."""
        return np.where(np.isfinite(x), x, self.mean) @ self.weights + self.intercept


def fit_ridge(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> LinearFit:
    """Fit targets ``y`` (n, K) on features ``x`` (n, F), NaN = missing: it counts as the mean of the feature.

    Minimises the mean squared error plus ``penalty`` times the squared weights of standardised features; the intercept
    is free. The penalty is the one of `PENALTIES` with the smallest squared error where each ``fold`` (n,) is
    predicted by a fit on the others; with one fold the largest. A feature without spread gets the weight 0.
    """
    there = np.isfinite(x)
    mean = np.where(there, x, 0).sum(axis=0, dtype=np.float64) / np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, x - mean, 0)
    scale = np.sqrt((centred**2).mean(axis=0))
    scale = np.where(scale > 1e-7 * np.abs(mean), scale, np.inf)  # as far as float32 lets us see
    rows = np.concatenate([np.ones((len(x), 1)), centred / scale, y], axis=1)
    folds = np.unique(fold)
    parts = np.stack([rows[fold == f].T @ rows[fold == f] for f in folds])  # products of columns, by fold
    whole, size = parts.sum(axis=0), x.shape[1]
    squares = np.zeros(len(PENALTIES))
    for part in parts if len(folds) > 1 else ():
        squares += [_square(part, solved) for solved in _solve(whole - part, size, PENALTIES)]
    best = int(squares.argmin()) if len(folds) > 1 else len(PENALTIES) - 1
    (solved,) = _solve(whole, size, PENALTIES[best : best + 1])
    square = squares[best] if len(folds) > 1 else _square(whole, solved)
    weights = solved[1:] / scale[:, None]
    return LinearFit(
        mean=mean,
        weights=weights,
        intercept=solved[0] - mean @ weights,
        penalty=float(PENALTIES[best]),
        residual=float(np.sqrt(max(square / y.size, 1e-12))),
    )


def _solve(gram: np.ndarray, size: int, penalties: np.ndarray) -> list[np.ndarray]:
    """Coefficients (1 + F, K) for each penalty, from the products of the columns (1, F features, K targets)."""
    n, mean = gram[0, 0], gram[0, 1:] / gram[0, 0]
    spread = gram[1:, 1:] / n - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(spread[:size, :size])
    towards = vectors.T @ spread[:size, size:]
    found = []
    for penalty in penalties:
        weights = vectors @ (towards / (np.maximum(values, 0) + penalty)[:, None])
        found.append(np.vstack([mean[size:] - mean[:size] @ weights, weights]))
    return found


def _square(gram: np.ndarray, solved: np.ndarray) -> float:
    """Sum of squared errors of coefficients on the rows whose products are ``gram``."""
    both = np.vstack([solved, -np.eye(solved.shape[1])])
    return float(np.einsum("ik,ij,jk->", both, gram, both))
