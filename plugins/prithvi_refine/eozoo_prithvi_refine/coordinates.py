"""When and where an image was taken, as the ``_tl`` encoders are told: what is not known stays unknown.

Time is (year, day of the year from 1), location (latitude, longitude) in degrees of WGS 84, north and east positive:
the order and units in which Prithvi-EO-2.0 was trained. NaN in a pair = not known; its encoding is then left out.
"""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.tiles import Window
from eozoo_core.task import Arrays

from eozoo_prithvi_refine.settings import BIOMES

Pair = tuple[float, float]
UNKNOWN: Pair = (float("nan"), float("nan"))
DATE_KEYS = ("date_s2", "acquisition_date", "date")  # of sidecars and GeoTIFF tags, in this order
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ].*)?")
_LIMITS = {"time": ((1900, 2200), (1, 366)), "location": ((-90, 90), (-180, 180))}
_ORDER = {"time": "year, day of the year", "location": "latitude, longitude"}


def time_of(text: Any, source: Any) -> Pair:
    """Return year and day of the year of ``YYYY-MM-DD`` or ``YYYYMMDD`` (a time after it is not looked at).

    UNKNOWN for None, "" and dates without a day. Raises ZooError, naming ``source``, for a day that is none.
    """
    found = _DATE.fullmatch(str(text or "").strip())
    if found is None:
        return UNKNOWN
    try:
        day = date(*map(int, found.groups()))
    except ValueError as error:
        raise ZooError(f"{source}: date {text!r} is no day ({error}); write YYYY-MM-DD") from None
    return float(day.year), float(day.timetuple().tm_yday)


def time_in(meta: dict[str, Any], source: Any) -> Pair:
    """Return the time that a sidecar names in date_s2, acquisition_date or date, else UNKNOWN. Raises ZooError."""
    return next((t for t in (time_of(meta.get(key), source) for key in DATE_KEYS) if known(t)), UNKNOWN)


def location_in(meta: dict[str, Any], source: Any) -> Pair:
    """Return ``lat`` and ``lon`` of a sidecar, UNKNOWN where it has neither. Raises ZooError for what is no place."""
    values = [meta.get("lat"), meta.get("lon")]
    if values == [None, None]:
        return UNKNOWN
    try:
        pair = (float(values[0]), float(values[1]))
    except (TypeError, ValueError):
        raise ZooError(
            f"{source}: lat {values[0]!r} and lon {values[1]!r} must be two numbers, or both left out"
        ) from None
    check(np.array([pair]), "location", source)
    return pair


def location_of(grid: Grid, window: Window | None = None) -> Pair:
    """Return the centre of a raster, or of a window of it; UNKNOWN where it has no georeference."""
    if grid.transform is None or grid.crs is None:
        return UNKNOWN
    from rasterio.warp import transform

    window = window or grid.whole
    x, y = at(grid.transform, window.col + window.width / 2, window.row + window.height / 2)
    (lon,), (lat,) = transform(grid.crs, "EPSG:4326", [x], [y])
    return (lat, lon) if np.isfinite([lat, lon]).all() else UNKNOWN


def date_in_tags(path: Path) -> str:
    """Return the date in a GeoTIFF's tags date_s2, acquisition_date or date (any case), "" where there is none.

    TIFFTAG_DATETIME is not looked at: it says when the file was written.
    """
    from eozoo_core.raster.read import read_info

    tags = {key.lower(): text for key, text in read_info(path).tags.items()}
    return next((tags[key] for key in DATE_KEYS if tags.get(key)), "")


def check(pairs: np.ndarray, name: str, source: Any) -> None:
    """Raise ZooError where ``pairs (B, 2)`` of "time" or "location" cannot be; NaN passes."""
    for i, (low, high) in enumerate(_LIMITS[name]):
        wrong = pairs[(pairs[:, i] < low) | (pairs[:, i] > high) | np.isinf(pairs[:, i])]
        if len(wrong):
            raise ZooError(
                f"{source}: {name} {wrong[0].tolist()} is not ({_ORDER[name]}): "
                f"number {i + 1} lies outside {low}..{high}"
            )


def check_batch(arrays: Arrays) -> None:
    """Raise ZooError where arrays of ``predict`` hold what is no reflectance, month, biome, time or location."""
    image = arrays["opt_v1"]
    if np.nanmax(np.abs(image), initial=0) > 100:
        raise ZooError(f"predict: opt_v1 up to {np.nanmax(image):g} is not reflectance 0..1; divide by 10000")
    for name, low, high in (("month", 1, 12), ("biome", 0, BIOMES - 1)):
        there = arrays[name][np.isfinite(arrays[name])]
        if ((there < low) | (there > high) | (there != np.rint(there))).any():
            raise ZooError(f"predict: {name} {there.tolist()} must be whole numbers from {low} to {high}")
    for name in _LIMITS.keys() & arrays.keys():
        check(arrays[name], name, "predict")


def known(pair: Pair) -> bool:
    """Whether both numbers are there."""
    return bool(np.isfinite(pair).all())


def at(transform: Any, x: float, y: float) -> tuple[float, float]:
    """Apply an affine transform to a point; its operator for that differs between versions of its package."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f
