"""Scores over labelled pixels: the same sums in validation, in evaluation, and over any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.task import Arrays

_KEPT = ("n", "rmse", "mae", "bias", "r2", "relative_rmse_percent", "gaussian_nll", "laplace_nll")


class LabelScores:
    """Metrics of "mean" and "std" against "target", in all and by stratum of the target; see `RegressionMetrics`."""

    def __init__(self, strata: Sequence[float] | None = None):
        self._strata, self._metrics = strata, RegressionMetrics(strata)

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """Take whole patches: mean, std (B, H, W), target (B, 1, H, W), NaN = no label."""
        target = batch["target"][:, 0]
        labelled = np.isfinite(target)
        std = predicted.get("std")
        self.update(predicted["mean"][labelled], target[labelled], None if std is None else std[labelled])

    def update(self, mean: np.ndarray, target: np.ndarray, std: np.ndarray | None) -> None:
        """Take labelled pixels (n,), in one unit."""
        self._metrics.update(mean, target, std=std)

    def sums(self) -> np.ndarray:
        """All sums as one flat float64 vector."""
        return self._metrics.sums()

    def compute(self, sums: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of all pixels; what is undefined (r2 of one label) is left out."""
        metrics = self._metrics if sums is None else RegressionMetrics.from_sums(sums, self._strata)
        values = metrics.compute()
        return {key: float(values[key]) for key in _KEPT if values.get(key) is not None}

    def strata(self) -> list[dict[str, Any]]:
        """Return the metrics per stratum, None where undefined."""
        return self._metrics.compute().get("strata", [])
