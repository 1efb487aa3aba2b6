"""``eozoo eval gedi_sparse``: the ensemble beside its members and simple baselines; are its uncertainties true?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.score.baselines import Ridge
from eozoo_core.task.predict import load_fitted, open_draws
from eozoo_core.task.spread import moments

from eozoo_gedi_sparse.calibration import Collected, clustered_intervals, judge, variance_scale
from eozoo_gedi_sparse.evaluation_files import Judged, write_files
from eozoo_gedi_sparse.label_predictions import collect
from eozoo_gedi_sparse.patches import Patches
from eozoo_gedi_sparse.scores import LabelScores

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Fitted, Scores
    from eozoo_core.task.contract import Contract

FEWEST_FOR_SCALE = 20  # validation labels below which no variance factor is fitted


def evaluate(task: Contract, run: Run, split: str, laplace: bool) -> Scores:
    """Score best.pt of every member on ``split`` over all labelled pixels; see ``Task.evaluate``.

    "model" is the ensemble (or the one network); with several draws each of them follows, then the training mean and
    ridge regression. Writes report.html, pictures and arrays into eval_SPLIT/, where the model also stands with its
    variances scaled as fitted on validation. Raises ZooError where the split has no label. ``laplace``: a single
    network predicts a Laplacian distribution.
    """
    settings = task.settings
    draws, data = open_draws(task, run, "eval"), Patches(settings, split)
    edges = (*settings.strata, np.inf)
    metrics: list[LabelScores] = []

    def empty() -> LabelScores:
        metrics.append(LabelScores(edges))
        return metrics[-1]

    collected, scorers = collect(draws, task.loss(draws.survey), data, empty, laplace)
    mean, aleatoric, epistemic = _moments(collected)
    std = _total(aleatoric, epistemic)
    results = {name: scorer.compute(scorer.sums()) for name, scorer in scorers.items()}
    strata = dict(zip(scorers, (one.strata() for one in metrics), strict=True))
    if len(scorers) > 1:
        whole = LabelScores(edges)
        whole.update(mean, collected.targets, std)
        results, strata = {"model": whole.compute()} | results, {"model": whole.strata()} | strata
    else:
        results, strata = ({"model": next(iter(kept.values()))} for kept in (results, strata))
    for name, scores in _baselines(draws.survey.ridge.fit(), data, edges).items():
        results[name], strata[name] = scores.compute(), scores.strata()
    fitted = _record(load_fitted(run, task))
    factor = fitted["factor"] if fitted else None
    error = mean - collected.targets
    judged = Judged(
        mean=mean,
        aleatoric=aleatoric,
        epistemic=epistemic if len(scorers) > 1 else None,
        uncertainty=None if std is None else judge(error, std, collected.distribution),
        scaled=None if std is None or factor is None else judge(error, std * factor**0.5, collected.distribution),
        variance_scale=fitted,
        intervals=clustered_intervals(error, std, collected.patch, collected.distribution),
    )
    if judged.uncertainty is not None:
        results["model"] |= _headline(judged.uncertainty)
    write_files(run, settings, split, collected, judged, results, strata)
    return results


def fit_variance(task: Contract, run: Run, laplace: bool) -> Fitted | None:
    """Fit on the validation split the factor of all variances that makes mean((error / std)^2) one.

    One number for all members together: it cannot overfit much, and keeps the order of certain and uncertain pixels.
    None where the loss trains no variance; a factor of None where validation has too few labels.
    """
    every = task.settings.eval.draws.model_copy(update={"members": None, "mc_passes": 0})
    settings = task.settings.model_copy(update={"eval": task.settings.eval.model_copy(update={"draws": every})})
    draws = open_draws(type(task)(settings, task.registry), run, "eval")
    collected, _ = collect(draws, task.loss(draws.survey), Patches(settings, "val"), LabelScores, laplace)
    if collected.variances is None:
        return None
    mean, aleatoric, epistemic = _moments(collected)
    labels = len(collected.targets)
    std = _total(aleatoric, epistemic)
    factor = variance_scale(mean - collected.targets, std) if labels >= FEWEST_FOR_SCALE else None
    return task.Fitted(variance_factor=factor, labels=labels)


def _record(fitted: Fitted) -> dict[str, Any] | None:
    return {"factor": fitted.variance_factor, "labels": fitted.labels, "split": "val"} if fitted.labels else None


def _moments(collected: Collected) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    variances = collected.variances
    return moments(
        (mean.astype(np.float64), None if variances is None else variances[i]) for i, mean in enumerate(collected.means)
    )


def _total(aleatoric: np.ndarray | None, epistemic: np.ndarray) -> np.ndarray | None:
    return None if aleatoric is None else np.sqrt(aleatoric + epistemic)


def _baselines(known: Ridge, data: Patches, edges: tuple[float, ...]) -> dict[str, LabelScores]:
    """Training mean and ridge regression, kept by training in the survey."""
    scores = {"training mean": LabelScores(edges), "ridge": LabelScores(edges)}
    for i in range(len(data)):
        arrays = data.item(i)
        labelled = np.isfinite(arrays["target"][0])
        labels = arrays["target"][0][labelled]
        scores["training mean"].update(np.full_like(labels, known.mean), labels, np.full_like(labels, known.std))
        ridge = known.predict(arrays["image"])[labelled].astype(np.float32)
        scores["ridge"].update(ridge, labels, np.full_like(labels, known.residual))
    return scores


def _headline(found: dict[str, Any]) -> dict[str, float]:
    ninety = next(c["observed"] for c in found["coverage"] if c["expected"] == 0.9)
    return {"crps": found["crps"], "mean_std": found["mean_std"], "coverage_90": ninety}
