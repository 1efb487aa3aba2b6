"""Images of a synthetic landscape for ``Task.sample``, in the folders that ``data.ImageData`` reads."""

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
BANDS = tuple(Band(name, "reflectance 0..1") for name in ("blue", "green", "red", "nir"))
LABELLED = 0.2  # share of the pixels that keep their label


def landscape() -> tuple[np.ndarray, np.ndarray]:
    """Make up canopy height (H, W), 0 to 30 m, and reflectance 0..1 of BANDS (4, H, W) with a cloud of NaN."""
    random, (rows, columns) = np.random.default_rng(0), np.mgrid[:400, :336].astype("float64")
    field = np.zeros(rows.shape)
    for wavelength, weight in ((90.0, 1.0), (37.0, 0.6), (15.0, 0.3)):
        for _ in range(6):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            field += weight * np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / wavelength + phase)
    height = np.clip(6.0 * field + 9.0, 0.0, 30.0)
    leaves, bare, forest = 1.0 - np.exp(-height / 12.0), (0.08, 0.12, 0.18, 0.22), (0.03, 0.06, 0.03, 0.45)
    bands = np.stack([b + (f - b) * leaves for b, f in zip(bare, forest, strict=True)])
    bands = np.clip(bands + random.normal(scale=0.012, size=bands.shape), 0.0, 1.0).astype("float32")
    bands[:, 30:40, 100:130] = np.nan
    return height, bands


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
