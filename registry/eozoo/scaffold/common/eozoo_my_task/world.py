"""A synthetic landscape: made up, not observed. ``eozoo_core.task.image_sample`` cuts images from it."""

from __future__ import annotations

import numpy as np
from eozoo_core.raster.cog import Band

BANDS = tuple(Band(name, "reflectance 0..1") for name in ("blue", "green", "red", "nir"))


def landscape() -> tuple[np.ndarray, np.ndarray]:
    """Return canopy height (H, W), 0 to 30 m, and reflectance 0..1 of BANDS (4, H, W) with a cloud of NaN."""
    random, (rows, columns) = np.random.default_rng(0), np.mgrid[:400, :336].astype("float64")
    field = np.zeros(rows.shape)
    for wavelength, weight in ((90.0, 1.0), (37.0, 0.6), (15.0, 0.3)):
        for _ in range(6):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            field += weight * np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / wavelength + phase)
    height = np.clip(6.0 * field + 9.0, 0.0, 30.0)
    leaves, bare, forest = 1.0 - np.exp(-height / 12.0), (0.08, 0.12, 0.18, 0.22), (0.03, 0.06, 0.03, 0.45)
    bands = np.stack([b + (f - b) * leaves for b, f in zip(bare, forest, strict=True)])
    bands = np.clip(bands + random.normal(scale=0.012, size=bands.shape), 0.0, 1.0).astype("float32")
    bands[:, 30:40, 100:130] = np.nan
    return height, bands
