"""Target grids: from settings to rows, columns, CRS and transform, checked."""

from __future__ import annotations

from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, same_grid
from eozoo_core.raster.read import read_info
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.transform import from_origin

from eozoo_gedi_sparse.prepare.settings import GridSettings


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
    """Raise ZooError unless both grids have the same pixels."""
    if not same_grid(a, b):
        raise ZooError(
            f"{a_name}: {a.height} x {a.width} px, CRS {a.crs}, is not on the grid of {b_name} "
            f"({b.height} x {b.width} px, CRS {b.crs}); resample it"
        )
