"""Windows of a mosaic on a target grid: tiles are opened when a window needs them, resampled only where asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.enums import Resampling
from rasterio.transform import array_bounds, from_origin
from rasterio.warp import reproject, transform_bounds

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, apply, part_of, same_grid
from eozoo_core.raster.read import RasterReader, Reader, gdal, read_info
from eozoo_core.raster.tiles import Window

SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
_LARGEST = 2**24  # pixels of a tile that are read at once
_MARGIN = 2  # pixels of the coarser grid that a kernel reaches over the edge
Scale = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Tile:
    """One file of a mosaic: its bands (1-based), its scaling, and the rows and columns of the target that it covers."""

    path: Path
    bands: tuple[int, ...]
    scale: Scale
    grid: Grid
    rows: tuple[int, int]
    cols: tuple[int, int]


class Mosaic:
    """Bands of one or many rasters on ``grid``, read by window; where tiles overlap, the first valid pixel is taken.

    ``resampling`` none = every tile must lie on the grid's pixels (ZooError otherwise). ``missing``: stored
    values that mean missing, beside what a file declares (Sentinel-2's 0); they enter no kernel.
    """

    def __init__(self, grid: Grid, resampling: str = "none", missing: Sequence[float] = ()):
        self.grid = grid
        self._resampling = resampling
        self._missing = tuple(missing)
        self._tiles: list[Tile] = []

    def add(self, path: Path, bands: tuple[int, ...], scale: Scale) -> None:
        """Add a tile. Raises ZooError for one without CRS or off the grid; one beside the grid is left out."""
        found = read_info(path).grid
        if found.crs is None or found.transform is None:
            raise ZooError(f"{path}: has no CRS; it cannot be placed on the grid")
        rows, cols = self._extent(path, found)
        if rows[0] < rows[1] and cols[0] < cols[1]:
            self._tiles.append(Tile(path, bands, scale, found, rows, cols))

    def __len__(self) -> int:
        return len(self._tiles)

    def read(self, window: Window, count: int) -> np.ndarray:
        """Return ``(count, height, width)`` float32 of a window of the grid, NaN = missing or outside all tiles."""
        out = np.full((count, window.height, window.width), np.nan, np.float32)
        for tile in self._tiles:
            top, bottom = max(tile.rows[0], window.row), min(tile.rows[1], window.row + window.height)
            left, right = max(tile.cols[0], window.col), min(tile.cols[1], window.col + window.width)
            if top >= bottom or left >= right:
                continue
            place = np.s_[:, top - window.row : bottom - window.row, left - window.col : right - window.col]
            empty = np.isnan(out[place])
            if empty.any():
                part = Window(top, left, bottom - top, right - left)
                raw = self._read_aligned(tile, part) if self._resampling == "none" else self._read_warped(tile, part)
                out[place] = np.where(empty, tile.scale(raw), out[place])
        return out

    def _read_aligned(self, tile: Tile, window: Window) -> np.ndarray:
        row, col = self._offset(tile.grid)
        own = Window(window.row - row, window.col - col, window.height, window.width)
        with RasterReader(tile.path, self._missing) as reader:
            return reader.read(own, tile.bands)

    def _read_warped(self, tile: Tile, window: Window) -> np.ndarray:
        with RasterReader(tile.path, self._missing) as reader:
            return resampled(reader, tile.bands, part_of(self.grid, window), self._resampling)

    def _extent(self, path: Path, found: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns (first, last + 1) of the target that the tile touches."""
        if self._resampling != "none":
            west, south, east, north = transform_bounds(found.crs, self.grid.crs, *_bounds(found))
            inverse = ~self.grid.transform
            corners = [apply(inverse, x, y) for x in (west, east) for y in (south, north)]
            cols, rows = zip(*corners)
            return _clip(min(rows) - 1, max(rows) + 1, self.grid.height), _clip(
                min(cols) - 1, max(cols) + 1, self.grid.width
            )
        _require_aligned(path, found, self.grid)
        row, col = self._offset(found)
        return _clip(row, row + found.height, self.grid.height), _clip(col, col + found.width, self.grid.width)

    def _offset(self, found: Grid) -> tuple[int, int]:
        col, row = apply(~self.grid.transform, *apply(found.transform, 0, 0))
        return round(row), round(col)


def find_tiles(source: Path) -> list[Path]:
    """Return the raster, or the rasters of a folder in the order of their names. Raises ZooError if none."""
    if source.is_file():
        return [source]
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES) if source.is_dir() else []
    if not found:
        raise ZooError(f"{source}: is no raster and no folder of rasters ({', '.join(SUFFIXES)})")
    return found


