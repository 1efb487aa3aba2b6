"""The pixels of a product: reflectance with clouds and missing data as NaN, all bands on the grid of the finest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.overlay import Overlay
from eozoo_core.raster.read import RasterReader, read_info
from eozoo_core.raster.sentinel2 import SPECIAL, Scaling

from eozoo_prithvi_refine.prepare.products import Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eozoo_prithvi_refine.settings import PrithviPrepareSettings

KM_PER_DEGREE = 111.195
_SCL_BAD = (0, 1, 3, 8, 9, 10)  # no data, defective, cloud shadow, cloud medium, cloud high, cirrus
_SCL_CLOUD = (3, 8, 9, 10)
_FMASK_CLOUD = 0b1110  # bits 1-3: cloud, adjacent to cloud, cloud shadow


def read_product(
    product: Product, scalings: Sequence[Scaling], how: PrithviPrepareSettings
) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Return reflectance ``(4, H, W)`` float32, NaN = missing or cloud; cloudy pixels ``(H, W)`` bool; the grid.

    ``scalings``: one per band. The grid is that of the band with the smallest pixels.
    """
    grid = grid_of(product)
    everything = grid.whole
    stored = np.stack([
        Overlay(grid, file, number, missing=SPECIAL if scaling.missing else ()).read(everything)
        for (file, number), scaling in zip(product.bands, scalings, strict=True)
    ])  # fmt: skip
    if all(scaling.level != 1 or scaling.offset == 0 for scaling in scalings):  # not where -0.1 may be a value
        stored[:, (stored <= 0).all(axis=0)] = np.nan  # 0 and -1 stand for no data in products without a nodata tag
    image = np.stack([scaling(band) for scaling, band in zip(scalings, stored, strict=True)])
    bad, cloudy = _clouds(product, image, grid, how)
    return np.where(bad, np.float32(np.nan), image).astype(np.float32), cloudy, grid


def grid_of(product: Product) -> Grid:
    """The grid of the band with the most pixels. Raises ZooError where bands without a place differ in size."""
    grids = [read_info(file).grid for file, _ in product.bands]
    grid = max(grids, key=lambda g: g.height * g.width)
    for (file, _), other in zip(product.bands, grids, strict=True):
        if grid.transform is None and (other.height, other.width) != (grid.height, grid.width):
            raise ZooError(
                f"{file}: {other.height} x {other.width} px beside {grid.height} x {grid.width} in {product.name}; "
                "without CRS and transform they cannot be laid over one another"
            )
    return grid


def _clouds(
    product: Product, image: np.ndarray, grid: Grid, how: PrithviPrepareSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels to be masked and pixels that are cloud, by SCL, Fmask or brightness in the blue."""
    if product.quality is None:
        cloudy = image[0] > how.cloud_blue if how.cloud_blue is not None else np.zeros(image.shape[1:], bool)
        return cloudy, cloudy
    kind = product.quality[2]
    codes = np.nan_to_num(_codes(product, grid), nan=0 if kind == "SCL" else 255).astype(int)
    if kind == "SCL":
        return np.isin(codes, _SCL_BAD), np.isin(codes, _SCL_CLOUD)
    return (codes == 255) | (codes & _FMASK_CLOUD > 0), (codes != 255) & (codes & _FMASK_CLOUD > 0)


def _codes(product: Product, grid: Grid) -> np.ndarray:
    """Classes of the product on its grid (H, W) float32: by place, or without one in whole steps."""
    assert product.quality is not None
    file, number, _ = product.quality
    if grid.transform is not None:
        return Overlay(grid, file, number, classes=True).read(grid.whole)
    with RasterReader(file) as reader:
        size = reader.info.grid
        codes = reader.read(size.whole, [number])[0]
    if (grid.height % size.height, grid.width % size.width) != (0, 0):
        raise ZooError(f"{file}: {size.height} x {size.width} px do not divide those of the bands")
    return np.kron(codes, np.ones((grid.height // size.height, grid.width // size.width), np.float32))


def check_resolution(products: list[Product]) -> None:
    """Raise ZooError where pixel sizes of two products differ by more than a quarter."""
    sizes = {product.name: pixel_metres(grid_of(product)) for product in products}
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
