"""Looking once through the training tiles: their bands, and refiners that learn next to nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from eozoo_core.score.baselines import RidgeFit
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task.contract import Baseline
from eozoo_core.task.survey import surveyed

from eozoo_prithvi_refine.data import Tiles
from eozoo_prithvi_refine.settings import BANDS, UNIT
from eozoo_prithvi_refine.survey import Baselines, RefineSurvey

_SIGMAS, _AMOUNTS = (1.0, 2.0), (0.25, 0.5, 1.0)
MOST_TILES = 500  # tiles looked at; a fit of eight numbers needs no more


def survey_tiles(tiles: Tiles) -> RefineSurvey:
    """Look at up to 500 evenly spread tiles: least squares for the affine fit, least squared error for the mask."""
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), MOST_TILES)).astype(int))
    fits, squares = [RidgeFit(1) for _ in BANDS], np.zeros((len(_SIGMAS), len(_AMOUNTS)))
    statistics = ChannelStatistics(BANDS)
    for i in chosen:
        sample = tiles.item(int(i))
        statistics.update(sample["opt_v1"])
        image, target = sample["opt_v1"].astype(np.float64), sample["target"].astype(np.float64)
        valid = np.isfinite(image[0])
        x, y = image[:, valid], target[:, valid]
        for fit, band, wanted in zip(fits, x, y, strict=True):
            fit.update(band[None], wanted)
        for j, sigma in enumerate(_SIGMAS):
            detail = unsharp_mask(image, sigma, 1.0)[:, valid] - x
            squares[j] += [((x + a * detail - y) ** 2).sum() for a in _AMOUNTS]
    bands = [fit.solve(penalty=0.0) for fit in fits]
    j, k = np.unravel_index(squares.argmin(), squares.shape)
    baselines = Baselines(
        gain=tuple(band.weights[0] for band in bands),
        offset=tuple(band.intercept for band in bands),
        sigma=_SIGMAS[j],
        amount=_AMOUNTS[k],
    )
    return RefineSurvey(bands=surveyed(statistics, (UNIT,) * len(BANDS)), baselines=baselines)


def unsharp_mask(image: np.ndarray, sigma: float, amount: float) -> np.ndarray:
    """Sharpen ``(C, H, W)``; NaN stays NaN."""
    from scipy.ndimage import gaussian_filter

    missing = ~np.isfinite(image)
    means = np.array([b[~m].mean() if not m.all() else 0.0 for b, m in zip(image, missing)])[:, None, None]
    filled: Any = np.where(missing, means, image)
    blurred = gaussian_filter(filled, (0, sigma, sigma), mode="nearest")
    return np.where(missing, np.nan, filled + amount * (filled - blurred)).astype(image.dtype)


def predictors(found: Baselines) -> dict[str, Baseline]:
    """Return the input as it is, the affine fit and the unsharp mask; missing pixels count as their band's mean."""
    gain, offset = (np.array(values, np.float32)[:, None, None] for values in (found.gain, found.offset))

    def sharpened(images: np.ndarray) -> np.ndarray:
        return np.stack([unsharp_mask(image, found.sigma, found.amount) for image in images])

    return {
        "input": lambda batch: {"refined": batch["opt_v1"]},
        "affine fit": lambda batch: {"refined": batch["opt_v1"] * gain + offset},
        "unsharp mask": lambda batch: {"refined": sharpened(batch["opt_v1"])},
    }
