"""A synthetic country for the demonstration: fields, forest, water and towns through the months."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eozoo_prithvi_refine.settings import BANDS
from eozoo_prithvi_refine.tile_files import tile_arrays, write_npz

# Reflectance of blue, green, red, NIR: bare soil, full green vegetation, water, town.
_SOIL = np.array([0.08, 0.11, 0.15, 0.22])
_GREEN = np.array([0.03, 0.06, 0.03, 0.42])
_WATER = np.array([0.04, 0.04, 0.025, 0.012])
_TOWN = np.array([0.13, 0.14, 0.15, 0.19])
_FIELD_PX = 12


@dataclass(frozen=True)
class World:
    """What was written: the data folder and a GeoTIFF scene of June, biome 4."""

    data_dir: Path
    scene: Path


def write_world(root: Path, size: int = 64, train: int = 48, held_out: int = 12) -> World:
    """Write tiles (``train`` of them, and ``held_out`` each for val and test) of places of their own, and a scene."""
    for split, count, first in (("train", train, 0), ("val", held_out, 1000), ("test", held_out, 2000)):
        for i in range(count):
            month, biome = 1 + (5 * i) % 12, (4, 8, 12)[i % 3]
            image = landscape(first + i, size, size, month, biome)
            if i % 6 == 0:
                image[:, : size // 5, size // 2 :] = np.nan  # a corner that no orbit saw
            meta = {"date": f"2021{month:02d}15", "place": f"{split}_{i}", "synthetic": True}
            write_npz(root / "tiles" / split / f"tile_{i:04d}.npz", tile_arrays(image, month, biome), meta)
    return World(root / "tiles", _write_scene(root / "scene_20210615.tif"))


def landscape(seed: int, height: int, width: int, month: int, biome: int) -> np.ndarray:
    """Return ``(4, height, width)`` float32 reflectance of a place (``seed``) in a month.

    Fields of one crop each, greenest in June to August; forest along smooth contours; a river; a town. Biome moves the
    green season (12, a dry one, is green in winter) and the brightness of the soil.
    """
    random = np.random.default_rng(seed)
    crop = _fields(random, height, width)
    season = 0.5 - 0.5 * math.cos(2 * math.pi * (month - 1.5) / 12)
    season = 1 - season if biome == 12 else season
    cover = np.clip(season * (0.4 + 0.8 * crop), 0.02, 0.98)
    soil = _SOIL * (1.25 if biome == 12 else 1.0)
    image = soil[:, None, None] * (1 - cover) + _GREEN[:, None, None] * cover
    hills = _smooth(random, height, width, 9)
    forest = np.clip(0.85 * (0.6 + 0.4 * season), 0, 1)
    wooded = soil[:, None] * (1 - forest) * 0.6 + _GREEN[:, None] * forest * 0.75
    image[:, hills > 0.8] = np.broadcast_to(wooded, (4, int((hills > 0.8).sum())))
    rows, cols = np.mgrid[:height, :width]
    course = width * (0.5 + 0.25 * np.sin(rows / 17 + random.uniform(0, 6))) + random.uniform(-width / 4, width / 4)
    image[:, np.abs(cols - course) < 2.2] = _WATER[:, None]
    centre = random.uniform(0.2, 0.8, 2) * (height, width)
    town = (np.hypot(rows - centre[0], cols - centre[1]) < 9) & (random.random((height, width)) < 0.7)
    image[:, town] = _TOWN[:, None]
    texture = 1 + 0.05 * random.normal(size=(height, width)) + 0.05 * _smooth(random, height, width, 4)
    return np.maximum(image * texture + 0.002 * random.normal(size=image.shape), 0.001).astype(np.float32)


def _fields(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A patchwork of fields, each with its crop's vigour 0..1."""
    rows, cols = np.mgrid[:height, :width]
    angle = random.uniform(0, math.pi)
    u = (rows * math.cos(angle) + cols * math.sin(angle)) / _FIELD_PX
    v = (cols * math.cos(angle) - rows * math.sin(angle)) / (1.6 * _FIELD_PX)
    u, v = np.floor(u).astype(int), np.floor(v + 0.5 * (np.floor(u) % 2)).astype(int)
    vigour = random.random((64, 64))
    return vigour[u % 64, v % 64]


def _smooth(random: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(random.normal(size=(height, width)), sigma, mode="wrap")
    return field / max(field.std(), 1e-9)


def _write_scene(path: Path) -> Path:
    """A degraded scene of 150 x 170 px with a hole, as a stage-1 generator would give it."""
    import rasterio
    from eozoo_core.raster.cog import Band
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.raster.small import write_small
    from rasterio.crs import CRS

    from eozoo_prithvi_refine.degradation import degrade
    from eozoo_prithvi_refine.settings import DegradationSettings

    image = landscape(3000, 150, 170, 6, 4)
    image[:, 20:40, 100:130] = np.nan
    image = degrade(image, DegradationSettings(), np.random.default_rng(1))
    place = rasterio.Affine(10, 0, 600000, 0, -10, 5600000)
    grid = Grid(150, 170, CRS.from_epsg(32631), place)
    return write_small(path, image, grid, [Band(name) for name in BANDS])
