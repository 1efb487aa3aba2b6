"""NPZ tiles on disk: four bands, month and biome in, checked; and out, complete or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import read_arrays
from eozoo_core.run.parsed import read_object
from eozoo_core.run.written import write_arrays, write_text

from eozoo_prithvi_refine.settings import BIOMES

KEYS = ("s2_b2", "s2_b3", "s2_b4", "s2_b8")
RADAR_KEYS = ("s1_vv", "s1_vh")
_PREPARE = "'eozoo prepare prithvi_refine tiles' writes them right"
_LARGEST = 3.0  # reflectance; above it the values are not reflectance


@dataclass(frozen=True)
class Tile:
    """One tile. ``image (4, H, W)`` float32 reflectance, NaN = missing; month 1-12; biome 0-16.

    ``radar (2, H, W)`` VV and VH as stored, None where the tile has none; ``meta`` is the JSON sidecar, {} without one.
    """

    name: str
    image: np.ndarray
    month: int
    biome: int
    radar: np.ndarray | None
    meta: dict[str, Any]


def read_tile(path: Path, default_month: int | None = None, default_biome: int | None = None) -> Tile:
    """Read a tile. Raises ZooError, one line with file and key, for whatever is missing or impossible.

    Month and biome may be a scalar, a 0-d array or a plane (the commonest value counts); where the tile has none they
    come from the sidecar (``month`` or a date; ``biome_code``), then from the defaults. A sidecar with
    ``s2_normalization`` (one joint minimum and maximum) undoes that scaling first.
    """
    arrays, meta = read_npz(path), read_sidecar(path)
    _check_bands(path, arrays)
    image = np.stack([_band(path, arrays, key) for key in KEYS])
    image = _undo_scaling(path, image, meta.get("s2_normalization"))
    check_reflectance(path, image)
    radar = np.stack([_band(path, arrays, k) for k in RADAR_KEYS]) if set(RADAR_KEYS) <= arrays.keys() else None
    month = _code(path, arrays.get("month"), "month", _month_of(meta), default_month)
    biome = _code(path, arrays.get("biome_code"), "biome_code", meta.get("biome_code"), default_biome)
    return Tile(
        path.stem,
        image,
        within(path, "month", month, 1, 12),
        within(path, "biome_code", biome, 0, BIOMES - 1),
        radar,
        meta,
    )


def check_reflectance(path: Path | str, image: np.ndarray) -> None:
    """Raise ZooError where an image has no valid pixel or values that are not reflectance."""
    valid = np.isfinite(image).all(axis=0)
    if not valid.any():
        raise ZooError(
            f"{path}: no pixel is valid in all four bands; remove the tile ('prepare' leaves such tiles out)"
        )
    largest = float(np.abs(image[:, valid]).max())
    if largest > _LARGEST:
        raise ZooError(f"{path}: values up to {largest:g} are not reflectance 0..1; divide by 10000 ({_PREPARE})")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an NPZ file. Raises ZooError where it is missing, damaged or holds Python objects."""
    return read_arrays(path)


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the JSON beside a tile, {} where there is none. Raises ZooError where it is not a JSON object."""
    file = Path(path).with_suffix(".json")
    if not file.exists():
        return {}
    return read_object(file, "repair it, or delete it")


def read_stage1(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read 'opt_v1' (4, H, W) of a stage-1 output, float32 reflectance, NaN = missing. Raises ZooError."""
    arrays = read_npz(path)
    if "opt_v1" not in arrays:
        raise ZooError(f"{path}: has no 'opt_v1'; it has {', '.join(sorted(arrays)) or 'nothing'}")
    image = arrays["opt_v1"].astype(np.float32)
    if image.shape != tuple(shape):
        raise ZooError(
            f"{path}: opt_v1 has shape {image.shape}, the tile needs {tuple(shape)} (blue, green, red, near infrared)"
        )
    image = np.where(np.isfinite(image), image, np.nan)
    check_reflectance(path, image)
    return image


def write_npz(path: Path, arrays: dict[str, Any], meta: dict[str, Any] | None = None) -> Path:
    """Write a compressed NPZ and, where given, its JSON sidecar, each complete or not at all."""
    if meta is not None:
        write_text(path.with_suffix(".json"), json.dumps(meta, indent=1, allow_nan=False) + "\n")
    return write_arrays(path, arrays, compress=True)


def tile_arrays(image: np.ndarray, month: int, biome: int) -> dict[str, np.ndarray]:
    """Return the arrays of a tile by their documented keys."""
    bands = {key: band.astype(np.float32) for key, band in zip(KEYS, image, strict=True)}
    return {**bands, "month": np.int64(month), "biome_code": np.int64(biome)}


def _check_bands(path: Path, arrays: dict[str, np.ndarray]) -> None:
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        raise ZooError(f"{path}: has no band {missing[0]!r}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    shapes = {key: arrays[key].shape for key in KEYS}
    if len(set(shapes.values())) > 1 or any(len(s) != 2 or 0 in s for s in shapes.values()):
        raise ZooError(f"{path}: bands must have one shape (H, W), found {shapes}; resolutions are not mixed")


def _band(path: Path, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    if arrays[key].dtype.kind not in "fiu":
        raise ZooError(f"{path}: band {key!r} holds {arrays[key].dtype}, expected numbers")
    band = arrays[key].astype(np.float32)
    return np.where(np.isfinite(band), band, np.nan)


def _undo_scaling(path: Path, image: np.ndarray, scaling: Any) -> np.ndarray:
    """Undo one joint min-max scaling; stored digital numbers become reflectance."""
    if scaling is None:
        return image
    try:
        low, high = float(scaling["min"]), float(scaling["max"])
    except (KeyError, TypeError, ValueError):
        raise ZooError(f"{path.with_suffix('.json')}: s2_normalization needs numbers 'min' and 'max'") from None
    image = image * np.float32(high - low) + np.float32(low)
    return image / np.float32(10000) if high > _LARGEST else image


def _month_of(meta: dict[str, Any]) -> Any:
    """Return the month that a sidecar names, directly or in a date of the form YYYY-MM-DD or YYYYMMDD."""
    if "month" in meta:
        return meta["month"]
    for key in ("date_s2", "acquisition_date", "date"):
        text = str(meta.get(key, "")).replace("-", "")
        if text[:6].isdigit() and len(text) >= 6:
            return int(text[4:6])
    return None


def _code(path: Path, stored: np.ndarray | None, key: str, other: Any, default: int | None) -> float:
    """Return month or biome: from the tile, the sidecar, the default; a plane gives its commonest value."""
    if stored is not None:
        values = np.asarray(stored)
        if values.dtype.kind not in "fiu":
            raise ZooError(f"{path}: {key!r} holds {values.dtype}, expected a number or a plane of numbers")
        values = values[np.isfinite(values)]
        if values.size:
            codes, counts = np.unique(values, return_counts=True)
            return float(codes[counts.argmax()])
    value = other if other is not None else default
    if value is None:
        setting = "default_month" if key == "month" else "default_biome"
        raise ZooError(f"{path}: has no {key!r}, and its sidecar neither; add it or set data.{setting}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ZooError(f"{path.with_suffix('.json')}: {key} {value!r} is not a number") from None


def within(path: Path | str, key: str, value: float, low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``. Raises ZooError naming ``path`` and ``key`` for any other."""
    if value != int(value) or not low <= value <= high:
        raise ZooError(f"{path}: {key} {value:g} is not a whole number from {low} to {high}")
    return int(value)
