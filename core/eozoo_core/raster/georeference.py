"""Where on Earth rasters lie: their grid, and the area of many in degrees."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import rasterio
    from rasterio import Affine
    from rasterio.crs import CRS

    from eozoo_core.raster.tiles import Window

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie: rows and columns, and CRS and transform (None = not georeferenced)."""

    height: int
    width: int
    crs: CRS | None = None
    transform: rasterio.Affine | None = None

    @property
    def whole(self) -> Window:
        """All of its pixels."""
        from eozoo_core.raster.tiles import Window

        return Window(0, 0, self.height, self.width)


def area_of(grids: Iterable[Grid]) -> list[float] | None:
    """Return [west, south, east, north] in degrees (WGS84) around all ``grids`` that are georeferenced; None for none.

    A box across the antimeridian is given as -180..180: it holds them, and more. A grid that `degrees_of` cannot place
    counts as not georeferenced.
    """
    from rasterio.transform import array_bounds

    placed = (grid for grid in grids if grid.crs is not None and grid.transform is not None)
    found = {degrees_of(grid.crs, array_bounds(grid.height, grid.width, grid.transform)) for grid in placed}
    boxes = found - {None}
    if not boxes:
        return None
    west, south, east, north = zip(*boxes)
    crosses = any(w > e for w, e in zip(west, east))
    box = [-180.0 if crosses else min(west), min(south), 180.0 if crosses else max(east), max(north)]
    return [round(value, 6) for value in box]


def degrees_of(crs: CRS, box: Box) -> Box | None:
    """Return ``box`` (left, bottom, right, top in the unit of ``crs``) as west, south, east, north, degrees (WGS84).

    West > east means across the antimeridian. None where it is nowhere on Earth: a local system, another
    planet, or a disk with the space around it.
    """
    from rasterio._err import CPLE_BaseError  # some of rasterio's calls raise it unwrapped
    from rasterio.errors import CRSError
    from rasterio.warp import transform_bounds

    # Of a local system GDAL would look for a way to the Earth, and write about it.
    if not (crs.is_projected or crs.is_geographic) or not all(map(math.isfinite, box)):
        return None
    try:
        found = transform_bounds(crs, "EPSG:4326", *box)
    except (CRSError, CPLE_BaseError):  # of another planet
        return None
    return found if all(map(math.isfinite, found)) else None


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids are georeferenced and have the same pixels, to a hundredth of a pixel."""
    return a.transform is not None and b.transform is not None and not misfit(a, b, "b")


def misfit(a: Grid, b: Grid, name: str) -> str:
    """Say how ``a`` differs from ``b``, which messages call ``name``; "" = they have the same pixels.

    Of grids that are not georeferenced only the sizes are compared. Transforms may differ in their last digits: by a
    hundredth of a pixel at three corners.
    """
    if (a.height, a.width) != (b.height, b.width):
        return f"is {a.height} x {a.width} px, {name} {b.height} x {b.width}"
    if a.transform is None or b.transform is None:
        return ""
    if a.crs != b.crs:
        return f"has CRS {a.crs}, {name} {b.crs}; reproject one of them"
    for corner in ((0, 0), (a.width, 0), (0, a.height)):
        col, row = apply(~b.transform, *apply(a.transform, *corner))
        if abs(col - corner[0]) > 0.01 or abs(row - corner[1]) > 0.01:
            off = f"{col - corner[0]:+.2f} columns and {row - corner[1]:+.2f} rows"
            return f"lies {off} off {name}; resample one of them"
    return ""


def part_of(grid: Grid, window: Window) -> Grid:
    """Return the grid of a window of a raster; not georeferenced where the raster is not."""
    t = grid.transform
    if t is not None:
        x, y = apply(t, window.col, window.row)
        t = type(t)(t.a, t.b, x, t.d, t.e, y)
    return Grid(window.height, window.width, grid.crs, t)


def apply(t: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    """Transform numbers or arrays: columns and rows to coordinates, or back with the inverse."""
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
