"""The pixels of a product: reflectance with clouds and missing data as NaN, on one grid or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window

from eozoo_prithvi_refine.prepare.products import Product, offset_of

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviPrepareSettings

KM_PER_DEGREE = 111.195
_SCL_BAD = (0, 1, 3, 8, 9, 10)  # no data, defective, cloud shadow, cloud medium, cloud high, cirrus
_SCL_CLOUD = (3, 8, 9, 10)
_FMASK_CLOUD = 0b1110  # bits 1-3: cloud, adjacent to cloud, cloud shadow


def read_product(product: Product, how: PrithviPrepareSettings) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Return reflectance ``(4, H, W)`` float32, NaN = missing or cloud; cloudy pixels ``(H, W)`` bool; the grid."""
    bands, grid = [], None
    for file, number in product.bands:
        with RasterReader(file) as reader:
            grid = grid or reader.info.grid
            _same_grid(product, grid, reader.info.grid, file)
            bands.append(reader.read(Window(0, 0, grid.height, grid.width), [number])[0])
    stored = np.stack(bands)
    stored[:, (stored <= 0).all(axis=0)] = np.nan  # 0 and -1 stand for no data in products without a nodata tag
    image = (stored + np.float32(offset_of(product, how.offset))) * np.float32(how.scale)
    bad, cloudy = _clouds(product, image, grid, how)
    return np.where(bad, np.float32(np.nan), image).astype(np.float32), cloudy, grid


def _clouds(
    product: Product, image: np.ndarray, grid: Grid, how: PrithviPrepareSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels to be masked and pixels that are cloud, by SCL, Fmask or brightness in the blue."""
    if product.quality is None:
        cloudy = image[0] > how.cloud_blue if how.cloud_blue is not None else np.zeros(image.shape[1:], bool)
        return cloudy, cloudy
    file, number, kind = product.quality
    with RasterReader(file) as reader:
        size = reader.info.grid
        codes = reader.read(Window(0, 0, size.height, size.width), [number])[0]
    if (grid.height % size.height, grid.width % size.width) != (0, 0):
        raise ZooError(f"{file}: {size.height} x {size.width} px do not divide those of the bands")
    step = (grid.height // size.height, grid.width // size.width)
    codes = np.nan_to_num(np.kron(codes, np.ones(step, np.float32)), nan=0 if kind == "SCL" else 255).astype(int)
    if kind == "SCL":
        return np.isin(codes, _SCL_BAD), np.isin(codes, _SCL_CLOUD)
    return (codes == 255) | (codes & _FMASK_CLOUD > 0), (codes != 255) & (codes & _FMASK_CLOUD > 0)


def _same_grid(product: Product, first: Grid, other: Grid, file: Path) -> None:
    if (first.height, first.width) != (other.height, other.width):
        raise ZooError(
            f"{file}: {other.height} x {other.width} px beside {first.height} x {first.width} in {product.name}; "
            "resolutions are not mixed, resample the band first"
        )
    if first.transform != other.transform or first.crs != other.crs:
        raise ZooError(f"{file}: lies on another grid than the first band of {product.name}; resample it first")


def check_resolution(products: list[Product]) -> None:
    """Raise ZooError where pixel sizes of two products differ by more than a quarter."""
    sizes = {}
    for product in products:
        with RasterReader(product.bands[0][0]) as reader:
            sizes[product.name] = pixel_metres(reader.info.grid)
    known = {n: s for n, s in sizes.items() if s is not None}
    if known and max(known.values()) > 1.25 * min(known.values()):
        fine, coarse = min(known, key=known.get), max(known, key=known.get)
        raise ZooError(
            f"mixed resolutions: {fine} has {known[fine]:.1f} m and {coarse} {known[coarse]:.1f} m pixels; "
            "prepare them into data sets of their own"
        )


def pixel_metres(grid: Grid) -> float | None:
    """Return the side of a pixel in m (geometric mean; degrees at their latitude), None without georeference."""
    if grid.transform is None:
        return None
    area = abs(grid.transform.a * grid.transform.e - grid.transform.b * grid.transform.d)
    if grid.crs is not None and grid.crs.is_geographic:
        latitude = grid.transform.f + grid.transform.e * grid.height / 2
        return math.sqrt(area * math.cos(math.radians(latitude))) * KM_PER_DEGREE * 1000
    return math.sqrt(area)
