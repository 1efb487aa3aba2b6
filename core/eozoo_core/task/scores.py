"""Scores of outputs against "target", as `Metrics` of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.score.classes import class_scores, confusion_of
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
    """Scores of output ``role``, class codes, against a target of codes: those of `score.classes.class_scores`, and n.

    confusion: counts (K, K) of what was added, row = label, column = prediction, in the order of ``codes``.
    """

    def __init__(self, role: str, codes: Sequence[int]):
        self.role, self._codes = role, np.asarray(codes)
        self.confusion = np.zeros((len(codes), len(codes)))

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """See `Metrics.add`. Raises ZooError for a label that is none of the codes."""
        found, target = predicted[self.role].ravel(), batch["target"].ravel()
        there = np.isfinite(target) & np.isfinite(found)
        found, target = found[there], target[there]
        if not (known := np.isin(target, self._codes)).all():
            classes = ", ".join(map(str, self._codes))
            raise ZooError(f"a label holds {target[~known][0]:g}; the classes of training are {classes}")
        order = np.argsort(self._codes)
        row, column = (order[np.searchsorted(self._codes[order], values)] for values in (target, found))
        self.confusion += confusion_of(row, column, len(self._codes))

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return self.confusion.ravel().copy()

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """See `Metrics.compute`."""
        return class_scores(sums.reshape(self.confusion.shape)) | {"n": float(sums.sum())}
