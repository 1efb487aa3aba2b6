"""A synthetic landscape: made up, not observed. Everything is cut from one world, and nothing overlaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

CRS = "EPSG:32647"  # UTM zone 47 N
ORIGIN = (480_000.0, 2_080_000.0)  # easting and northing of the upper left corner, m
PIXEL = 20.0  # m
BANDS = ("blue", "green", "red", "nir")
SIDE = 48  # px of an image
GAP = 8  # px between images
NODATA = -9999.0
SPLITS = {"train": 12, "val": 4, "test": 4}


def canopy_height(shape: tuple[int, int]) -> np.ndarray:
    """Canopy height (H, W), 0 to 30 m: smooth noise at three scales, with clearings."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype("float64")
    field = np.zeros(shape)
    for wavelength, weight in ((90.0, 1.0), (37.0, 0.6), (15.0, 0.3)):
        for _ in range(6):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            field += weight * np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / wavelength + phase)
    return np.clip(6.0 * field + 9.0, 0.0, 30.0)


def reflectance(height: np.ndarray) -> np.ndarray:
    """Reflectance 0..1 of BANDS (4, H, W): red falls and near infrared rises with leaf area, and both saturate."""
    random = np.random.default_rng(1)
    leaves = 1.0 - np.exp(-height / 12.0)
    ends = {"blue": (0.08, 0.03), "green": (0.12, 0.06), "red": (0.18, 0.03), "nir": (0.22, 0.45)}
    bands = np.stack([bare + (forest - bare) * leaves for bare, forest in (ends[band] for band in BANDS)])
    return np.clip(bands + random.normal(scale=0.012, size=bands.shape), 0.0, 1.0)


def images(height: np.ndarray) -> list[tuple[str, str, tuple[slice, slice]]]:
    """Return (split, name, where) of every image, below the scene, row by row."""
    step, per_row = SIDE + GAP, height.shape[1] // (SIDE + GAP)
    splits = [split for split, number in SPLITS.items() for _ in range(number)]
    found = []
    for i, split in enumerate(splits):
        row, column = SIDE * 2 + GAP + i // per_row * step, i % per_row * step
        found.append((split, f"place_{i:02d}", (slice(row, row + SIDE), slice(column, column + SIDE))))
    return found


def write(file: Path, values: np.ndarray, where: tuple[slice, slice], names: tuple[str, ...], unit: str) -> None:
    """Write values (C, h, w), NaN = missing, as a GeoTIFF in its place of the world."""
    file.parent.mkdir(parents=True, exist_ok=True)
    x, y = ORIGIN[0] + where[1].start * PIXEL, ORIGIN[1] - where[0].start * PIXEL
    profile = {"driver": "GTiff", "dtype": "float32", "nodata": NODATA, "crs": CRS, "count": len(values)}
    transform = rasterio.Affine(PIXEL, 0.0, x, 0.0, -PIXEL, y)
    with rasterio.open(
        file, "w", transform=transform, height=values.shape[1], width=values.shape[2], **profile
    ) as data:
        data.write(np.where(np.isfinite(values), values, NODATA).astype("float32"))
        data.descriptions, data.units = names, (unit,) * len(values)
