"""``eozoo eval gedi_sparse``: the document's files beside core's report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.run.written import write_array
from eozoo_core.task.label_report import write_label_report
from eozoo_core.task.labels import evaluate_labels
from eozoo_core.task.scores import RegressionScores

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Contract
    from eozoo_core.task.labels import Labels

_DOCUMENTED = {
    "RMSE": "rmse",
    "MAE": "mae",
    "ME": "bias",
    "gaussian_nll": "gaussian_nll",
    "laplacian_nll": "laplace_nll",
}


class LabelScores(RegressionScores):
    """Scores of "mean" and "std" over labelled pixels, in the order of the report."""

    KEPT = ("n", "rmse", "mae", "bias", "r2", "relative_rmse_percent", "gaussian_nll", "laplace_nll")


def evaluate(task: Contract, run: Run, split: str, laplace: bool) -> Scores:
    """Score best.pt of every member on ``split`` over all labelled pixels; see ``Task.evaluate``.

    "model" is the ensemble (or the one network); with several draws each of them follows, then the baselines. Writes
    report.html, pictures and arrays into eval_SPLIT/, where the model also stands with its variances scaled as fitted
    on validation. Raises ZooError where the split has no label. ``laplace``: a single network predicts a Laplacian
    distribution.
    """
    unit, end = task.settings.data.unit, task.settings.eval.scatter_max
    found = evaluate_labels(task, run, split, "laplace" if laplace else "gaussian")
    write_label_report(run, split, found, unit, "patches", (0.0, end) if end else None)
    _write_arrays(run.path / f"eval_{split}", found.labels)
    run.write_json(f"eval_{split}/{split}_results.json", documented_names(found.scores["model"]))
    run.write_text(f"eval_{split}/results.txt", _results_text(found.scores, unit))
    return found.scores


def documented_names(scores: dict[str, float]) -> dict[str, float]:
    """The document's names of metrics beside ours."""
    named = {name: scores[key] for name, key in _DOCUMENTED.items() if key in scores}
    return {"MSE": scores["rmse"] ** 2, **named, **{k: v for k, v in scores.items() if k not in _DOCUMENTED.values()}}


def _write_arrays(folder: Path, labels: Labels) -> None:
    arrays = {"predictions": labels.mean, "targets": labels.targets, "variances": labels.total}
    if labels.epistemic is not None:
        arrays |= {"pred_means": labels.means, "pred_var": labels.variances, "epistemic_std": labels.epistemic**0.5}
        if labels.aleatoric is not None:
            arrays |= {"aleatoric_std": labels.aleatoric**0.5, "predictive_std": labels.total**0.5}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items() if values is not None}
    for name, values in {**arrays, "patch": labels.sample, "x": labels.x, "y": labels.y}.items():
        write_array(folder / f"{name}.npy", values)


def _results_text(results: Scores, unit: str) -> str:
    lines = [f"unit {unit}"]
    for name, values in results.items():
        lines += ["", name, *(f"  {metric:24s} {value:.6g}" for metric, value in values.items())]
    return "\n".join(lines) + "\n"
