"""Regression metrics from pooled sums: the same over any batching and any number of processes.

Everything is a sum or a count over samples, kept in float64 on the CPU, so that batches, files and processes add up by
plain addition (of `RegressionMetrics.sums`) and nothing is ever an average of averages.

R2 needs the spread of the targets, and the textbook difference of sums loses it where the mean is large beside it. Each
target t is therefore split into its nearest integer h and the remainder l (at most one half), and the parts of the
spread are summed apart: sums of h and h*h are exact while n t^2 < 2**53 (a billion samples of 3,000), sums of l are
small. Beyond that the mean square of the targets is off by about 1e-16 t^2, less than one step of float32 squared.
Unlike a shift by a running mean this needs no agreement between processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from eozoo_core.errors import ZooError

COLUMNS = (
    "n", "unpredicted", "missing", "abs", "error", "square", "high", "low", "high_high", "high_low", "low_low",
    "n_std", "gaussian", "laplace",
)  # fmt: skip
_CHUNK = 2**18  # samples worked on at once, to bound memory


class RegressionMetrics:
    """Streaming RMSE, MAE, bias, R2 and likelihoods of predictions against targets in the same unit; NaN = missing.

    ``strata``: rising edges, for example ``[0, 5, 10, 20, 30, inf]``; stratum i holds the samples whose target lies in
    ``[edge i, edge i+1)``: the lower edge belongs to it, the upper to the next one. Targets below the first edge or
    from the last on are in no stratum, and all samples are in the total.
    """

    def __init__(self, strata: Sequence[float] | None = None):
        self.strata = tuple(float(edge) for edge in strata or ())
        if self.strata and (len(self.strata) < 2 or not all(a < b for a, b in zip(self.strata, self.strata[1:]))):
            raise ZooError(f"strata {list(self.strata)}: give at least two edges, each above the one before")
        self._sums = np.zeros((max(len(self.strata), 1), len(COLUMNS)))  # the total, then one row a stratum

    def update(self, pred: np.ndarray, target: np.ndarray, std: np.ndarray | None = None) -> None:
        """Add samples: arrays of one shape in the metrics' unit.

        ``std``, the predicted standard deviation, adds the likelihoods; it must be above 0 wherever prediction and
        target exist (ZooError), and NaN in it leaves that sample out of the likelihoods only. A sample whose target or
        prediction is NaN enters no metric.
        """
        given = {"prediction": pred, "target": target, "std": std}
        shapes = {name: values.shape for name, values in given.items() if values is not None}
        if len(set(shapes.values())) > 1:
            raise ZooError(f"metrics need arrays of one shape, found {shapes}")
        there = ~np.isnan(target)
        t, p, d = (None if v is None else v[there].astype(np.float64) for v in (target, pred, std))
        self._sums[0, COLUMNS.index("missing")] += target.size - len(t)
        for start in range(0, len(t), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(p[part], t[part], None if d is None else d[part])

    def compute(self) -> dict[str, Any]:
        """Return the metrics of the total, and under "strata" (where asked for) a list of the same per stratum.

        ``n`` samples compared; ``n_missing`` without target or prediction, ``n_unpredicted`` of these with a target
        (strata know only the latter). ``rmse``, ``mae``, ``bias`` = mean(prediction - target), ``target_mean`` in the
        data's unit; ``relative_rmse_percent`` = 100 rmse / target mean; ``r2`` = 1 - sum of squared errors / sum of
        squares about the mean of these targets. With std: ``gaussian_nll`` = mean of log(2 pi s^2)/2 + e^2/(2 s^2) and
        ``laplace_nll`` = mean of log(2b) + |e|/b with b = s/sqrt(2), both in nats, over the ``n_std`` samples with one.
        What is undefined is None, never NaN: everything where n is 0, r2 where the targets do not vary, the relative
        RMSE where their mean is 0, anything infinite.
        """
        result = _summary(self._sums[0])
        result["n_missing"] = result["n_unpredicted"] + round(self._sums[0, COLUMNS.index("missing")])
        if self.strata:
            edges = zip(self.strata, self.strata[1:])
            rows = [{"from": low, "to": high if math.isfinite(high) else None} for low, high in edges]
            result["strata"] = [edge | _summary(sums) for edge, sums in zip(rows, self._sums[1:])]
        return result

    def sums(self) -> np.ndarray:
        """All sums as one flat float64 vector (a copy): add those of several processes and give them to `from_sums`."""
        return self._sums.ravel().copy()

    @classmethod
    def from_sums(cls, sums: np.ndarray, strata: Sequence[float] | None = None) -> RegressionMetrics:
        """Metrics with the given `sums`; ``strata`` must be those of the metrics that they come from."""
        metrics = cls(strata)
        values = np.asarray(sums, np.float64)
        if values.shape != (metrics._sums.size,):
            raise ZooError(f"sums of shape {values.shape} are not those of metrics with strata {list(metrics.strata)}")
        metrics._sums = values.reshape(metrics._sums.shape).copy()
        return metrics

    def _add(self, p: np.ndarray, t: np.ndarray, std: np.ndarray | None) -> None:
        """Add samples that have a target; ``p`` may be NaN."""
        missing = np.isnan(p)
        with np.errstate(invalid="ignore", over="ignore"):  # infinities give None in the end
            error = np.where(missing, 0, p - t)
            high = np.where(missing, 0, np.rint(t))
            low = np.where(missing, 0, t - high)
            columns = [~missing, missing, np.zeros_like(t), abs(error), error, error**2]
            columns += [high, low, high**2, high * low, low**2, *_likelihoods(error, missing, std)]
            table = np.stack([np.asarray(column, np.float64) for column in columns])
            self._sums[0] += table.sum(axis=1)
            if self.strata:
                stratum = np.searchsorted(self.strata, t, side="right")
                for i in range(1, len(self.strata)):
                    self._sums[i] += table[:, stratum == i].sum(axis=1)


def _likelihoods(error: np.ndarray, missing: np.ndarray, std: np.ndarray | None) -> list[np.ndarray]:
    """Columns n_std, gaussian and laplace; zeros where there is no standard deviation."""
    if std is None:
        return [np.zeros_like(error)] * 3
    known = ~(missing | np.isnan(std))
    if (std[known] <= 0).any():
        raise ZooError(f"a predicted standard deviation is {std[known].min():g}; it must be above 0 for a likelihood")
    s = np.where(known, std, 1)
    scale = s / math.sqrt(2)
    gaussian = 0.5 * math.log(2 * math.pi) + np.log(s) + 0.5 * (error / s) ** 2
    laplace = np.log(2 * scale) + abs(error) / scale
    return [known, np.where(known, gaussian, 0), np.where(known, laplace, 0)]


def _summary(row: np.ndarray) -> dict[str, Any]:
    sums = dict(zip(COLUMNS, row.tolist()))
    n, n_std = round(sums["n"]), round(sums["n_std"])
    result: dict[str, Any] = {"n": n, "n_unpredicted": round(sums["unpredicted"])}
    mean = _ratio(sums["high"] + sums["low"], n)
    rmse = None if n == 0 else math.sqrt(sums["square"] / n)
    result |= {"rmse": _finite(rmse), "mae": _ratio(sums["abs"], n), "bias": _ratio(sums["error"], n)}
    spread = _spread(sums, n)
    result["r2"] = _finite(1 - sums["square"] / spread) if spread else None
    result["relative_rmse_percent"] = _finite(100 * rmse / mean) if mean else None
    result["target_mean"] = mean
    if n_std:
        result["n_std"] = n_std
        result |= {"gaussian_nll": _ratio(sums["gaussian"], n_std), "laplace_nll": _ratio(sums["laplace"], n_std)}
    return result


def _spread(sums: dict[str, float], n: int) -> float:
    """Sum of squares of the targets about their mean, in exact arithmetic on the sums; 0 where undefined."""
    parts = [sums[key] for key in ("high", "low", "high_high", "high_low", "low_low")]
    if n == 0 or not np.isfinite(parts).all():
        return 0.0
    high, low, high_high, high_low, low_low = map(Fraction, parts)
    return float(max(high_high + 2 * high_low + low_low - (high + low) ** 2 / n, Fraction(0)))


def _ratio(total: float, n: int) -> float | None:
    return _finite(total / n) if n else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
