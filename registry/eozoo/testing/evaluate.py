"""Checks of evaluation."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from eozoo.testing.equality import tree
from eozoo.testing.read_only import read_only
from eozoo.testing.shared_runs import Bench

_RELATIVE = 1e-6


def best_repeats_the_logged_number(bench: Bench, folder: Path) -> None:
    """Evaluating best.pt on "val" gives the number that training logged as its best."""
    path = bench.copy(bench.finished.path, folder)
    task, run = bench.open(path)
    name = task.monitor
    values = [line["val"][name] for line in run.read_log() if name in line["val"]]
    assert values, f"training_log.jsonl holds no 'val' value {name!r}, which Task.monitor names: give fit a validate()"
    kept = run.load("best")["best_val"]
    assert math.isclose(kept, min(values), rel_tol=_RELATIVE), (
        f"best.pt says {name} {kept}, the lowest in training_log.jsonl is {min(values)}: give fit monitor={name!r}"
    )
    _spoil_current(path)
    score = task.evaluate(run, "val")["model"].get(name)
    assert score is not None, f"evaluate() gives no {name!r}, which Task.monitor names, for the predictor 'model'"
    assert math.isclose(score, kept, rel_tol=_RELATIVE), (
        f"evaluate('val') gives {name} {score}, training logged {kept}: load best.pt (not current.pt) whole, in eval "
        "mode, with the normalisation that training used, and pool over the same elements"
    )


def best_is_enough(bench: Bench, folder: Path) -> None:
    """best.pt and the files that it names by hash give the scores of the whole run (of an ensemble: each member's)."""
    for best in sorted(bench.finished.path.rglob("best.pt")):
        alone = folder / best.parent.name
        alone.mkdir()
        for file in (best, *_needed(best)):
            shutil.copy2(file, alone)
        try:
            (task, run), (whole, there) = bench.open(alone), bench.open(best.parent)
            scores, expected = task.evaluate(run, "val")["model"], whole.evaluate(there, "val")["model"]
        except Exception as error:
            raise AssertionError(
                f"best.pt does not evaluate without the other files of its run: {error}; what the system is built from "
                "belongs into survey(), which core keeps in best.pt"
            ) from error
        for metric, value in expected.items():
            assert math.isclose(scores.get(metric, math.nan), value, rel_tol=_RELATIVE, abs_tol=_RELATIVE), (
                f"best.pt alone gives {metric} {scores.get(metric)}, with the other files of its run {value}"
            )


def _needed(best: Path) -> list[Path]:
    """The files that a checkpoint names by hash: its frozen base, and those that `Task.beside` keeps."""
    from eozoo_core.run.checkpoint import load_checkpoint
    from eozoo_core.run.frozen import base_file

    content = load_checkpoint(best)
    base = [base_file(best.parent, content["base"]["sha256"])] if "base" in content else []
    return base + [best.parent / name for name in content.get("beside", {})]


def baseline_beside_the_model(bench: Bench, folder: Path) -> None:
    """Scores begin with "model", have baselines beside it, those that the run keeps too, and are all finite floats."""
    from eozoo_core.run.read_only import writable

    path = bench.copy(bench.finished.path, folder)
    before, (task, run) = tree(path), bench.open(path)
    with read_only(path), writable(run) as (place, reason):
        assert reason, "a run on a read-only disk passes for one that can be written"
        scores = task.evaluate(place, "test")
    assert tree(path) == before, "evaluate() changed files of a read-only run: write below run.path, of the run given"
    assert scores and next(iter(scores)) == "model", f"evaluate() gives {list(scores)}: the first must be 'model'"
    baselines = [name for name, values in scores.items() if name != "model" and values.keys() & scores["model"].keys()]
    assert baselines, (
        "evaluate() gives no baseline with a metric of the model's: add at least the training mean (kept in the run)"
    )
    lost = [name for name in run.info().get("baselines", {}).get("fitted", ()) if name not in scores]
    assert not lost, f"evaluate() leaves out {lost[0]!r}, which training fitted: give Evaluation the run, run=run"
    for name, values in scores.items():
        for metric, value in values.items():
            assert isinstance(value, float) and math.isfinite(value), (
                f"evaluate() gives {name} {metric} = {value!r}: scores are finite Python floats; leave out what has no "
                "elements to be computed from"
            )


def _spoil_current(path: Path) -> None:
    """Change the weights in current.pt: what training goes on from is not what may be scored."""
    from eozoo_core.run.checkpoint import load_checkpoint, save_checkpoint

    for file in path.rglob("current.pt"):
        content = load_checkpoint(file)
        model = {k: v + 1 if v.is_floating_point() else v for k, v in content["model"].items()}
        save_checkpoint(file, {**content, "model": model})
