"""How good predicted uncertainties are: numpy, float64, samples (n,) of one unit; error = prediction - target.

A predicted distribution is Gaussian, or Laplacian ("laplace") for a network trained with that likelihood; ``std`` is
its standard deviation, above 0. A mixture of members is judged as a Gaussian of the mixture's mean and variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from eozoo_core.score.intervals import resampled_interval

LEVELS = (0.5, 0.6827, 0.8, 0.9, 0.95)
FEWEST_GROUPS = 6  # no interval below: too few places to resample


def coverage(error: np.ndarray, std: np.ndarray, levels: Sequence[float] = LEVELS, kind: str = "gaussian") -> list:
    """Share of targets inside the central interval of each level, as a list of floats; calibrated = the levels."""
    z = np.abs(error) / std
    return [float((z <= half_width(level, kind)).mean()) for level in levels]


def half_width(level: float, kind: str = "gaussian") -> float:
    """Half the central interval that holds ``level`` of a distribution with standard deviation 1."""
    if kind == "laplace":
        return -math.log(1 - level) / math.sqrt(2)
    return NormalDist().inv_cdf(0.5 + level / 2)


def crps(error: np.ndarray, std: np.ndarray, kind: str = "gaussian") -> float:
    """Mean continuous ranked probability score, in the unit; 0 is perfect, the absolute error for a sure prediction.

    Gaussian: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = error / s (Gneiting & Raftery 2007, eq. 21).
    Laplace with b = s / sqrt(2): |error| + b exp(-|error| / b) - 3 b / 4 (Jordan, Kruger & Lerch 2019, table 3).
    """
    error, std = np.abs(np.asarray(error, np.float64)), np.asarray(std, np.float64)
    if kind == "laplace":
        b = std / math.sqrt(2)
        return float((error + b * np.exp(-error / b) - 0.75 * b).mean())
    z = error / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return float((std * (z * _erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))).mean())


def variance_scale(error: np.ndarray, std: np.ndarray) -> float:
    """The factor of all variances that makes the mean of (error / std)^2 one: the Gaussian's best single factor."""
    return float(np.mean((np.asarray(error, np.float64) / std) ** 2))


def std_bins(error: np.ndarray, std: np.ndarray, bins: int = 10, least: int = 20) -> list[dict[str, float]]:
    """RMSE beside the RMS of the predicted std in bins of equally many samples, at least ``least`` in each.

    Returns rising in std; at most ``bins``. A calibrated model has the two numbers alike in every bin.
    """
    order = np.argsort(std, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // least)))
    return [{"n": len(p), "std": _rms(std[p]), "rmse": _rms(error[p])} for p in parts if len(p)]


def certain_curve(error: np.ndarray, std: np.ndarray, points: int = 20) -> list[dict[str, float]]:
    """RMSE of the share of samples with the smallest std, for shares 1/points ... 1 (linear time after sorting)."""
    squares = np.cumsum(np.asarray(error, np.float64)[np.argsort(std, kind="stable")] ** 2)
    counts = np.unique(np.ceil(len(squares) * np.arange(1, points + 1) / points).astype(int))
    return [{"share": float(n / len(squares)), "rmse": math.sqrt(squares[n - 1] / n)} for n in counts if n]


def judge(error: np.ndarray, std: np.ndarray, kind: str = "gaussian") -> dict[str, Any]:
    """All of the above for one predictor, as plain JSON types."""
    observed = coverage(error, std, LEVELS, kind)
    return {
        "crps": crps(error, std, kind),
        "mean_std": float(np.mean(std)),
        "rms_std": _rms(std),
        "rmse": _rms(error),
        "mean_squared_z": variance_scale(error, std),
        "coverage": [{"expected": e, "observed": o} for e, o in zip(LEVELS, observed)],
        "std_bins": std_bins(error, std),
        "most_certain": certain_curve(error, std),
    }


def clustered_intervals(
    error: np.ndarray, std: np.ndarray | None, group: np.ndarray, kind: str = "gaussian", draws: int = 2000
) -> dict[str, list[float]] | None:
    """95 % intervals of rmse, mae, bias and (with std) coverage_90: groups (n,) are drawn with replacement, whole.

    Labels of one group (a patch) are alike, so that drawing single ones would promise too much. None below 6 groups.
    """
    names, inverse = np.unique(group, return_inverse=True)
    if len(names) < FEWEST_GROUPS:
        return None
    e = np.asarray(error, np.float64)
    columns = [np.ones_like(e), e**2, np.abs(e), e]
    if std is not None:
        columns.append((np.abs(e) / std <= half_width(0.9, kind)).astype(float))
    sums = np.stack([np.bincount(inverse, column) for column in columns], axis=1)
    chosen = np.random.default_rng(0).integers(0, len(names), (draws, len(names)))
    total = sums[chosen].sum(axis=1)
    total = np.concatenate([sums.sum(axis=0, keepdims=True), total])  # first the groups themselves
    count, squares, *means = total.T
    values = {"rmse": np.sqrt(squares / count)} | dict(zip(("mae", "bias", "coverage_90"), (m / count for m in means)))
    bounds = {"rmse": (0, np.inf), "mae": (0, np.inf), "bias": (-np.inf, np.inf), "coverage_90": (0, 1)}
    return {n: resampled_interval(every[1:], every[0], len(names), bounds[n]) for n, every in values.items()}


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(values, np.float64) ** 2)))


def _erf(values: np.ndarray) -> np.ndarray:
    import torch

    return torch.erf(torch.from_numpy(np.ascontiguousarray(values))).numpy()
