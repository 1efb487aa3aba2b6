"""Images of a synthetic world for ``Task.sample``, in the folders that ``images.ImageData`` reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS

from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.small import write_small
from eozoo_core.task.data import Arrays

SPLITS = ("train",) * 12 + ("val",) * 4 + ("test",) * 4
SIDE, STEP = 48, 56  # of an image, and from one to the next, px: nothing overlaps
X, Y, PIXEL = 480_000.0, 2_080_000.0, 20.0  # upper left corner and side of a pixel, m of UTM 47 N
LABELLED = 0.2  # share of the pixels that keep their label


def write_world(
    root: Path, world: np.ndarray, bands: Sequence[Band], label: np.ndarray | None = None, of: Band | None = None
) -> tuple[Path, Arrays]:
    """Cut ``world`` (C, H, W), NaN = missing, into images of all splits; return a scene and a batch (2, C, 32, 32).

    The scene is from the upper 96 rows, images are from the rows below 112, where a fifth of the pixels of ``label``
    (H, W) is kept, described by ``of``; no label, no label folders. Raises ValueError for a world that is too small.
    """
    across = world.shape[2] // STEP
    if across < 3 or world.shape[1] < STEP * (2 + math.ceil(len(SPLITS) / across)):
        raise ValueError(f"a world of {world.shape[1:]} px is too small for {len(SPLITS)} images of {SIDE} px")
    _write(root / "scene.tif", world[:, : 2 * SIDE, : 3 * SIDE], bands, 0, 0)
    batch = []
    for i, split in enumerate(SPLITS):
        row, column = 2 * STEP + i // across * STEP, i % across * STEP
        where, name = (..., slice(row, row + SIDE), slice(column, column + SIDE)), f"place_{i:02d}.tif"
        _write(root / split / "image" / name, world[where], bands, row, column)
        if label is not None and of is not None:
            kept = np.random.default_rng(i).random((SIDE, SIDE)) < LABELLED
            _write(root / split / "label" / name, np.where(kept, label[where], np.nan)[None], [of], row, column)
        batch.append(world[where][:, :32, :32])
    return root / "scene.tif", {"image": np.nan_to_num(np.stack(batch[:2])).astype("float32")}


def _write(file: Path, values: np.ndarray, bands: Sequence[Band], row: int, column: int) -> None:
    """Write a small GeoTIFF; a map's tiles (`CogWriter`) would be a hundred times as slow to read."""
    corner = Affine(PIXEL, 0.0, X + column * PIXEL, 0.0, -PIXEL, Y - row * PIXEL)
    write_small(file, values.astype("float32"), Grid(*values.shape[1:], CRS.from_epsg(32647), corner), bands)
