"""The Nicaragua protocol once more, for the ensemble: does it beat its members, and is it calibrated?

    python -m benchmarks.real_gedi_ensemble      (after 'make real', whose trained networks it reads)

Members are the five seeds of the network for few shots with one tile held out (each with another validation
tile). Writes benchmarks/results/real_gedi_ensemble.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.score.calibration import FEWEST_GROUPS, judge
from eozoo_core.task.labels import Labels, collect
from eozoo_core.task.spread import moments
from eozoo_gedi_sparse.settings import GediSettings
from eozoo_gedi_sparse.task import GediSparse

ROOT = Path(__file__).resolve().parent.parent
RUNS, RESULT = ROOT / "real" / "few_shots", ROOT / "benchmarks" / "results" / "real_gedi_ensemble.json"


def collect_run(path: Path, registry: Registry) -> Labels:
    """Predictions of one network at the labels of its test tile, float64."""
    run = Run.open(path, GediSettings, "gedi_sparse")
    one = run.settings.train.model_copy(update={"members": 1})
    settings = run.settings.model_copy(update={"train": one})
    task = GediSparse(settings, registry)
    return collect(task, run, task.data("test"))[1]


def measure(runs: Path) -> dict:
    """Scores per tile of members and ensemble, paired differences over tiles, and the uncertainty of all shots."""
    registry, tiles = Registry.discover(), {}
    for folder in sorted(runs.glob("tile_*")):
        seeds = [collect_run(path, registry) for path in sorted(folder.glob("seed_*"))]
        mean, aleatoric, epistemic = moments((s.means[0].astype(float), s.variances[0]) for s in seeds)
        target = seeds[0].targets.astype(float)
        tiles[folder.name] = {
            "ensemble": (mean - target, np.sqrt(aleatoric + epistemic)),
            "members": [(s.means[0] - target, np.sqrt(s.variances[0])) for s in seeds],
        }
    if not tiles:
        raise ZooError(f"{runs}: holds no trained networks; run 'make real' first")
    members = len(next(iter(tiles.values()))["members"])
    pooled = {"ensemble": [np.concatenate(parts) for parts in zip(*(t["ensemble"] for t in tiles.values()))]}
    alone = [
        judge(*(np.concatenate(parts) for parts in zip(*(t["members"][i] for t in tiles.values()))))
        for i in range(members)
    ]
    together = judge(*pooled["ensemble"])
    difference = np.array(
        [_rmse(t["ensemble"][0]) - np.mean([_rmse(m[0]) for m in t["members"]]) for t in tiles.values()]
    )
    return {
        "tiles": len(tiles),
        "members": members,
        "shots": len(pooled["ensemble"][0]),
        "ensemble": _headline(together),
        "member": {key: float(np.mean([_headline(a)[key] for a in alone])) for key in _headline(together)},
        "rmse_difference": _interval(difference) | {"tiles_better": int((difference < 0).sum())},
        "std_bins": together["std_bins"],
        "most_certain": together["most_certain"],
    }


def _rmse(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


def _headline(found: dict) -> dict[str, float]:
    shares = {f"coverage_{c['expected']:.0%}": c["observed"] for c in found["coverage"]}
    return {key: found[key] for key in ("rmse", "crps", "mean_std", "mean_squared_z")} | shares


def _interval(difference: np.ndarray) -> dict[str, float]:
    """Mean paired difference over tiles with a 95 % interval of Student's t; none below six tiles."""
    result = {"mean": float(difference.mean())}
    if len(difference) >= FEWEST_GROUPS:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)))
        result |= {"low": result["mean"] - half, "high": result["mean"] + half}
    return result


def main() -> None:
    """Measure and write the JSON; another folder of runs may be given."""
    result = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else RUNS)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k not in ("std_bins", "most_certain")}, indent=1))


if __name__ == "__main__":
    main()
