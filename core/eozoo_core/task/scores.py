"""Scores of outputs against "target", as `Metrics` of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.task.contract import Arrays


class RegressionScores:
    """RMSE, MAE, bias, R2 and n of output ``role`` against the target, both in one unit; see `RegressionMetrics`.

    ``std``: the output that is its standard deviation, where there is one; it adds the likelihoods. ``strata``: edges
    of strata of the target, see `strata`.
    """

    KEPT = ("rmse", "mae", "bias", "r2", "n", "gaussian_nll", "laplace_nll")

    def __init__(self, role: str, std: str = "", strata: Sequence[float] | None = None):
        self._role, self._std, self._strata = role, std, strata
        self._metrics = RegressionMetrics(strata)

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """See `Metrics.add`."""
        values, std = predicted[self._role], predicted.get(self._std)
        shape = values.shape
        if batch["target"].size != values.size:
            raise ZooError(f"output {self._role!r} is {shape}, the target {batch['target'].shape}: they must be alike")
        self._metrics.update(values, batch["target"].reshape(shape), std=None if std is None else std.reshape(shape))

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return self._metrics.sums()

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """See `Metrics.compute`."""
        values = RegressionMetrics.from_sums(sums, self._strata).compute()
        return {name: float(values[name]) for name in self.KEPT if values.get(name) is not None}

    def strata(self) -> list[dict[str, Any]]:
        """Return what was added so far per stratum: "from", "to" and all metrics, None where undefined."""
        return self._metrics.compute().get("strata", [])


class ClassScores:
    """Accuracy and mean intersection over union of output ``role``, class codes, against a target of codes.

    One confusion matrix, row = label, column = prediction. The mean is over the classes that occur in the labels.
    """

    def __init__(self, role: str, codes: Sequence[int]):
        self._role, self._codes = role, np.asarray(codes)
        self._confusion = np.zeros((len(codes), len(codes)))

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """See `Metrics.add`. Raises ZooError for a label that is none of the codes."""
        found, target = predicted[self._role].ravel(), batch["target"].ravel()
        there = np.isfinite(target) & np.isfinite(found)
        if not np.isin(target[there], self._codes).all():
            strange = target[there][~np.isin(target[there], self._codes)][0]
            raise ZooError(f"a label holds {strange:g}; the classes are {', '.join(map(str, self._codes))}")
        order = np.argsort(self._codes)
        row, column = (order[np.searchsorted(self._codes[order], values[there])] for values in (target, found))
        np.add.at(self._confusion, (row, column), 1)

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return self._confusion.ravel().copy()

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """See `Metrics.compute`."""
        confusion = sums.reshape(self._confusion.shape)
        right, labels, found = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
        there = labels > 0
        if not there.any():
            return {"n": 0.0}
        iou = right[there] / (labels + found - right)[there]
        values = {"accuracy": right.sum() / confusion.sum(), "mean_iou": iou.mean(), "n": confusion.sum()}
        return {name: float(value) for name, value in values.items()}
