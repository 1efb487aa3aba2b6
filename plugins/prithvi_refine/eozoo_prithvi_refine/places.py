"""Where a tile lies: its place, its spot, its biome."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window

from eozoo_prithvi_refine.coordinates import at, known, location_of
from eozoo_prithvi_refine.prepare.pixels import KM_PER_DEGREE
from eozoo_prithvi_refine.prepare.products import Product
from eozoo_prithvi_refine.settings import BIOMES

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviPrepareSettings


def place_of(product: Product, grid: Grid, window: Window, how: PrithviPrepareSettings) -> tuple[str, str]:
    """Return the place (a square of ``block_km``) and the spot (the very tile) as names that dates share."""
    lat, lon = location = location_of(grid, window)
    if not known(location):
        return product.name.replace(product.date, "") or product.name, f"{product.name}:{window.row}:{window.col}"
    across = KM_PER_DEGREE * math.cos(math.radians(lat))
    block = (math.floor(lat * KM_PER_DEGREE / how.block_km), math.floor(lon * across / how.block_km))
    return f"{block[0]}_{block[1]}", f"{lat:.5f}_{lon:.5f}"


def biome_of(product: Product, grid: Grid, window: Window, how: PrithviPrepareSettings) -> int:
    """Return the biome code of a tile: the commonest code of ``biome_raster`` in it."""
    assert how.biome_raster is not None
    codes = _sample_raster(how.biome_raster, grid, window)
    codes = codes[np.isfinite(codes)]
    if not codes.size:
        raise ZooError(f"{how.biome_raster}: has no value where {product.name} lies; set prepare.biome")
    values, counts = np.unique(codes, return_counts=True)
    code = float(values[counts.argmax()])
    if code != int(code) or not 0 <= code < BIOMES:
        raise ZooError(f"{how.biome_raster}: code {code:g} is not a biome 0-{BIOMES - 1}")
    return int(code)


def _sample_raster(path: Path, grid: Grid, window: Window) -> np.ndarray:
    """Values of another raster at a lattice of 5 x 5 points of a tile."""
    from rasterio.warp import transform

    with RasterReader(path) as reader:
        other = reader.info.grid
        if other.crs is None or grid.crs is None or grid.transform is None:
            raise ZooError(f"{path}: raster and products need a CRS to be laid over one another; set prepare.biome")
        rows, cols = np.meshgrid((np.arange(5) + 0.5) / 5 * window.height, (np.arange(5) + 0.5) / 5 * window.width)
        points = [at(grid.transform, window.col + c, window.row + r) for r, c in zip(rows.ravel(), cols.ravel())]
        xs, ys = transform(grid.crs, other.crs, [p[0] for p in points], [p[1] for p in points])
        values = []
        for x, y in zip(xs, ys):
            col, row = (math.floor(v) for v in at(~other.transform, x, y))
            if 0 <= row < other.height and 0 <= col < other.width:
                values.append(reader.read(Window(row, col, 1, 1), [1]).item())
    return np.array(values, np.float64)
