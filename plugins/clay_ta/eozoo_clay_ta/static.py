"""What does not change with the hour: elevation, land/sea mask and land cover, brought onto the grid.

Kept as one GeoTIFF of three bands per year: dem (m), lsmask (1 = land, 0 = sea), landcover (class 0..16, NaN = none).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.grid import KoGrid

CLASSES = 17
NAMES = {  # International Geosphere-Biosphere Programme, as in MCD12Q1 LC_Type1, from class 1 on
    1: "evergreen needleleaf forest", 2: "evergreen broadleaf forest", 3: "deciduous needleleaf forest",
    4: "deciduous broadleaf forest", 5: "mixed forest", 6: "closed shrubland", 7: "open shrubland",
    8: "woody savanna", 9: "savanna", 10: "grassland", 11: "wetland", 12: "cropland", 13: "urban",
    14: "cropland mosaic", 15: "snow and ice", 16: "barren", 17: "water",
}  # fmt: skip


def class_name(index: int, base: int) -> str:
    """Return the name of one-hot place ``index``: with base 0 (Collection 5) water is 0, with base 1 it is 17."""
    return NAMES[index + 1] if base == 1 else NAMES[index or 17]


@dataclass(frozen=True)
class Static:
    """dem (H, W) m, lsmask (H, W) 0 or 1, landcover (H, W) 0..16; all float32, NaN = missing."""

    dem: np.ndarray
    lsmask: np.ndarray
    landcover: np.ndarray

    def classes(self) -> np.ndarray:
        """Land cover as int16, -1 = none."""
        return np.where(np.isnan(self.landcover), -1, self.landcover).astype(np.int16)


def build_static(dem: Path, lsmask: Path | None, landcover: Path, base: int, grid: KoGrid) -> Static:
    """Warp the three products onto the grid. Without a mask, what is not water in the land cover is land.

    Elevation missing at sea is 0 m; missing on land it stays missing. Raises ZooError naming the file.
    """
    classes = landcover_index(warp(landcover, grid, "majority"), base, landcover)
    water = 16 if base == 1 else 0
    if lsmask is None:
        mask = np.where(np.isnan(classes), np.nan, classes != water)
    else:
        mask = warp(lsmask, grid, "majority")
        if not np.isin(mask[~np.isnan(mask)], (0, 1)).all():
            raise ZooError(f"{lsmask}: a land/sea mask holds 0 (sea) and 1 (land) only")
    height = warp(dem, grid, "mean")
    height = np.where(np.isnan(height) & (mask == 0), 0, height)
    return Static(*(a.astype(np.float32) for a in (height, mask, classes)))


def landcover_index(values: np.ndarray, base: int, path: Path) -> np.ndarray:
    """Class codes -> 0..16; codes outside (255 = unclassified) are NaN. A wrong base is an error where it shows."""
    if base == 0 and (values == 17).any():
        raise ZooError(f"{path}: holds class 17, so its classes count from 1; set data.landcover_base=1")
    if base == 1 and (values == 0).any():
        raise ZooError(f"{path}: holds class 0, so its classes count from 0; set data.landcover_base=0")
    index = values - base
    return np.where((index >= 0) & (index < CLASSES), index, np.nan)


def warp(path: Path, grid: KoGrid, how: str) -> np.ndarray:
    """Return band 1 of a raster on the grid ``(H, W)`` float32, NaN = missing. ``how``: "mean" or "majority".

    A ``.npy`` file must lie on the grid already. Majority means the most frequent class of the pixels that fall into a
    grid cell; classes are never averaged. Raises ZooError for a raster without georeference or that misses the grid.
    """
    from eozoo_core.raster.read import open_reader
    from eozoo_core.raster.tiles import Window

    with open_reader(path) as reader:
        source = reader.info.grid
        values = reader.read(Window(0, 0, source.height, source.width), reader.info.bands[:1])[0]
    if source.crs is None or source.transform is None:
        grid.check_shape(values.shape, path)
        return values
    warped = _reproject(values, source, grid, how)
    if np.isnan(warped).all():
        raise ZooError(f"{path}: no pixel of it lies on the grid; is it of another region?")
    return warped


def _reproject(values: np.ndarray, source: object, grid: KoGrid, how: str) -> np.ndarray:
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    native, _, _ = calculate_default_transform(source.crs, grid.crs, source.width, source.height, *_bounds(source))
    finer = abs(native.a) < grid.metres
    method = (
        (Resampling.mode if finer else Resampling.nearest)
        if how == "majority"
        else (Resampling.average if finer else Resampling.bilinear)
    )
    warped = np.full((grid.height, grid.width), np.nan, np.float32)
    reproject(
        values, warped, src_transform=source.transform, src_crs=source.crs, src_nodata=np.nan,
        dst_transform=grid.raster.transform, dst_crs=grid.crs, dst_nodata=np.nan, resampling=method,
    )  # fmt: skip
    return warped


def _bounds(source: object) -> tuple[float, float, float, float]:
    from rasterio.transform import array_bounds

    return array_bounds(source.height, source.width, source.transform)


def static_file(folder: Path, year: int) -> Path:
    """Return the place of a year's static fields in ``folder``."""
    return Path(folder) / f"static_{year}.tif"


def write_static(static: Static, path: Path, grid: KoGrid) -> Path:
    """Write the three bands as a cloud-optimised GeoTIFF."""
    from eozoo_core.raster.cog import Band, CogWriter

    bands = [Band("dem", "m"), Band("lsmask", "1"), Band("landcover", "class 0..16")]
    with CogWriter(path, grid.raster, bands) as writer:
        writer.write_rows(0, np.stack([static.dem, static.lsmask, static.landcover]))
    return path


def read_static(path: Path, grid: KoGrid) -> Static:
    """Read what ``write_static`` wrote. Raises ZooError where it is missing or of another grid."""
    from eozoo_core.raster.read import RasterReader
    from eozoo_core.raster.tiles import Window

    with RasterReader(path) as reader:
        grid.check_shape((reader.info.grid.height, reader.info.grid.width), path)
        return Static(
            *reader.read(Window(0, 0, grid.height, grid.width), reader.info.select(["dem", "lsmask", "landcover"]))
        )
