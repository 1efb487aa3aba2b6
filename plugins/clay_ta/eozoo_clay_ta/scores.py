"""Scores of temperatures: of z-scores while training, in kelvin beside references afterwards."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.task.loss import called_with

from eozoo_clay_ta.system import z_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from eozoo_core.task import Arrays

    from eozoo_clay_ta.sample_schema import Normalisation


class ZLoss:
    """A registered loss of "z" (B,) against "target" (B,), a sample being a map of one pixel, and its squared error."""

    def __init__(self, function: Callable, name: str, norm: Normalisation):
        self._called, self._norm = called_with(function, name, "mean", "target"), norm

    def __call__(self, raw: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, tuple]:
        """See `Contract.loss`."""
        return self.of(raw["z"], z_target(batch, self._norm.ta_mean, self._norm.ta_std))

    def of(self, z: torch.Tensor, y: torch.Tensor) -> dict[str, tuple]:
        """Return the same for z-scores ``z`` against labels ``y`` that are z-scores too."""
        found = self._called({"mean": z.reshape(-1, 1, 1, 1)}, {"target": y.reshape(-1, 1, 1, 1)})
        return found | {"mse": ((z.detach() - y).square().sum(), y.shape[0])}


class TaScores:
    """Loss and squared error of z-scores, pooled in float64; see `Metrics`."""

    def __init__(self, loss: ZLoss, norm: Normalisation):
        self._loss, self._norm, self._sums = loss, norm, np.zeros(5)

    def add(self, predicted: Arrays, batch: Arrays) -> None:
        """Take "z" and "target", each (B,); of a fitted baseline "ta", in the unit of the target, NaN = none."""
        scale = self._norm.ta_mean, self._norm.ta_std
        z = predicted["z"] if "z" in predicted else z_target({**batch, "target": predicted["ta"]}, *scale)
        z, y = (values.astype(np.float64) for values in (z, z_target(batch, *scale)))
        if "z" not in predicted:
            z, y = z[np.isfinite(z)], y[np.isfinite(z)]
        total, count = self._loss.of(torch.from_numpy(z), torch.from_numpy(y))["loss"]
        squares = ((z - y) ** 2).sum()
        self._sums += [float(total), int(count), squares, len(y), squares * self._norm.ta_std**2]

    def sums(self) -> np.ndarray:
        """See `Metrics.sums`."""
        return self._sums.copy()

    def compute(self, sums: np.ndarray) -> dict[str, float]:
        """Return the loss, rmse_norm, rmse_K, and mse. In K folds are pooled whose scaling differs."""
        total, count, squares, samples, kelvin = sums.tolist()
        mse = squares / samples
        return {"loss": total / count, "rmse_norm": math.sqrt(mse), "rmse_K": math.sqrt(kelvin / samples), "mse": mse}


def rmse(mse: float, ta_std: float) -> dict[str, float]:
    """Return rmse_norm, the root of a mean squared error of z-scores, and rmse_K."""
    return {"rmse_norm": math.sqrt(mse), "rmse_K": math.sqrt(mse) * ta_std}


def score(predicted: np.ndarray, truth: np.ndarray, ta_std: float) -> dict[str, float]:
    """Return rmse_K, mse, mae, bias (prediction - truth), all in K, r2, and rmse_norm = rmse_K / TA_std; over n."""
    metrics = RegressionMetrics()
    metrics.update(predicted, truth)
    found = metrics.compute()
    if not found["n"]:
        return {"n": 0.0}
    values = {"rmse_K": found["rmse"], "rmse_norm": found["rmse"] / ta_std, "mse_K2": found["rmse"] ** 2}
    values |= {"mae_K": found["mae"], "bias_K": found["bias"], "r2": found["r2"], "n": float(found["n"])}
    return {name: value for name, value in values.items() if value is not None}


def add_skill(scores: dict[str, dict[str, float]], predicted: dict[str, np.ndarray], truth: np.ndarray) -> None:
    """Add 1 - MSE / MSE of climatology and persistence to the model's scores, over the samples that both have."""
    for name in ("climatology", "persistence"):
        if name not in predicted:
            continue
        both = np.isfinite(predicted[name])
        of_reference = np.mean((predicted[name][both] - truth[both]) ** 2) if both.any() else 0.0
        if of_reference > 0:
            of_model = np.mean((predicted["model"][both] - truth[both]) ** 2)
            scores["model"][f"skill_{name}"] = float(1 - of_model / of_reference)
