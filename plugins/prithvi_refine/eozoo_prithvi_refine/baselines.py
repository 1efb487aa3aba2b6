"""Simple refiners that learn next to nothing: a per-band affine fit and an unsharp mask, from the training tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from eozoo_core.score.baselines import RidgeFit

from eozoo_prithvi_refine.data import RefineTiles
from eozoo_prithvi_refine.settings import BANDS

_SIGMAS, _AMOUNTS = (1.0, 2.0), (0.25, 0.5, 1.0)
MOST_TILES = 500  # tiles looked at; a fit of eight numbers needs no more


@dataclass(frozen=True)
class Baselines:
    """gain and offset of each band (target = gain x input + offset), and the best unsharp mask (px, amount)."""

    gain: list[float]
    offset: list[float]
    sigma: float
    amount: float

    def affine(self, image: np.ndarray) -> np.ndarray:
        """Apply gain and offset to ``(4, H, W)``."""
        gain, offset = (np.array(v, np.float32)[:, None, None] for v in (self.gain, self.offset))
        return image * gain + offset

    def unsharp(self, image: np.ndarray) -> np.ndarray:
        """Add ``amount`` times what a blur of ``sigma`` px takes away; missing pixels count as their band's mean."""
        return unsharp_mask(image, self.sigma, self.amount)


def fit_baselines(tiles: RefineTiles) -> Baselines:
    """Look at up to 500 evenly spread tiles: least squares for the affine fit, least squared error for the mask."""
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), MOST_TILES)).astype(int))
    fits, squares = [RidgeFit(1) for _ in BANDS], np.zeros((len(_SIGMAS), len(_AMOUNTS)))
    for i in chosen:
        sample = tiles[int(i)]
        image, target = sample["image"].numpy().astype(np.float64), sample["target"].numpy().astype(np.float64)
        valid = np.isfinite(image[0])
        x, y = image[:, valid], target[:, valid]
        for fit, band, wanted in zip(fits, x, y, strict=True):
            fit.update(band[None], wanted)
        for j, sigma in enumerate(_SIGMAS):
            detail = unsharp_mask(image, sigma, 1.0)[:, valid] - x
            squares[j] += [((x + a * detail - y) ** 2).sum() for a in _AMOUNTS]
    bands = [fit.solve(penalty=0.0) for fit in fits]
    gain, offset = [band.weights[0] for band in bands], [band.intercept for band in bands]
    j, k = np.unravel_index(squares.argmin(), squares.shape)
    return Baselines(gain, offset, _SIGMAS[j], _AMOUNTS[k])


def unsharp_mask(image: np.ndarray, sigma: float, amount: float) -> np.ndarray:
    """Sharpen ``(C, H, W)``; NaN stays NaN."""
    from scipy.ndimage import gaussian_filter

    missing = ~np.isfinite(image)
    means = np.array([b[~m].mean() if not m.all() else 0.0 for b, m in zip(image, missing)])[:, None, None]
    filled: Any = np.where(missing, means, image)
    blurred = gaussian_filter(filled, (0, sigma, sigma), mode="nearest")
    return np.where(missing, np.nan, filled + amount * (filled - blurred)).astype(image.dtype)
