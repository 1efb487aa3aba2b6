"""What a stage-1 generator does to an image, imitated: blur, colour shift, haze and noise of random strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eozoo_prithvi_refine.settings import DegradationSettings

# Haze scatters short wavelengths most: share of the blue haze that reaches blue, green, red and near infrared.
_HAZE_BY_BAND = np.array([1.0, 0.7, 0.5, 0.2], np.float32)[:, None, None]
AIRLIGHT = 0.35  # reflectance of dense haze


@dataclass(frozen=True)
class Strengths:
    """How one image is degraded: blur (px); gain and offset (4, 1, 1) of each band; haze (4, H, W), the share of
    airlight in each pixel; standard deviation of the noise (4, 1, 1), reflectance.
    """

    blur: float
    gain: np.ndarray
    offset: np.ndarray
    haze: np.ndarray
    noise: np.ndarray


def draw_strengths(
    shape: tuple[int, int, int], settings: DegradationSettings, random: np.random.Generator
) -> Strengths:
    """Draw each strength uniformly between 0 and its setting (gain and offset: around none), for ``(4, H, W)``."""
    from scipy.ndimage import gaussian_filter

    bands, height, width = shape
    blur = random.uniform(0, settings.blur_px)
    gain = random.uniform(1 - settings.colour_gain, 1 + settings.colour_gain, (bands, 1, 1))
    offset = random.uniform(-settings.colour_offset, settings.colour_offset, (bands, 1, 1))
    field = gaussian_filter(random.normal(size=(height, width)), max(height, width) / 6, mode="reflect")
    field = 0.5 + 0.5 * (field - field.min()) / max(np.ptp(field), 1e-9)
    haze = random.uniform(0, settings.haze) * field * _HAZE_BY_BAND
    return Strengths(blur, gain, offset, haze, random.uniform(0, settings.noise, (bands, 1, 1)))


def degrade(target: np.ndarray, settings: DegradationSettings, random: np.random.Generator) -> np.ndarray:
    """Return a degraded copy of ``target (4, H, W)`` float32 reflectance; NaN stays NaN and spreads nowhere.

    In this order, with the strengths that `draw_strengths` gives: Gaussian blur (missing pixels have no weight); gain
    and offset of each band; haze ``x (1 - a) + 0.35 a`` with a smooth field ``a``, blue most; white noise with a
    strength of its own per band. Reflectance below 0 becomes 0. The same generator state gives the same image.
    """
    missing = np.isnan(target)
    strengths = draw_strengths(target.shape, settings, random)
    image = _blur(target, missing, strengths.blur) * strengths.gain + strengths.offset
    image = image * (1 - strengths.haze) + AIRLIGHT * strengths.haze
    image = np.maximum(image + strengths.noise * random.normal(size=image.shape), 0)
    return np.where(missing, np.nan, image).astype(np.float32)


def _blur(image: np.ndarray, missing: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur over what is there: blurred values divided by the blurred share of valid pixels."""
    from scipy.ndimage import gaussian_filter

    if sigma <= 0:
        return np.nan_to_num(image)
    spread = (0, sigma, sigma)
    values = gaussian_filter(np.where(missing, 0, image).astype(np.float32), spread, mode="nearest")
    weight = gaussian_filter((~missing).astype(np.float32), spread, mode="nearest")
    return values / np.maximum(weight, 1e-6)
