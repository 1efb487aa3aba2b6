"""``eozoo eval gedi_sparse``: the model beside the training mean and ridge regression, and pictures of its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.plots import density_scatter

from eozoo_gedi_sparse.baseline import Baselines
from eozoo_gedi_sparse.data import SparseTiles
from eozoo_gedi_sparse.maps import load_model
from eozoo_gedi_sparse.pairs import find_pairs
from eozoo_gedi_sparse.scoring import TileScores, score_tile
from eozoo_gedi_sparse.training import folders

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry, Scores

    from eozoo_gedi_sparse.settings import GediSettings


def evaluate(run: Run, settings: GediSettings, registry: Registry, split: str) -> Scores:
    """Score best.pt on ``split`` over all labelled pixels; see ``Task.evaluate``.

    Writes eval_SPLIT/scatter.png and eval_SPLIT/strata.json into the run. Raises ZooError where the split has no label.
    """
    input_dir, label_dir = folders(settings)
    tiles = SparseTiles(find_pairs(input_dir, label_dir, split, settings.data), settings.data)
    model, loss, device = load_model(run, settings, registry)
    baselines = Baselines(**run.info()["baselines"])
    edges = (*settings.strata, np.inf)
    scores = {name: TileScores(edges) for name in ("model", "training mean", "ridge")}
    means, targets = [], []
    for i in range(len(tiles)):
        image, target = tiles.arrays(i)
        total, mean, labels, std = score_tile(model, loss, image, target, device)
        scores["model"].add(total, mean, labels, std)
        constant = np.full_like(labels, baselines.mean)
        scores["training mean"].add(np.nan, constant, labels, np.full_like(labels, baselines.std))
        ridge = baselines.ridge(image)[np.isfinite(target[0])].astype(np.float32)
        scores["ridge"].add(np.nan, ridge, labels, np.full_like(labels, baselines.residual))
        means.append(mean)
        targets.append(labels)
    if not scores["model"].count:
        raise ZooError(f"{label_dir / split}: no label where the input has data; nothing can be scored")
    _write(run, settings, split, scores, np.concatenate(targets), np.concatenate(means))
    results = {name: s.compute() for name, s in scores.items()}
    # The baselines have no training loss; their likelihoods stand in the table beside the model's.
    return {name: {k: v for k, v in values.items() if np.isfinite(v)} for name, values in results.items()}


def _write(
    run: Run, settings: GediSettings, split: str, scores: dict[str, TileScores], target: np.ndarray, mean: np.ndarray
) -> None:
    folder = run.path / f"eval_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    run.write_json(f"eval_{split}/strata.json", {name: _plain(s.strata()) for name, s in scores.items()})
    limits = (0.0, settings.eval.scatter_max) if settings.eval.scatter_max else None
    title = f"{run.path.name}, {split} split"
    density_scatter(target, mean, folder / "scatter.png", settings.data.unit, title, limits)


def _plain(strata: list[dict]) -> list[dict]:
    """JSON has no infinity: the open end of the last stratum is null."""
    return [{k: None if isinstance(v, float) and np.isinf(v) else v for k, v in s.items()} for s in strata]
