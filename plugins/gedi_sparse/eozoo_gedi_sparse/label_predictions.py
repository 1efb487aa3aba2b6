"""Predicting every labelled pixel of a split with every draw, patch by patch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.task.contract import Loss
from eozoo_core.task.evaluate import Scorer
from eozoo_core.task.predict import Draws

from eozoo_gedi_sparse.calibration import Collected
from eozoo_gedi_sparse.patches import Patches
from eozoo_gedi_sparse.scores import LabelScores


def collect(
    draws: Draws, loss: Loss, data: Patches, scores: Callable[[], LabelScores], laplace: bool = False
) -> tuple[Collected, dict[str, Scorer]]:
    """Predict all labels of ``data``; return them, and the scores of every draw. Raises ZooError without labels.

    ``laplace``: a single draw predicts a Laplacian distribution.
    """
    scorers = {name: Scorer(system, loss, scores()) for name, system in draws.systems.items()}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("targets", "means", "variances", "patch", "x", "y")}
    for i in range(len(data)):
        batch = data.items([i])
        found = [scorer.add(batch, draws.device) for scorer in scorers.values()]
        target = batch["target"][0, 0]
        row, col = np.nonzero(np.isfinite(target))
        columns["targets"].append(target[row, col])
        columns["means"].append(np.stack([one["mean"][0].cpu().numpy()[row, col] for one in found]))
        if "std" in found[0]:
            deviations = [one["std"][0].cpu().numpy()[row, col].astype(np.float64) for one in found]
            columns["variances"].append(np.stack(deviations) ** 2)
        columns["patch"].append(np.full(len(row), i))
        x, y = _places(data.grid(i), row, col)
        columns["x"].append(x)
        columns["y"].append(y)
    joined = {name: np.concatenate(parts, axis=-1) if parts else None for name, parts in columns.items()}
    if joined["targets"] is None or not joined["targets"].size:
        folder = data.pairs[0].label.parent
        raise ZooError(f"{folder}: no label where the input has data; nothing can be scored")
    distribution = "laplace" if laplace and len(scorers) == 1 else "gaussian"
    return Collected(**joined, distribution=distribution), scorers


def _places(grid: Grid, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixel centres, NaN where nobody knows the place."""
    t = grid.transform
    if t is None:
        return np.full(len(row), np.nan), np.full(len(row), np.nan)
    return t.a * (col + 0.5) + t.b * (row + 0.5) + t.c, t.d * (col + 0.5) + t.e * (row + 0.5) + t.f
