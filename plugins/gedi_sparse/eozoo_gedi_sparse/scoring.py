"""Scores of one patch, and their sums: the same numbers however patches are shared out among processes.

Patches are scored one by one, so that no score depends on what else was in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from eozoo_core.score.metrics import RegressionMetrics

from eozoo_gedi_sparse.losses import SparseLoss

_KEPT = ("n", "rmse", "mae", "bias", "r2", "relative_rmse_percent", "gaussian_nll", "laplace_nll")


def score_tile(
    model: Any, loss: SparseLoss, image: np.ndarray, target: np.ndarray, device: torch.device
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray | None]:
    """Predict one patch: image (C, H, W), target (1, H, W), NaN = missing.

    Returns the sum of the loss over its labels, and mean (n,), target (n,) and std (n,) of the labelled pixels in
    row-major order, target's unit; std is None where the loss trains none.
    """
    with torch.no_grad():
        labels = torch.from_numpy(target)[None].to(device)
        mean, log_scale = model(torch.from_numpy(image)[None].to(device))
        total, _ = loss(mean, log_scale, labels)
        std = loss.std(log_scale) if loss.trains_variance else None
    labelled = np.isfinite(target[0])
    at_labels = [None if a is None else a[0, 0].float().cpu().numpy()[labelled] for a in (mean, std)]
    return float(total), at_labels[0], target[0][labelled], at_labels[1]


class TileScores:
    """Pooled metrics plus the training loss, as float64 sums that add up over processes."""

    def __init__(self, strata: Sequence[float] | None):
        self._metrics, self._loss, self.count = RegressionMetrics(strata), 0.0, 0

    def add(self, loss: float, mean: np.ndarray, target: np.ndarray, std: np.ndarray | None) -> None:
        """Add what ``score_tile`` returned."""
        self._metrics.update(mean, target, std=std)
        self._loss, self.count = self._loss + loss, self.count + target.size

    def sums(self) -> np.ndarray:
        """All sums as one flat float64 vector."""
        return np.concatenate([[self._loss, self.count], self._metrics.sums()])

    @classmethod
    def from_sums(cls, sums: np.ndarray, strata: Sequence[float] | None) -> TileScores:
        """Scores with the given sums."""
        scores = cls(strata)
        scores._metrics = RegressionMetrics.from_sums(sums[2:], strata)
        scores._loss, scores.count = float(sums[0]), int(sums[1])
        return scores

    def compute(self) -> dict[str, float]:
        """Return loss and metrics of all pixels; what is undefined (r2 of one label) is left out."""
        values = self._metrics.compute()
        loss = {"loss": self._loss / self.count} if self.count else {}
        return loss | {key: float(values[key]) for key in _KEPT if values.get(key) is not None}

    def strata(self) -> list[dict[str, Any]]:
        """Return the metrics per stratum, None where undefined."""
        return self._metrics.compute().get("strata", [])
