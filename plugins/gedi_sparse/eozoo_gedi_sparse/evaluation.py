"""``eozoo eval gedi_sparse``: the ensemble beside its members and simple baselines; are its uncertainties true?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.score.calibration import clustered_intervals, judge
from eozoo_core.task.predict import load_fitted

from eozoo_gedi_sparse.evaluation_files import write_files
from eozoo_gedi_sparse.labels import Labels, collect

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.score.baselines import Ridge
    from eozoo_core.task import Fitted, Scores
    from eozoo_core.task.contract import Baseline, Contract


def evaluate(task: Contract, run: Run, split: str, laplace: bool) -> Scores:
    """Score best.pt of every member on ``split`` over all labelled pixels; see ``Task.evaluate``.

    "model" is the ensemble (or the one network); with several draws each of them follows, then the training mean and
    ridge regression. Writes report.html, pictures and arrays into eval_SPLIT/, where the model also stands with its
    variances scaled as fitted on validation. Raises ZooError where the split has no label. ``laplace``: a single
    network predicts a Laplacian distribution.
    """
    evaluation, labels = collect(task, run, task.data(split))
    results = evaluation.compute()
    judged = judge_all(labels, load_fitted(run, task), "laplace" if laplace and len(labels.means) == 1 else "gaussian")
    if judged["model"] is not None:
        results["model"] |= _headline(judged["model"])
    strata = {name: metrics.strata() for name, metrics in evaluation.metrics.items()}
    write_files(run, task.settings, split, labels, judged, results, strata)
    return results


def judge_all(labels: Labels, fitted: Fitted, kind: str) -> dict[str, dict[str, Any] | None]:
    """Return what ``calibration.judge`` says of the model as it is and with variances scaled, and its intervals.

    ``kind``: gaussian or laplace. None where the loss trains no variance, nothing was fitted, or patches are too few.
    """
    scale = {"factor": fitted.variance_factor, "labels": fitted.labels, "split": "val"} if fitted.labels else None
    std, model, scaled = None if labels.total is None else np.sqrt(labels.total), None, None
    if std is not None:
        model = judge(labels.error, std, kind)
        if fitted.variance_factor is not None:
            scaled = judge(labels.error, std * fitted.variance_factor**0.5, kind)
    intervals = clustered_intervals(labels.error, std, labels.patch, kind)
    return {"model": model, "scaled": scaled, "variance_scale": scale, "intervals_95": intervals}


def baselines_of(ridge: Ridge) -> dict[str, Baseline]:
    """Training mean and ridge regression, kept by training in the survey, each with a constant deviation."""

    def predictor(values: Any, std: float) -> Baseline:
        def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            mean = np.stack([values(image) for image in batch["image"]]).astype(np.float32)
            return {"mean": mean, "std": np.full_like(mean, std)}

        return predict

    constant = predictor(lambda image: np.full(image.shape[1:], ridge.mean), ridge.std)
    return {"training mean": constant, "ridge": predictor(ridge.predict, ridge.residual)}


def _headline(found: dict[str, Any]) -> dict[str, float]:
    ninety = next(c["observed"] for c in found["coverage"] if c["expected"] == 0.9)
    return {"crps": found["crps"], "mean_std": found["mean_std"], "coverage_90": ninety}
