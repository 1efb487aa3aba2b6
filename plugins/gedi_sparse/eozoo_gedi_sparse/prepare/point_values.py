"""A raster's values at points: reads only the strips that hold points, so a country-wide raster is no problem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, apply
from eozoo_core.raster.read import open_reader
from eozoo_core.raster.tiles import Window
from rasterio.warp import transform

from eozoo_gedi_sparse.prepare.shots import Shots

_ROWS = 512


def to_pixels(grid: Grid, lon: np.ndarray, lat: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (n,) int64 of the pixel that holds each point; outside the grid they are below 0 or too large.

    A point on the border of two pixels belongs to the lower right one. Raises ZooError for a raster without CRS.
    """
    if grid.crs is None or grid.transform is None:
        raise ZooError(f"{where}: has no CRS; shots cannot be placed on it")
    if len(lon) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    x, y = (np.asarray(a) for a in transform("EPSG:4326", grid.crs, lon, lat))
    col, row = apply(~grid.transform, x, y)
    # Points beyond the projection's reach come back infinite: place them outside.
    col, row = (np.where(np.isfinite(a), a, -1.0).clip(-1, 2**40) for a in (col, row))
    return np.floor(row).astype(np.int64), np.floor(col).astype(np.int64)


def sample_raster(path: Path, shots: Shots) -> np.ndarray:
    """Band 1 of a raster at each shot's centre, (n,) float64, NaN outside the raster and where it has no data."""
    values = np.full(len(shots), np.nan)
    with open_reader(path) as reader:
        grid = reader.info.grid
        row, col = to_pixels(grid, shots.lon, shots.lat, str(path))
        inside = np.flatnonzero((row >= 0) & (row < grid.height) & (col >= 0) & (col < grid.width))
        inside = inside[np.argsort(row[inside], kind="stable")]
        strips = np.split(inside, np.flatnonzero(np.diff(row[inside] // _ROWS)) + 1) if inside.size else []
        for some in strips:
            top, left = int(row[some].min()), int(col[some].min())
            window = Window(top, left, int(row[some].max()) - top + 1, int(col[some].max()) - left + 1)
            values[some] = reader.read(window, reader.info.bands[:1])[0][row[some] - top, col[some] - left]
    return values
