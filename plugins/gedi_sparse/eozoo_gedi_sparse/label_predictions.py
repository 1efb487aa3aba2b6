"""Predicting every labelled pixel of a split with every draw, patch by patch."""

from __future__ import annotations

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid

from eozoo_gedi_sparse.calibration import Collected
from eozoo_gedi_sparse.data import SparseTiles
from eozoo_gedi_sparse.ensemble import Draw
from eozoo_gedi_sparse.losses import SparseLoss
from eozoo_gedi_sparse.patch_places import patch_grids
from eozoo_gedi_sparse.scoring import TileScores, score_tile


def collect(
    draws: list[Draw], loss: SparseLoss, device: torch.device, tiles: SparseTiles, strata: tuple[float, ...] | None
) -> tuple[Collected, list[TileScores]]:
    """Predict all labels of ``tiles``; return them, and the scores of every draw. Raises ZooError without labels."""
    scores = [TileScores(strata) for _ in draws]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("targets", "means", "variances", "patch", "x", "y")}
    grids = patch_grids(tiles.found.pairs[0].input.parents[2])
    for i, pair in enumerate(tiles.found.pairs):
        image, target = tiles.arrays(i)
        found = [score_tile(draw, loss, image, target, device) for draw in draws]
        for score, one in zip(scores, found):
            score.add(*one)
        row, col = np.nonzero(np.isfinite(target[0]))
        columns["targets"].append(target[0][row, col])
        columns["means"].append(np.stack([one[1] for one in found]))
        if loss.trains_variance:
            columns["variances"].append(np.stack([one[3].astype(np.float64) ** 2 for one in found]))
        columns["patch"].append(np.full(len(row), i))
        known = None if pair.grid.transform else grids.get((pair.input.parent.name, pair.name))
        x, y = _places(known or pair.grid, row, col)
        columns["x"].append(x)
        columns["y"].append(y)
    joined = {name: np.concatenate(parts, axis=-1) if parts else None for name, parts in columns.items()}
    if joined["targets"] is None or not joined["targets"].size:
        raise ZooError(f"{tiles.found.pairs[0].label.parent}: no label where the input has data; nothing can be scored")
    distribution = "laplace" if loss.scale_power == 1 and len(draws) == 1 else "gaussian"
    return Collected(**joined, distribution=distribution), scores


def _places(grid: Grid, row: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixel centres, NaN where nobody knows the place."""
    t = grid.transform
    if t is None:
        return np.full(len(row), np.nan), np.full(len(row), np.nan)
    return t.a * (col + 0.5) + t.b * (row + 0.5) + t.c, t.d * (col + 0.5) + t.e * (row + 0.5) + t.f
