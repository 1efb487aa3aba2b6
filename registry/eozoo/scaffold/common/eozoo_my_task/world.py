"""A synthetic landscape: made up, not observed. Everything is cut from one world, and nothing overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

BANDS = ("blue", "green", "red", "nir")
ORIGIN, PIXEL, SIDE, GAP = (480_000.0, 2_080_000.0), 20.0, 48, 8  # m (UTM 47 N), m; px of an image and between images
SPLITS = {"train": 12, "val": 4, "test": 4}


def landscape() -> tuple[np.ndarray, np.ndarray]:
    """Return canopy height (H, W), 0 to 30 m, and reflectance 0..1 of BANDS (4, H, W) with a cloud of NaN."""
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


def write_world(root: Path, label: np.ndarray | None, name: str, unit: str) -> np.ndarray:
    """Write images, a fifth of the ``label`` (H, W) and scene.tif under ``root``; return a batch (2, 4, 32, 32)."""
    _, bands = landscape()
    if label is not None:
        label = np.where(np.random.default_rng(2).random(label.shape) < 0.2, label, np.nan)[None]
    names, batch = [split for split, number in SPLITS.items() for _ in range(number)], []
    for i, split in enumerate(names):
        step, per_row = SIDE + GAP, bands.shape[2] // (SIDE + GAP)
        row, column = SIDE * 2 + GAP + i // per_row * step, i % per_row * step
        where = (slice(row, row + SIDE), slice(column, column + SIDE))
        write(root / split / "image" / f"place_{i:02d}.tif", bands, where, BANDS, "reflectance 0..1")
        if label is not None:
            write(root / split / "label" / f"place_{i:02d}.tif", label, where, (name,), unit)
        batch.append(bands[(slice(None), *where)][:, :32, :32])
    write(root / "scene.tif", bands, (slice(0, 2 * SIDE), slice(0, 3 * SIDE)), BANDS, "reflectance 0..1")
    return np.nan_to_num(np.stack(batch[:2]))


def write(file: Path, world: np.ndarray, where: tuple[slice, slice], names: tuple[str, ...], unit: str) -> None:
    """Write a part of the world (C, H, W), NaN = missing, as a GeoTIFF in its place."""
    values = world[(slice(None), *where)]
    file.parent.mkdir(parents=True, exist_ok=True)
    x, y = ORIGIN[0] + where[1].start * PIXEL, ORIGIN[1] - where[0].start * PIXEL
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile = {"driver": "GTiff", "dtype": "float32", "nodata": -9999.0, "crs": "EPSG:32647", **shape}
    with rasterio.open(file, "w", transform=rasterio.Affine(PIXEL, 0.0, x, 0.0, -PIXEL, y), **profile) as data:
        data.write(np.where(np.isfinite(values), values, -9999.0).astype("float32"))
        data.descriptions, data.units = names, (unit,) * len(values)
