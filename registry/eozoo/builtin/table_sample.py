"""A made-up table of 800 plots, and a table and a raster to predict: nothing of it was observed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.small import write_small
from eozoo_core.run.written import write_table
from eozoo_core.task import Arrays
from rasterio import Affine
from rasterio.crs import CRS

BANDS = ("blue", "green", "red", "nir")
_HEADER = ("plot", "lon", "lat", *(f"{band} [reflectance 0..1]" for band in BANDS))
_PLOTS, _SIDE = 800, 48


def write_table_world(root: Path) -> tuple[Path, Arrays]:
    """Write ROOT/samples.csv, ROOT/new/plots.csv and ROOT/new/scene.tif; return the folder ``new`` and some rows.

    Plots lie over 0.5 x 0.4 degrees; height is 0 to 30 m, cover is bare, shrub or forest by height; a twentieth of the
    reflectances is missing.
    """
    random = np.random.default_rng(0)
    lon, lat = random.uniform(15.0, 15.5, _PLOTS), random.uniform(48.0, 48.4, _PLOTS)
    height, bands = _plants(lon, lat, random)
    bands[:, random.random(_PLOTS) < 0.05] = np.nan
    for i in range(len(BANDS)):
        bands[i, random.random(_PLOTS) < 0.05] = np.nan
    cover = np.array(("bare", "shrub", "forest"))[np.digitize(height, (2.0, 10.0))]
    rows = [[f"p{i}", f"{lon[i]:.6f}", f"{lat[i]:.6f}", *map(_text, bands[:, i])] for i in range(_PLOTS)]
    labelled = [[*row, _text(height[i]), cover[i]] for i, row in enumerate(rows)]
    write_table(root / "samples.csv", [*_HEADER, "height [m]", "cover"], labelled)
    write_table(root / "new" / "plots.csv", _HEADER, rows[:40])
    step = 0.005
    grid = Grid(_SIDE, _SIDE, CRS.from_epsg(4326), Affine(step, 0.0, 15.1, 0.0, -step, 48.35))
    row, column = np.mgrid[:_SIDE, :_SIDE] + 0.5
    _, image = _plants(15.1 + column * step, 48.35 - row * step, random)
    write_small(root / "new" / "scene.tif", image.astype("float32"), grid, [Band(b, "reflectance 0..1") for b in BANDS])
    whole = np.isfinite(bands).all(axis=0)
    return root / "new", {"features": np.ascontiguousarray(bands.T[whole][:6].astype("float32"))}


def _plants(lon: np.ndarray, lat: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Height in m and reflectance 0..1 of BANDS (4, ...) at places in degrees."""
    field = np.sin(lon * 40) + np.cos(lat * 55) + np.sin((lon + lat) * 90) * 0.5
    height = np.clip(7.0 * field + 8.0 + random.normal(scale=1.0, size=lon.shape), 0.0, 30.0)
    leaves = 1.0 - np.exp(-height / 12.0)
    bare, forest = (0.08, 0.12, 0.18, 0.22), (0.03, 0.06, 0.03, 0.45)
    bands = np.stack([b + (f - b) * leaves for b, f in zip(bare, forest, strict=True)])
    return height, np.clip(bands + random.normal(scale=0.01, size=bands.shape), 0.0, 1.0)


def _text(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"
