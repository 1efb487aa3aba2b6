"""Runs side by side: which settings differ, how they score, and whether the difference is more than chance."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from eozoo_core.errors import ZooError

Read = dict[str, tuple[dict[str, float], dict[str, Any]]]  # member -> scores, and what they were computed on
RESAMPLES = 10_000
MOST_EXACT = 16  # pairs; 2**16 sign patterns are enumerated, beyond that they are drawn


def compare(paths: list[Path], split: str) -> dict[str, Any]:
    """Compare runs by their settings and by RUN/eval_SPLIT.json; where every run has seeds or folds, pair them.

    A folder that is itself no run but holds runs (one per seed or fold) counts as one side with many members, paired by
    folder name. Two sides with common members get the mean paired difference of each metric with a bootstrap interval
    over members and the p-value of a sign-flip test. Members scored on other data, or in other units, are not
    subtracted: "unlike" says which. Raises ZooError for a folder without run or scores.
    """
    from eozoo_core import Run

    sides = {str(path): _members(path) for path in paths}
    first = next(iter(sides))
    tasks = {Run.task_of(run) for runs in sides.values() for run in runs.values()}
    if len(tasks) > 1:
        raise ZooError(f"the runs are of different tasks ({', '.join(sorted(tasks))}): their scores mean other things")
    read = {name: {m: _scores(run, split) for m, run in runs.items()} for name, runs in sides.items()}
    scores = {name: {m: values for m, (values, _) in runs.items()} for name, runs in read.items()}
    unlike = {name: _unlike(read[first], read[name]) for name in list(sides)[1:]}
    return {
        "task": tasks.pop(),
        "split": split,
        "runs": {name: {"members": sorted(runs), "metrics": _summary(scores[name])} for name, runs in sides.items()},
        "settings": _differences(sides),
        "paired": {name: {} if unlike[name] else _paired(scores[first], scores[name]) for name in unlike},
        "unlike": {name: reason for name, reason in unlike.items() if reason},
    }


def interval(values: list[float]) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval (percentiles) of the mean; None below 6 values: it would promise too much."""
    if len(values) < 6:
        return None
    draw = random.Random(0)
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1]


def sign_flip(differences: list[float]) -> float | None:
    """Return the two-sided p-value of a sign-flip (paired permutation) test that the mean difference is 0.

    Exact up to 16 pairs, else from 10,000 random sign patterns (the observed one counted). None below 6 pairs: then no
    pattern can reach 0.05 (6 pairs: 2/64).
    """
    n = len(differences)
    if n < 6:
        return None
    observed = abs(math.fsum(differences)) * (1 - 1e-12)
    if n <= MOST_EXACT:
        flips = ([d if pattern >> i & 1 else -d for i, d in enumerate(differences)] for pattern in range(2**n))
        return sum(abs(math.fsum(flip)) >= observed for flip in flips) / 2**n
    draw = random.Random(0)
    hits = sum(abs(math.fsum(d * draw.choice((-1, 1)) for d in differences)) >= observed for _ in range(RESAMPLES))
    return (hits + 1) / (RESAMPLES + 1)


def _members(path: Path) -> dict[str, Path]:
    """The runs of one side by member: the run itself, or the runs in a folder."""
    if (path / "run.json").exists():
        return {"": path}
    found = {file.parent.name: file.parent for file in sorted(path.glob("*/run.json"))}
    if not found:
        raise ZooError(f"{path}: holds no run (no run.json), nor runs in folders")
    return found


def _scores(run: Path, split: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the model's scores, and what they were computed on ({} in files of older versions)."""
    file = run / f"eval_{split}.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: float(value) for name, value in found["scores"]["model"].items()}, found.get("scored_on", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ZooError(f"{file}: no scores; write them with 'eozoo eval TASK --run {run} --split {split}'") from None


def _unlike(a: Read, b: Read) -> str:
    """Say what keeps the scores of two sides from being subtracted, "" where nothing is known to."""
    for member in (name for name in a if name in b):
        one, two = a[member][1], b[member][1]
        for what, said in (("units", "in other units"), ("fingerprint", "on other data")):
            if what in one and what in two and one[what] != two[what]:
                return f"{f'{member}: ' if member else ''}scored {said}; nothing is subtracted"
    return ""


def _common(scores: list[dict[str, float]]) -> list[str]:
    return [name for name in scores[0] if all(name in other for other in scores)]


def _summary(members: dict[str, dict[str, float]]) -> dict[str, Any]:
    found = {}
    for metric in _common(list(members.values())):
        values = [scores[metric] for scores in members.values()]
        found[metric] = {"mean": fmean(values), "interval": interval(values)}
    return found


def _paired(a: dict[str, dict[str, float]], b: dict[str, dict[str, float]]) -> dict[str, Any]:
    members = [name for name in a if name in b]
    if not members:
        return {}
    found = {}
    for metric in _common([*(a[m] for m in members), *(b[m] for m in members)]):
        if metric == "n" or metric.startswith("n_"):  # a count of labels is no score
            continue
        gaps = [b[m][metric] - a[m][metric] for m in members]
        found[metric] = {
            "pairs": len(gaps),
            "difference": fmean(gaps),
            "interval": interval(gaps),
            "p": sign_flip(gaps),
        }
    return found


def _differences(sides: dict[str, dict[str, Path]]) -> dict[str, dict[str, Any]]:
    """Settings that are not the same everywhere; of a side with many members, those in which they all agree."""
    from eozoo_core.settings.config import differences, leaf, read_yaml

    configs = {name: [read_yaml(run / "config.yaml") for run in runs.values()] for name, runs in sides.items()}
    every = [config for many in configs.values() for config in many]
    keys = dict.fromkeys(key for other in every[1:] for key, _, _ in differences(every[0], other))
    return {key: {name: _agreed([leaf(c, key) for c in many]) for name, many in configs.items()} for key in keys}


def _agreed(values: list[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else "(varies)"