def union_grid(paths: Sequence[Path]) -> Grid:
    """Return the grid that covers all tiles. Raises ZooError unless they share CRS, pixel size and pixel borders."""
    grids = [read_info(path).grid for path in paths]
    first = grids[0]
    if first.crs is None or first.transform is None:
        raise ZooError(f"{paths[0]}: has no CRS; a stack needs rasters in place")
    for path, grid in zip(paths, grids):
        if grid.crs is None:
            raise ZooError(f"{path}: has no CRS; a stack needs rasters in place")
        _require_aligned(path, grid, first)
    if all(same_grid(grid, first) for grid in grids):
        return first
    boxes = np.array([_bounds(grid) for grid in grids])
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    side_x, side_y = abs(first.transform.a), abs(first.transform.e)
    size = round((north - south) / side_y), round((east - west) / side_x)
    return Grid(*size, first.crs, from_origin(west, north, side_x, side_y))


def resampled(reader: Reader, bands: Sequence[int], target: Grid, how: str) -> np.ndarray:
    """Return ``bands`` (1-based) of an open raster on the pixels of ``target``: (C, h, w) float32, NaN = missing.

    Band by band: each has its own missing pixels, and none of them enters a kernel. Strips keep the memory bounded.
    ``how``: of rasterio's `Resampling`. Raises ZooError where GDAL cannot.
    """
    out = np.full((len(bands), target.height, target.width), np.nan, np.float32)
    grid = reader.info.grid
    source = _window_under(target, grid, _MARGIN)
    if source is None:
        return out
    if source.height * source.width > _LARGEST and target.height > 1:
        half = target.height // 2
        parts = [Window(0, 0, half, target.width), Window(half, 0, target.height - half, target.width)]
        return np.concatenate([resampled(reader, bands, part_of(target, part), how) for part in parts], axis=1)
    values = reader.read(source, bands)
    with gdal(reader.info.path, "cannot be resampled"):
        for band, place in zip(values, out, strict=True):
            reproject(
                band,
                place,
                src_transform=part_of(grid, source).transform,
                src_crs=grid.crs,
                src_nodata=np.nan,
                dst_transform=target.transform,
                dst_crs=target.crs,
                dst_nodata=np.nan,
                resampling=Resampling[how],
            )
    return out


def _window_under(target: Grid, source: Grid, margin: int) -> Window | None:
    """Return the window of ``source`` that lies under ``target``, with ``margin`` pixels of the coarser of both."""
    box = array_bounds(target.height, target.width, target.transform)
    west, south, east, north = transform_bounds(target.crs, source.crs, *box)
    inverse = ~source.transform
    cols, rows = zip(*(apply(inverse, x, y) for x in (west, east) for y in (south, north)))
    around = margin * max(1, (max(rows) - min(rows)) / target.height, (max(cols) - min(cols)) / target.width)
    top, bottom = _clip(min(rows) - around, max(rows) + around, source.height)
    left, right = _clip(min(cols) - around, max(cols) + around, source.width)
    return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None


def _require_aligned(path: Path, found: Grid, grid: Grid) -> None:
    t = found.transform
    if found.crs != grid.crs:
        raise ZooError(
            f"{path}: has CRS {found.crs}, the grid {grid.crs}; set resampling of its layer, or reproject it"
        )
    a, b = (t.a, t.e, t.b, t.d), (grid.transform.a, grid.transform.e, grid.transform.b, grid.transform.d)
    col, row = apply(~grid.transform, t.c, t.f)
    size = max(found.height, found.width)
    if (
        max(abs(x - y) for x, y in zip(a, b)) * size > 0.01 * abs(b[0])
        or max(abs(v - round(v)) for v in (col, row)) > 0.01
    ):
        raise ZooError(
            f"{path}: pixels of {abs(t.a):g} m at offset ({col:.2f}, {row:.2f}) do not lie on the grid's pixels of "
            f"{abs(b[0]):g} m; set resampling of its layer"
        )


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    corners = [apply(grid.transform, col, row) for col in (0, grid.width) for row in (0, grid.height)]
    xs, ys = zip(*corners)
    return min(xs), min(ys), max(xs), max(ys)


def _clip(low: float, high: float, size: int) -> tuple[int, int]:
    return max(0, int(np.floor(low))), min(size, int(np.ceil(high)))
