"""What Sentinel-2 and Sentinel-1 would measure over the synthetic landscape: mixtures of a few surfaces.

Reflectances are typical values of tropical surfaces, rounded; they are meant to have the right signs and ranges, not to
be anybody's measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eozoo_gedi_sparse.demo.random_fields import noise

# Surface reflectance 0..1 in B1 B2 B3 B4 B5 B6 B7 B8 B8A B9 B11 B12.
LEAVES = (0.020, 0.024, 0.050, 0.027, 0.080, 0.240, 0.310, 0.330, 0.345, 0.330, 0.150, 0.065)
CROP = (0.035, 0.045, 0.085, 0.055, 0.130, 0.270, 0.330, 0.350, 0.370, 0.350, 0.235, 0.125)
SOIL = (0.075, 0.092, 0.130, 0.170, 0.195, 0.215, 0.230, 0.245, 0.260, 0.265, 0.345, 0.290)
WATER = (0.055, 0.058, 0.062, 0.045, 0.038, 0.025, 0.022, 0.020, 0.018, 0.016, 0.010, 0.007)
BUILT = (0.130, 0.145, 0.165, 0.185, 0.200, 0.212, 0.222, 0.235, 0.240, 0.240, 0.265, 0.240)


@dataclass(frozen=True)
class World:
    """The ground truth, every array (H, W) float32 unless said otherwise.

    height m; cover 0..1 tree cover; crop 0..1 green herb cover; built, water 0..1; moisture 0..1; elevation m.
    """

    height: np.ndarray
    cover: np.ndarray
    crop: np.ndarray
    built: np.ndarray
    water: np.ndarray
    moisture: np.ndarray
    elevation: np.ndarray


def leaf_area(height: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Leaf area index, m2/m2, 0..6: rises with height and saturates, e-folding at 10 m."""
    return 6 * cover * (1 - np.exp(-height / 10))


def bands_of(world: World, rng: np.random.Generator, pixel: float) -> np.ndarray:
    """14 bands (14, H, W) float32: reflectance 0..1 with noise, then VV and VH as (dB + 30) / 30 clipped to 0..1."""
    optical = _optical(world, pixel)
    haze = 0.006 * (1 + noise(rng, world.height.shape, 90, 2.5).clip(-1, 2))
    optical += haze * np.linspace(1.0, 0.0, len(optical), dtype=np.float32)[:, None, None] ** 2
    for band in optical:
        band *= 1 + 0.025 * rng.standard_normal(band.shape, dtype=np.float32)
        band += 0.003 * rng.standard_normal(band.shape, dtype=np.float32)
    radar = [(_speckled(rng, db) + 30) / 30 for db in _radar(world, pixel)]
    return np.concatenate([optical.clip(0, 1), np.stack(radar).clip(0, 1)]).astype(np.float32)


def _optical(world: World, pixel: float) -> np.ndarray:
    closed = 1 - np.exp(-0.75 * leaf_area(world.height, world.cover))
    below = 1 - world.water - world.built * (1 - world.water)
    shares = {
        LEAVES: closed * below,
        CROP: (1 - closed) * world.crop * below,
        SOIL: (1 - closed) * (1 - world.crop) * below,
        WATER: world.water,
        BUILT: world.built * (1 - world.water),
    }
    # Tall uneven crowns shade each other; leaves scatter near infrared so strongly that shade there is pale.
    shade = 0.40 * closed * (1 - np.exp(-world.height / 14))
    depth = np.array([1, 1, 1, 1, 0.9, 0.35, 0.2, 0.2, 0.2, 0.25, 0.9, 1], np.float32)
    wet_soil = np.array([0.4] * 10 + [0.55, 0.6], np.float32)
    light = _illumination(world.elevation, pixel)
    out = np.empty((12, *world.height.shape), np.float32)
    for i in range(12):
        soil = SOIL[i] * (1 - wet_soil[i] * world.moisture)
        band = sum(share * (soil if surface is SOIL else surface[i]) for surface, share in shares.items())
        out[i] = band * (1 - depth[i] * shade) * light
    return out


def _illumination(elevation: np.ndarray, pixel: float) -> np.ndarray:
    """Direct light on the slope relative to flat ground, sun in the south-east at 50 degrees, softened by sky light."""
    south, east = np.gradient(elevation, pixel)
    sun = np.deg2rad(50.0)
    direct = np.sin(sun) + np.cos(sun) * (-(south + east)) / np.sqrt(2)
    direct /= np.sqrt(1 + south**2 + east**2) * np.sin(sun)
    return (0.45 + 0.55 * direct).clip(0.35, 1.6)


def _radar(world: World, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """VV and VH backscatter, dB: volume scattering rises with the canopy and saturates near 20 m."""
    canopy = world.cover * (1 - np.exp(-world.height / 9))
    ground_vv = -14.5 + 4.0 * world.moisture + 1.5 * world.crop
    ground_vh = -22.0 + 2.5 * world.moisture + 3.0 * world.crop
    vv = ground_vv + (-8.0 - ground_vv) * canopy
    vh = ground_vh + (-13.0 - ground_vh) * canopy
    vv += world.built * (-3.0 - vv) * 0.8
    vh += world.built * (-12.0 - vh) * 0.7
    vv += world.water * (-21.0 - vv)
    vh += world.water * (-28.0 - vh)
    facing = 3.0 * np.gradient(world.elevation, pixel, axis=1).clip(-0.5, 0.5)  # ascending orbits look to the east
    return vv + facing, vh + facing


def _speckled(rng: np.random.Generator, db: np.ndarray, looks: float = 40.0) -> np.ndarray:
    """Speckle of a seasonal composite: gamma-distributed power with so many looks (about 0.7 dB)."""
    return db + 10 * np.log10(rng.gamma(looks, 1 / looks, db.shape)).astype(np.float32)
