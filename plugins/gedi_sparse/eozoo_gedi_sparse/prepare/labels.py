"""Step ``labels``: shots onto a grid, each in the pixel that holds its centre; mean and count per pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.area import pixel_size
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from rasterio import Affine

from eozoo_gedi_sparse.prepare.grids import make_grid, to_pixels
from eozoo_gedi_sparse.prepare.settings import LabelsSettings
from eozoo_gedi_sparse.prepare.shots import Shots, count, join, load, once

STRIP = 512  # rows written at a time


def make_labels(settings: LabelsSettings) -> list[Path]:
    """Rasterise the shots in ``source`` into ``dest``: band 1 mean (NaN = no shot), band 2 number of shots.

    Memory holds the shots and a strip of the raster. Prints how many shots lie on the grid. Raises ZooError where
    there are no shots, none of them lies on the grid, or the grid is not in metres.
    """
    grid = make_grid(settings.grid, "prepare.labels.grid")
    shots = _load_all(settings.source)
    fine = _fine_factor(settings.fine_pixel, grid)
    finer = Grid(grid.height * fine, grid.width * fine, grid.crs, _finer(grid.transform, fine))
    row, col = to_pixels(finer, shots.lon, shots.lat, str(settings.dest))
    inside = (row >= 0) & (row < finer.height) & (col >= 0) & (col < finer.width)
    if not inside.any():
        raise ZooError(
            f"{settings.source}: none of {len(shots)} shots (lon {shots.lon.min():.3f} to {shots.lon.max():.3f}, lat "
            f"{shots.lat.min():.3f} to {shots.lat.max():.3f}) lies on the grid of prepare.labels.grid; "
            "take granules of that place"
        )
    pixels, mean, count = aggregate(row[inside], col[inside], shots.value[inside], grid.width, fine)
    _tell_ground(grid)
    print(f"{int(inside.sum()):,} of {len(shots):,} shots lie on the grid, in {len(pixels):,} of its pixels")
    _write(settings.dest, grid, shots, (pixels, mean, count))
    return [settings.dest]


def _tell_ground(grid: Grid) -> None:
    """Say how large pixels are on the ground where map metres are 2 % longer or shorter; footprints are 25 m."""
    t = grid.transform
    width, height = pixel_size(grid, grid.width / 2, grid.height / 2)
    side = float(np.hypot(t.a, t.d))
    if abs(width / side - 1) > 0.02:
        print(
            f"pixels of {side:g} m in {grid.crs} are {width:.1f} x {height:.1f} m on the ground; a footprint has 25 m"
        )


def aggregate(
    row: np.ndarray, col: np.ndarray, value: np.ndarray, width: int, fine: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and number of values per pixel. ``row``, ``col``: (n,) int64 on a grid ``fine`` times finer.

    With ``fine`` > 1 the values of a fine cell are averaged first and then the cells of a pixel, all cells alike.
    Returns linear pixel numbers (m,) rising, mean (m,) float64 and count of values (m,) int64; ``width`` in pixels.
    """
    cells, cell_of, shots = np.unique(row * (width * fine) + col, return_inverse=True, return_counts=True)
    cell_mean = np.bincount(cell_of, value.astype(np.float64)) / shots
    cell_row, cell_col = np.divmod(cells, width * fine)
    pixels, pixel_of, filled = np.unique(
        (cell_row // fine) * width + cell_col // fine, return_inverse=True, return_counts=True
    )
    mean = np.bincount(pixel_of, cell_mean) / filled
    return pixels, mean, np.bincount(pixel_of, shots).astype(np.int64)


def _write(dest: Path, grid: Grid, shots: Shots, content: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    pixels, mean, count = content
    bands = [Band(shots.quantity, shots.unit), Band("shots", "1")]
    tags = {"QUANTITY": shots.quantity, "UNIT": shots.unit, "SHOTS": str(int(count.sum()))}
    with CogWriter(dest, grid, bands, tags=tags) as writer:
        for top in range(0, grid.height, STRIP):
            rows = min(STRIP, grid.height - top)
            first, last = np.searchsorted(pixels, (top * grid.width, (top + rows) * grid.width))
            strip = np.full((2, rows * grid.width), np.nan, np.float32)
            strip[1] = 0
            place = pixels[first:last] - top * grid.width
            strip[0, place], strip[1, place] = mean[first:last], count[first:last]
            writer.write_rows(top, strip.reshape(2, rows, grid.width))


def _load_all(folder: Path) -> Shots:
    files = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if not files:
        raise ZooError(f"{folder}: holds no shots (*.npz); run 'eozoo prepare gedi_sparse shots' first")
    shots = join([load(file)[0] for file in files])
    counted, differ = once(shots)
    if not counted.all():
        other = f", {differ:,} of them with another value" if differ else ""
        print(f"{count(int((~counted).sum()), 'shot')} in several files of {folder}{other}: each counts once")
        shots = shots.keep(counted)
    if len(shots) == 0:
        raise ZooError(f"{folder}: its {len(files)} files hold no shot; see filters.csv there for what removed them")
    return shots


def _fine_factor(fine_pixel: float | None, grid: Grid) -> int:
    if fine_pixel is None:
        return 1
    side = abs(grid.transform.a)
    fine = round(side / fine_pixel)
    if fine < 1 or abs(fine * fine_pixel - side) > 1e-6 * side:
        raise ZooError(f"prepare.labels.fine_pixel: {fine_pixel:g} m does not divide the pixel of {side:g} m")
    return fine


def _finer(t: Affine, fine: int) -> Affine:
    """The transform of a grid with ``fine`` times as many rows and columns over the same ground."""
    return Affine(t.a / fine, t.b / fine, t.c, t.d / fine, t.e / fine, t.f)
