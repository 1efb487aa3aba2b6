"""Small GeoTIFFs, written at once: samples and synthetic products. Maps are `CogWriter`'s."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio

from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import gdal
from eozoo_core.run.written import write_bytes


def write_small(
    path: Path,
    values: np.ndarray,
    grid: Grid,
    bands: Sequence[Band] = (),
    nodata: float | None = None,
    tiles: int = 0,
    tags: dict[str, str] | None = None,
) -> Path:
    """Write ``values (C, H, W)`` as a GeoTIFF of their type and the folder that it lies in; return its path.

    nodata: what stands for missing; None = NaN for floats, none for integers. tiles: side in px of its compressed
    tiles; 0 = uncompressed strips, the fastest to read. Raises ZooError where it cannot be written.
    """
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"dtype": values.dtype.name, "crs": grid.crs, "transform": grid.transform}
    profile["nodata"] = np.nan if nodata is None and values.dtype.kind == "f" else nodata
    if tiles:
        profile |= {"compress": "deflate", "tiled": True, "blockxsize": tiles, "blockysize": tiles}
    with gdal(path, "cannot be written"), rasterio.MemoryFile() as memory:
        with memory.open(**profile) as out:
            out.write(values)
            if bands:
                out.descriptions, out.units = [band.name for band in bands], [band.unit for band in bands]
            out.update_tags(**(tags or {}))
        return write_bytes(path, bytes(memory.getbuffer()))
