"""Scores of several predictors that were pooled by cluster: means over draws, and paired differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eozoo_core.score.calibration import FEWEST_GROUPS
from eozoo_core.score.intervals import resampled_interval

RESAMPLES = 300
Compute = Callable[[np.ndarray], Mapping[str, Any]]  # sums (S,) of a metric -> metric -> value


@dataclass(frozen=True)
class Pooled:
    """One draw of folds: names of the clusters (n,), and of each predictor what its metrics summed in each, (n, S)."""

    clusters: tuple[str, ...]
    sums: Mapping[str, np.ndarray]


def pooled_scores(draws: Sequence[Pooled], compute: Compute) -> dict[str, dict[str, float]]:
    """Return predictor -> metric -> mean over the draws; in a draw all clusters are pooled."""
    every = [{name: compute(sums.sum(axis=0)) for name, sums in draw.sums.items()} for draw in draws]
    return {name: _mean([one[name] for one in every]) for name in every[0]}


def paired_difference(draws: Sequence[Pooled], a: str, b: str, metric: str, compute: Compute) -> dict[str, Any]:
    """Return ``metric`` of predictor ``a`` minus that of ``b``: mean over draws, "interval", clusters, draws "above" 0.

    The 95 % interval (`resampled_interval`) resamples whole clusters, the same in all draws, 300 times; None below 6
    clusters. It says how sure the difference is for places like these, not for others.
    """
    names = sorted({name for draw in draws for name in draw.clusters})
    where = [np.searchsorted(names, draw.clusters) for draw in draws]

    def gaps(weights: np.ndarray) -> list[float]:
        found = []
        for draw, at in zip(draws, where, strict=True):
            w = weights[at]
            if w.any():
                one, two = (compute(w @ draw.sums[name]).get(metric) for name in (a, b))
                found += [one - two] if one is not None and two is not None else []
        return found

    each = gaps(np.ones(len(names)))
    made = {"difference": float(np.mean(each)), "clusters": len(names), "interval": None}
    made |= {"draws": len(each), "above": int((np.array(each) > 0).sum())}
    if len(names) >= FEWEST_GROUPS:
        random = np.random.default_rng(0)
        weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
        means = [np.mean(found) for row in weights if (found := gaps(row.astype(float)))]
        made["interval"] = resampled_interval(np.array(means), made["difference"], len(names))
    return made


def _mean(values: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    numbers = {name for one in values for name, v in one.items() if isinstance(v, int | float)}
    return {
        name: float(np.mean([one[name] for one in values]))
        for name in values[0]
        if name in numbers and all(isinstance(one.get(name), int | float) for one in values)
    }
