"""Predicting every labelled pixel of a split with every draw, patch by patch."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from eozoo_core.errors import ZooError

from eozoo_gedi_sparse.calibration import Collected
from eozoo_gedi_sparse.data import SparseTiles
from eozoo_gedi_sparse.ensemble import Draw
from eozoo_gedi_sparse.losses import SparseLoss
from eozoo_gedi_sparse.pairs import Pair
from eozoo_gedi_sparse.scoring import TileScores, score_tile


def collect(
    draws: list[Draw], loss: SparseLoss, device: torch.device, tiles: SparseTiles, strata: tuple[float, ...] | None
) -> tuple[Collected, list[TileScores]]:
    """Predict all labels of ``tiles``; return them, and the scores of every draw. Raises ZooError without labels."""
    scores = [TileScores(strata) for _ in draws]
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("targets", "means", "variances", "patch", "x", "y")}
    corners = patch_corners(tiles)
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
        x, y = _places(pair, corners[i], row, col)
        columns["x"].append(x)
        columns["y"].append(y)
    joined = {name: np.concatenate(parts, axis=-1) if parts else None for name, parts in columns.items()}
    if joined["targets"] is None or not joined["targets"].size:
        raise ZooError(f"{tiles.found.pairs[0].label.parent}: no label where the input has data; nothing can be scored")
    distribution = "laplace" if loss.scale_power == 1 and len(draws) == 1 else "gaussian"
    return Collected(**joined, distribution=distribution), scores


def patch_corners(tiles: SparseTiles) -> list[tuple[float, float, float] | None]:
    """x and y of each patch's upper left corner and its pixel size where patches.csv of the preparation tells them."""
    first = tiles.found.pairs[0].input
    index = first.parent.parent.parent / "patches.csv"
    if not index.exists():
        return [None] * len(tiles)
    with index.open() as file:
        rows = {(r["split"], r["name"]): r for r in csv.DictReader(file)}
    about = index.with_name("patches.json")
    pixel = _pixel(about)
    corners: list[tuple[float, float, float] | None] = []
    for pair in tiles.found.pairs:
        row = rows.get((pair.input.parent.name, pair.name))
        half = float(row["size"]) * pixel / 2 if row else 0.0
        corners.append((float(row["x"]) - half, float(row["y"]) + half, pixel) if row else None)
    return corners


def _pixel(about: Path) -> float:
    import json

    return float(json.loads(about.read_text())["transform"][0]) if about.exists() else 1.0


def _places(
    pair: Pair, corner: tuple[float, float, float] | None, row: np.ndarray, col: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixel centres: the raster's, the preparation's, or NaN where nobody knows the place."""
    t = pair.grid.transform
    if t is not None:
        return t.a * (col + 0.5) + t.b * (row + 0.5) + t.c, t.d * (col + 0.5) + t.e * (row + 0.5) + t.f
    if corner is None:
        return np.full(len(row), np.nan), np.full(len(row), np.nan)
    return corner[0] + (col + 0.5) * corner[2], corner[1] - (row + 0.5) * corner[2]
