"""Bands of several resolutions on one grid: 10, 20 and 60 m of one product, classes and reflectance alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, misfit
from eozoo_core.raster.mosaic import Mosaic
from eozoo_core.raster.read import RasterReader, read_info
from eozoo_core.raster.tiles import Window


class Overlay:
    """One band of a raster, read by window on ``grid``.

    A raster on that very grid is read as it is. Else classes are taken from the nearest pixel; values are averaged onto
    coarser pixels and interpolated (bilinear) onto finer ones. Missing pixels enter no kernel, and where the nearest
    pixel is missing, so is the result (where values are averaged: where all pixels under it are). ``zero_is_missing``:
    the stored value 0 is no data (Sentinel-2). Raises ZooError for a raster that does not reach over ``grid``, to a
    pixel of its own.
    """

    def __init__(self, grid: Grid, path: Path, band: int, classes: bool = False, zero_is_missing: bool = False):
        self._grid, self._path, self._band = grid, path, band
        self._zero = (0.0,) if zero_is_missing else ()
        own = read_info(path).grid
        off = misfit(own, grid, "the grid")
        self._mosaics: list[Mosaic] = []
        if not off:
            return
        if not _covers(own, grid):
            raise ZooError(f"{path}: {off}, and does not cover the same area; cut the files to one area first")
        coarser = grid.transform.a > 1.01 * own.transform.a and grid.crs == own.crs
        kinds = ["nearest"] if classes else ["average"] if coarser else ["bilinear", "nearest"]
        for kind in kinds:
            mosaic = Mosaic(grid, kind, zero_is_missing)
            mosaic.add(path, (band,), lambda values: values)
            self._mosaics.append(mosaic)

    def read(self, window: Window) -> np.ndarray:
        """Return ``(height, width)`` float32 of a window of the grid, values as a reader gives them, NaN = missing."""
        if not self._mosaics:
            with RasterReader(self._path, self._zero) as reader:
                return reader.read(window, (self._band,))[0]
        found = [mosaic.read(window, 1)[0] for mosaic in self._mosaics]
        return np.where(np.isnan(found[-1]), np.float32(np.nan), found[0])


def _covers(own: Grid, grid: Grid) -> bool:
    """Whether ``own`` reaches over ``grid``, to a pixel of its own."""
    if own.crs is None or grid.crs is None or own.transform is None or grid.transform is None:
        return False
    a = array_bounds(own.height, own.width, own.transform)
    b = transform_bounds(grid.crs, own.crs, *array_bounds(grid.height, grid.width, grid.transform))
    near = 1.01 * max(abs(own.transform.a), abs(own.transform.e))
    return a[0] <= b[0] + near and a[1] <= b[1] + near and a[2] >= b[2] - near and a[3] >= b[3] - near
