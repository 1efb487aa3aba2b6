"""``eozoo eval gedi_sparse``: the ensemble beside its members and simple baselines; are its uncertainties true?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.score.baselines import Ridge

from eozoo_gedi_sparse.calibration import Collected, clustered_intervals, judge, variance_scale
from eozoo_gedi_sparse.data import SparseTiles
from eozoo_gedi_sparse.ensemble import combine, load_draws, member_runs
from eozoo_gedi_sparse.evaluation_files import Judged, write_files
from eozoo_gedi_sparse.label_predictions import collect
from eozoo_gedi_sparse.pairs import find_pairs, folders
from eozoo_gedi_sparse.scoring import TileScores

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry, Scores

    from eozoo_gedi_sparse.settings import GediSettings

FEWEST_FOR_SCALE = 20  # validation labels below which no variance factor is fitted


def evaluate(run: Run, settings: GediSettings, registry: Registry, split: str) -> Scores:
    """Score best.pt of every member on ``split`` over all labelled pixels; see ``Task.evaluate``.

    "model" is the ensemble (or the one network); with several draws each of them follows, then the training mean and
    ridge regression. Writes report.html, pictures and arrays into eval_SPLIT/, where the model also stands with its
    variances scaled as fitted on validation. Raises ZooError where the split has no label.
    """
    draws, loss, device = load_draws(run, settings, registry, settings.eval.draws)
    tiles = _tiles(settings, split)
    edges = (*settings.strata, np.inf)
    collected, draw_scores = collect(draws, loss, device, tiles, edges)
    mean, aleatoric, epistemic = _moments(collected)
    std = _total(aleatoric, epistemic)
    scores = {"model": _score(collected, mean, std, edges) if len(draws) > 1 else draw_scores[0]}
    if len(draws) > 1:
        scores |= {draw.name: score for draw, score in zip(draws, draw_scores)}
    fitted = run.info().get("variance_scale")
    factor = fitted["factor"] if fitted else None
    scores |= _baselines(run, settings, tiles, edges)
    error = mean - collected.targets
    judged = Judged(
        mean=mean,
        aleatoric=aleatoric,
        epistemic=epistemic if len(draws) > 1 else None,
        uncertainty=None if std is None else judge(error, std, collected.distribution),
        scaled=None if std is None or factor is None else judge(error, std * factor**0.5, collected.distribution),
        variance_scale=fitted,
        intervals=clustered_intervals(error, std, collected.patch, collected.distribution),
    )
    results = {name: _finite(s.compute()) for name, s in scores.items()}
    if judged.uncertainty is not None:
        results["model"] |= _headline(judged.uncertainty)
    strata = {name: s.strata() for name, s in scores.items()}
    write_files(run, settings, split, collected, judged, results, strata)
    return results


def fit_variance_scale(run: Run, settings: GediSettings, registry: Registry) -> None:
    """Fit on the validation split the factor of all variances that makes mean((error / std)^2) one; note it in the run.

    One number for all members together: it cannot overfit much, and keeps the order of certain and uncertain pixels.
    Nothing is noted where the loss trains no variance; a factor of None where validation has too few labels.
    """
    everything = settings.eval.draws.model_copy(update={"members": None, "mc_passes": 0})
    draws, loss, device = load_draws(run, settings, registry, everything)
    if not loss.trains_variance:
        return
    collected, _ = collect(draws, loss, device, _tiles(settings, "val"), None)
    mean, aleatoric, epistemic = _moments(collected)
    labels = len(collected.targets)
    std = _total(aleatoric, epistemic)
    factor = variance_scale(mean - collected.targets, std) if labels >= FEWEST_FOR_SCALE else None
    run.note("variance_scale", {"factor": factor, "labels": labels, "split": "val"})


def _tiles(settings: GediSettings, split: str) -> SparseTiles:
    input_dir, label_dir = folders(settings)
    return SparseTiles(find_pairs(input_dir, label_dir, split, settings.data), settings.data)


def _moments(collected: Collected) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    variances = collected.variances
    return combine(
        (mean.astype(np.float64), None if variances is None else variances[i]) for i, mean in enumerate(collected.means)
    )


def _total(aleatoric: np.ndarray | None, epistemic: np.ndarray) -> np.ndarray | None:
    return None if aleatoric is None else np.sqrt(aleatoric + epistemic)


def _score(collected: Collected, mean: np.ndarray, std: np.ndarray | None, edges: tuple[float, ...]) -> TileScores:
    scores = TileScores(edges)
    scores.add(np.nan, mean, collected.targets, std)
    return scores


def _baselines(run: Run, settings: GediSettings, tiles: SparseTiles, edges: tuple[float, ...]) -> dict[str, TileScores]:
    """Training mean and ridge regression, kept by training in the (first member's) run."""
    known = Ridge(**member_runs(run, settings)[0].info()["baselines"])
    scores = {"training mean": TileScores(edges), "ridge": TileScores(edges)}
    for i in range(len(tiles)):
        image, target = tiles.arrays(i)
        labels = target[0][np.isfinite(target[0])]
        constant = np.full_like(labels, known.mean)
        scores["training mean"].add(np.nan, constant, labels, np.full_like(labels, known.std))
        ridge = known.predict(image)[np.isfinite(target[0])].astype(np.float32)
        scores["ridge"].add(np.nan, ridge, labels, np.full_like(labels, known.residual))
    return scores


def _finite(values: dict[str, float]) -> dict[str, float]:
    """Drop what is undefined: only single networks have a training loss."""
    return {k: v for k, v in values.items() if np.isfinite(v)}


def _headline(found: dict[str, Any]) -> dict[str, float]:
    ninety = next(c["observed"] for c in found["coverage"] if c["expected"] == 0.9)
    return {"crps": found["crps"], "mean_std": found["mean_std"], "coverage_90": ninety}
