"""How well the documented degradation could be undone by one who knew everything about it but the noise itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DRAWS = 6  # degradations of each tile


def bound(tiles: dict[str, list[Path]], metrics: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Score a Wiener filter that is told colour shift, haze, blur, noise level and the target's own power spectrum.

    Beside it the input of the same draws; means over places. A refiner is told nothing of this: the numbers are an
    orientation of what can be had, not a strict bound, for the filter is linear and made for squared errors. Tiles with
    missing pixels are left out, for it needs whole images.
    """
    from eozoo_prithvi_refine.degradation import degrade, draw_strengths
    from eozoo_prithvi_refine.scoring import Criterion, RefineScores, tile_sums
    from eozoo_prithvi_refine.settings import DegradationSettings
    from eozoo_prithvi_refine.tile_files import read_tile

    settings, criterion, places = DegradationSettings(), Criterion({}), []
    for files in tiles.values():
        sums = {"everything known": 0.0, "input": 0.0}
        targets = [read_tile(file, None, None).image for file in files]
        for target in (t for t in targets if np.isfinite(t).all()):
            for seed in range(DRAWS):
                image = degrade(target, settings, np.random.default_rng(seed))
                strengths = draw_strengths(target.shape, settings, np.random.default_rng(seed))
                made = {"everything known": wiener(image, target, strengths), "input": image}
                x, y = _tensor(image), _tensor(target)
                for name, result in made.items():
                    sums[name] = sums[name] + tile_sums(_tensor(result), x, y, criterion, with_ssim=True)
        places.append({name: RefineScores.compute(values) for name, values in sums.items()})
    return {n: {m: round(float(np.mean([p[n][m] for p in places])), 5) for m in metrics} for n in places[0]}


def wiener(image: np.ndarray, target: np.ndarray, strengths: object) -> np.ndarray:
    """Undo colour and haze exactly, then filter ``(4, H, W)`` by H P / (H^2 P + N): H the transfer function of the
    blur, P the target's power by spatial frequency (mean over directions), N that of the noise. Wiener 1949.
    """
    from eozoo_prithvi_refine.degradation import AIRLIGHT

    height, width = target.shape[1:]
    scale = strengths.gain * (1 - strengths.haze)
    clear = (image - AIRLIGHT * strengths.haze - strengths.offset * (1 - strengths.haze)) / scale
    mean = target.mean(axis=(1, 2), keepdims=True)
    rows, cols = np.fft.fftfreq(2 * height)[:, None], np.fft.fftfreq(2 * width)[None]
    transfer = np.exp(-2 * (np.pi * strengths.blur) ** 2 * (rows**2 + cols**2))
    power = _by_frequency(np.abs(np.fft.fft2(_mirrored(target - mean))) ** 2, np.hypot(rows, cols))
    noise = (strengths.noise / scale.mean(axis=(1, 2), keepdims=True)) ** 2 * 4 * height * width
    gain = transfer * power / (transfer**2 * power + noise)
    found = np.fft.ifft2(gain * np.fft.fft2(_mirrored(clear - mean))).real
    return found[:, :height, :width] + mean


def _mirrored(image: np.ndarray) -> np.ndarray:
    """The image and its reflections, twice as large: the Fourier transform then sees no seam at the border."""
    wide = np.concatenate([image, image[:, :, ::-1]], axis=2)
    return np.concatenate([wide, wide[:, ::-1]], axis=1)


def _by_frequency(power: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Mean of ``(4, H, W)`` over rings of equal spatial frequency, put back in place."""
    ring = np.rint(radius * 60).astype(int)
    count = np.bincount(ring.ravel())
    return np.stack([(np.bincount(ring.ravel(), band.ravel()) / count)[ring] for band in power])


def _tensor(image: np.ndarray) -> object:
    import torch

    return torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
