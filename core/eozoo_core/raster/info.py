"""What a raster file says about itself, without its pixels: grid, bands, units, packing, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp

from eozoo_core.errors import ZooError
from eozoo_core.raster.bands import find_bands, named, preset
from eozoo_core.raster.georeference import Grid, apply

_LOOKED_AT = 512  # rows and columns in the middle of an alpha band that tell whether it is one
_MASK_LIKE = 0.9  # share of 0 and of the largest value in a band that hides pixels


@dataclass(frozen=True)
class RasterInfo:
    """What a raster file says about itself, without its pixels.

    Per band of the file: ``dtypes``, ``nodata`` (None = not declared), ``descriptions`` and ``units`` (both "" where
    the file says nothing), ``scales`` and ``offsets`` (value = stored * scale + offset; readers have applied them).
    ``data`` are the 1-based numbers of the bands that hold data, that is all but alpha. ``doubt``: why it is not clear
    whether one of the others is alpha; "" = it is clear. ``tags`` are those of the file.
    """

    path: str
    grid: Grid
    data: tuple[int, ...]
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    descriptions: tuple[str, ...]
    units: tuple[str, ...]
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    doubt: str = ""

    @property
    def bands(self) -> tuple[int, ...]:
        """The numbers (1-based) of the bands that hold data. Raises ZooError where that cannot be decided."""
        if self.doubt:
            raise ZooError(f"{self.path}: {self.doubt}")
        return self.data

    @property
    def count(self) -> int:
        """Bands of the file, alpha among them."""
        return len(self.dtypes)

    @property
    def packed(self) -> bool:
        """Whether a band says that its stored numbers have to be scaled."""
        return any(scale != 1 for scale in self.scales) or any(self.offsets)

    @property
    def notes(self) -> list[str]:
        """What a reader decided about the values, a line each: packing that it undoes, bands that hide pixels."""
        pairs = dict.fromkeys(zip(self.scales, self.offsets, strict=True))
        unpacked = [f"stored x {scale:g}" + (f" {offset:+g}" if offset else "") for scale, offset in pairs
                    if scale != 1 or offset]  # fmt: skip
        found = [f"values by the file's scale and offset tags: {', '.join(unpacked)}"] if unpacked else []
        alpha = sorted(set(range(1, self.count + 1)) - set(self.data))
        if alpha and not self.doubt:
            found.append(f"band {', '.join(map(str, alpha))} is alpha: it hides pixels")
        return found

    def named(self, names: Sequence[str], setting: str) -> RasterInfo:
        """Return the same with other names of the bands: all of the file, or all that hold data; see `bands.named`.

        A name for a band that is marked as alpha makes it data. Raises ZooError for another number of names.
        """
        everything = tuple(range(1, self.count + 1))
        chosen = everything if self.doubt or len(preset(names)) == self.count else self.data
        given = dict(zip(chosen, named(names, len(chosen), f"{self.path}: {setting}"), strict=True))
        return replace(self, descriptions=tuple(given.get(n, "") for n in everything), data=chosen, doubt="")

    def select(self, names: Sequence[str | int] | None) -> tuple[int, ...]:
        """Band numbers (1-based) of ``names``: numbers stay, strings are found by description or a name that means
        the same (see `bands.find_bands`); None = all data.

        Raises ZooError for a number or name that the file does not have.
        """
        if names is None:
            return self.bands
        for name in names:
            if not isinstance(name, str) and not 1 <= name <= self.count:
                raise ZooError(f"{self.path}: no band {name}; the file has bands 1 to {self.count}")
        texts = [name for name in names if isinstance(name, str)]
        try:
            found = iter(find_bands(self.descriptions, texts))
        except ZooError as error:
            raise ZooError(f"{self.path}: {error}") from None
        return tuple(next(found) + 1 if isinstance(name, str) else int(name) for name in names)


def info_of(path: str, dataset: rasterio.DatasetReader) -> RasterInfo:
    """Describe an open raster. Raises ZooError for one that holds no bands, complex numbers, or has no usable place."""
    if not dataset.count:
        names = [name.replace('"', "") for name in dataset.subdatasets]
        choice = f"{len(names)} variables; name one: {', '.join(names[:6])}" if names else "no band"
        raise ZooError(f"{path}: holds {choice}{' ...' if len(names) > 6 else ''}")
    for band, (scale, offset) in enumerate(zip(dataset.scales, dataset.offsets, strict=True), 1):
        if not (scale and isfinite(scale) and isfinite(offset)):
            raise ZooError(
                f"{path}: band {band} has the scale {scale:g} and the offset {offset:g}, which leave no value; "
                f"set them with gdal_edit.py -scale 1 -offset 0"
            )
    if any("complex" in dtype for dtype in dataset.dtypes):
        raise ZooError(f"{path}: holds complex numbers; convert it to real bands (amplitude, intensity) first")
    hidden = [i for i, kind in enumerate(dataset.colorinterp, 1) if kind == ColorInterp.alpha]
    doubtful = [band for band in hidden if not _looks_like_mask(dataset, band)]
    doubt = "" if not doubtful else (
        f"band {doubtful[0]} is marked as alpha but holds data; choose bands by number, or mark it: "
        f"gdal_edit.py -colorinterp_{doubtful[0]} undefined {Path(path).name}"
    )  # fmt: skip
    return RasterInfo(
        path,
        _grid_of(path, dataset),
        tuple(i for i in range(1, dataset.count + 1) if i not in hidden),
        tuple(dataset.dtypes),
        tuple(dataset.nodatavals),
        tuple(text or "" for text in dataset.descriptions),
        tuple(text or "" for text in dataset.units),
        tuple(dataset.scales),
        tuple(dataset.offsets),
        dataset.tags(),
        doubt,
    )


def _grid_of(path: str, dataset: rasterio.DatasetReader) -> Grid:
    """Where the raster lies. Raises ZooError where its place is told in a way that pixels cannot be placed by."""
    crs, transform = dataset.crs, dataset.transform
    if not transform.is_identity:
        grid = Grid(dataset.height, dataset.width, crs, transform)
        if crs is not None and crs.is_geographic and _leaves_the_earth(grid):
            x, y = transform.c, transform.f
            raise ZooError(
                f"{path}: has the CRS {crs} in degrees but its corner at {x:g}, {y:g}; "
                f"set its CRS or its corners with gdal_edit.py"
            )
        return grid
    points, coefficients = dataset.gcps[0], dataset.rpcs
    if points or coefficients:
        what = f"{len(points)} ground control points" if points else "rational polynomial coefficients (RPCs)"
        option = "-tps" if points else "-rpc"
        raise ZooError(
            f"{path}: is placed by {what} only, not by a grid; warp it first: "
            f"gdalwarp {option} -t_srs EPSG:4326 {Path(path).name} warped.tif"
        )
    if crs is not None:
        raise ZooError(f"{path}: has the CRS {crs} but no position (an identity transform); set it with gdal_edit.py")
    return Grid(dataset.height, dataset.width)


def _leaves_the_earth(grid: Grid) -> bool:
    """Whether a corner of a grid in degrees lies beyond the poles by a degree and a pixel, or beyond 540 E or W."""
    t = grid.transform
    pixel = abs(t.d) + abs(t.e)
    corners = [apply(t, x, y) for x in (0, grid.width) for y in (0, grid.height)]
    return any(abs(lat) > 91 + pixel or abs(lon) > 541 for lon, lat in corners)


def _looks_like_mask(dataset: rasterio.DatasetReader, band: int) -> bool:
    """Whether nearly all values in the middle of a band are 0 or the largest one, as in a band that hides pixels."""
    height, width = min(_LOOKED_AT, dataset.height), min(_LOOKED_AT, dataset.width)
    top, left = (dataset.height - height) // 2, (dataset.width - width) // 2
    values = dataset.read(band, window=rasterio.windows.Window(left, top, width, height))
    return bool(((values == 0) | (values == np.max(values))).mean() >= _MASK_LIKE)
