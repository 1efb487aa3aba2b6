"""The KO grid of GK-2A: Lambert conformal conic, WGS84, 2 km pixels, or a part of it.

Row 0 is north, column 0 west; ``pixel_x`` is the column and ``pixel_y`` the row, 0-based, of the pixel's centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.georeference import Grid

PROJECTION = "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=38 +lon_0=126 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs"
WINDOW = 9  # pixels: the side of a sample
HALF = WINDOW // 2


@dataclass(frozen=True)
class KoGrid:
    """``width`` x ``height`` pixels of ``metres``; ``left`` and ``top`` are the outer edges in projected metres."""

    width: int = 900
    height: int = 900
    left: float = -900_000.0
    top: float = 900_000.0
    metres: float = 2000.0

    @cached_property
    def crs(self) -> object:
        """The rasterio CRS."""
        from rasterio.crs import CRS

        return CRS.from_string(PROJECTION)

    @cached_property
    def raster(self) -> Grid:
        """The grid as core's rasters know it, for maps and for warping."""
        from rasterio import Affine

        return Grid(self.height, self.width, self.crs, Affine(self.metres, 0, self.left, 0, -self.metres, self.top))

    def pixel_of(self, lat: np.ndarray, lon: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return fractional (column, row) of places in degrees; whole numbers are pixel centres."""
        from rasterio.warp import transform

        lat, lon = np.broadcast_arrays(np.asarray(lat, np.float64), np.asarray(lon, np.float64))
        east, north = (np.array(v) for v in transform("EPSG:4326", self.crs, lon.ravel(), lat.ravel()))
        col = (east - self.left) / self.metres - 0.5
        row = (self.top - north) / self.metres - 0.5
        return col.reshape(lat.shape), row.reshape(lat.shape)

    def place_of(self, col: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (latitude, longitude) in degrees of (fractional) columns and rows."""
        from rasterio.warp import transform

        col, row = np.broadcast_arrays(np.asarray(col, np.float64), np.asarray(row, np.float64))
        east = self.left + (col.ravel() + 0.5) * self.metres
        north = self.top - (row.ravel() + 0.5) * self.metres
        lon, lat = (np.array(v) for v in transform(self.crs, "EPSG:4326", east, north))
        return lat.reshape(col.shape), lon.reshape(col.shape)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude (height, width) in degrees of every pixel centre."""
        return self.place_of(*np.meshgrid(np.arange(self.width), np.arange(self.height)))

    def holds_window(self, col: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Whether the 9 x 9 window around integer (col, row) lies wholly inside."""
        return (col >= HALF) & (row >= HALF) & (col < self.width - HALF) & (row < self.height - HALF)

    def check_shape(self, shape: tuple[int, ...], path: object, factor: int = 1) -> None:
        """Raise ZooError unless ``shape`` is that of this grid with pixels ``factor`` times finer."""
        if tuple(shape[-2:]) != (self.height * factor, self.width * factor):
            raise ZooError(
                f"{path}: has {' x '.join(map(str, shape[-2:]))} pixels, the grid needs {self.height * factor} x "
                f"{self.width * factor}; set data.grid, or give files of the KO area"
            )
