"""Where on Earth rasters lie, for the description of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eozoo_core.raster import Grid
    from eozoo_core.run import Run


def note_area(run: Run, grids: Iterable[Grid]) -> None:
    """Record in run.json, as "area", the box of ``area_of``; nothing where no grid is georeferenced."""
    if (box := area_of(grids)) is not None:
        run.note("area", box)


def area_of(grids: Iterable[Grid]) -> list[float] | None:
    """Return [west, south, east, north] in degrees (WGS84) around all ``grids`` that are georeferenced; None for none.

    A box across the antimeridian is given as -180..180: it holds them, and more.
    """
    from rasterio.transform import array_bounds
    from rasterio.warp import transform_bounds

    boxes = {
        transform_bounds(grid.crs, "EPSG:4326", *array_bounds(grid.height, grid.width, grid.transform))
        for grid in grids
        if grid.crs is not None and grid.transform is not None
    }
    if not boxes:
        return None
    west, south, east, north = zip(*boxes)
    crosses = any(w > e for w, e in zip(west, east))
    box = [-180.0 if crosses else min(west), min(south), 180.0 if crosses else max(east), max(north)]
    return [round(value, 6) for value in box]
