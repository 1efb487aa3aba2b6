"""Grids: the target of a step, from its settings and checked; and which of its pixels hold which shots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, apply, misfit, same_grid
from eozoo_core.raster.points import transform_points
from eozoo_core.raster.read import open_reader, read_info
from eozoo_core.raster.tiles import Window
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import from_origin

from eozoo_gedi_sparse.prepare.settings import GridSettings
from eozoo_gedi_sparse.prepare.shots import Shots

_ROWS = 512  # of a strip: only strips that hold shots are read, so a country-wide raster is no problem


def make_grid(settings: GridSettings, field: str) -> Grid:
    """Return the grid that ``settings`` describe; ``field`` names them in messages.

    Bounds are widened to whole pixels. Raises ZooError for what is missing and a CRS whose unit is not the metre.
    """
    if settings.like is not None:
        grid = read_info(settings.like).grid
        require_metres(grid, str(settings.like))
        return grid
    if settings.crs is None or settings.bounds is None:
        raise ZooError(f"{field}: set {field}.like=RASTER, or {field}.crs and {field}.bounds")
    try:
        crs = CRS.from_user_input(settings.crs)
    except (CRSError, ValueError) as error:
        raise ZooError(f"{field}.crs: {settings.crs!r} is no known CRS ({error})") from None
    west, south, east, north = settings.bounds
    width, height = (round((b - a) / settings.pixel + 0.4999) for a, b in ((west, east), (south, north)))
    if width < 1 or height < 1:
        raise ZooError(f"{field}.bounds: {list(settings.bounds)} hold no pixel; give west, south, east, north")
    grid = Grid(height, width, crs, from_origin(west, north, settings.pixel, settings.pixel))
    require_metres(grid, f"{field}.crs {settings.crs}")
    return grid


def require_metres(grid: Grid, where: str) -> None:
    """Raise ZooError unless the grid has a CRS in metres: footprints, averages and areas are in metres."""
    if grid.crs is None or grid.transform is None:
        raise ZooError(f"{where}: has no CRS; give a raster in a CRS in metres (UTM, for example)")
    unit, factor = ("degree", 0.0) if grid.crs.is_geographic else grid.crs.linear_units_factor
    if factor != 1.0:
        raise ZooError(f"{where}: its CRS is in {unit}, not in metres; reproject it (to UTM, for example)")


def require_same_grid(a: Grid, b: Grid, a_name: str | Path, b_name: str | Path) -> None:
    """Raise ZooError unless both grids are georeferenced and have the same pixels."""
    if not same_grid(a, b):
        raise ZooError(f"{a_name}: is not on the grid of {b_name}: {misfit(a, b, 'that') or 'it has no place'}")


def to_pixels(grid: Grid, lon: np.ndarray, lat: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and column (n,) int64 of the pixel that holds each point; outside the grid they are below 0 or too large.

    A point on the border of two pixels belongs to the lower right one. Raises ZooError for a raster without CRS.
    """
    if grid.crs is None or grid.transform is None:
        raise ZooError(f"{where}: has no CRS; shots cannot be placed on it")
    if len(lon) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    x, y = transform_points("EPSG:4326", grid.crs, lon, lat)
    if grid.crs.is_geographic:  # the raster may lie across the date line, or count longitudes from 0 to 360
        middle = apply(grid.transform, grid.width / 2, grid.height / 2)[0]
        x = middle + (x - middle + 180) % 360 - 180
    col, row = apply(~grid.transform, x, y)
    # What has no place in the raster's CRS is placed outside.
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
