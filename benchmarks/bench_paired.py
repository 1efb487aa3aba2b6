"""How often a 95 % interval of `paired_difference` leaves out zero where both predictors are equally good.

``python -m benchmarks.bench_paired [SIMULATIONS]``: predictors whose errors have one distribution, with a part that the
samples of a cluster share, are compared in RMSE by the very function of ``--cv``; 5 % would be right.
"""

from __future__ import annotations

import sys

import numpy as np
from eozoo_core.score.paired import Pooled, paired_difference

SAMPLES = 20  # of a cluster


def rmse(sums: np.ndarray) -> dict[str, float]:
    """Root of the mean of sums (count, squares)."""
    return {"rmse": float(np.sqrt(sums[1] / sums[0]))}


def simulated(clusters: int, draws: int, random: np.random.Generator) -> list[Pooled]:
    """Draws of the same clusters: errors of two predictors with a shared part, an own one, and noise of each draw."""
    shared = random.normal(size=(clusters, 1))
    own = random.normal(size=(2, clusters, 1))
    found = []
    for _ in range(draws):
        noise = random.normal(size=(2, clusters, SAMPLES))
        squares = ((shared + own + noise) ** 2).sum(axis=2)
        sums = {name: np.column_stack([np.full(clusters, SAMPLES), one]) for name, one in zip("ab", squares)}
        found.append(Pooled(tuple(f"{n:03}" for n in range(clusters)), sums))
    return found


def main() -> None:
    """Print the share of intervals without zero, for numbers of clusters and draws."""
    simulations = int(sys.argv[-1]) if sys.argv[-1].isdigit() else 200
    for draws in (1, 5):
        for clusters in (6, 10, 30):
            random, left_out = np.random.default_rng(clusters), 0
            for _ in range(simulations):
                made = paired_difference(simulated(clusters, draws, random), "a", "b", "rmse", rmse)
                low, high = made["interval"]
                left_out += low > 0 or high < 0
            print(f"{draws} draws, {clusters:2} clusters: {left_out / simulations:.1%} of {simulations} without zero")


if __name__ == "__main__":
    main()
