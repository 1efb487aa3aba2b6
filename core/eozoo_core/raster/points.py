"""Many places from one CRS to another; one that has no place there costs only itself."""

from __future__ import annotations

from typing import Any

import numpy as np


def transform_points(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Transform ``x``, ``y`` (n,) between CRSs (anything that rasterio understands): (2, n) float64.

    NaN where a place is missing, or has none in ``target``: beyond a projection's reach, or not on Earth.
    """
    x, y = (np.asarray(a, np.float64) for a in (x, y))
    found = np.full((2, len(x)), np.nan)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if known.size:
        found[:, known] = _transformed(source, target, x[known], y[known])
    return found


def on_plane(crs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return places of any CRS in metres (2, n) on an equal-area map around their middle, NaN = not known.

    Lambert's azimuthal projection: distances are right to 1 % within 1,800 km of the middle, and to 10 % within 5,700.
    """
    lon, lat = transform_points(crs, "EPSG:4326", x, y)
    if not np.isfinite(lon).any():
        return np.stack([lon, lat])
    east = np.degrees(np.angle(np.nanmean(np.exp(1j * np.radians(lon)))))  # 179 and -179 are neighbours
    local = f"+proj=laea +lon_0={east:.4f} +lat_0={np.nanmedian(lat):.4f} +datum=WGS84 +units=m"
    return transform_points("EPSG:4326", local, lon, lat)


def _transformed(source: Any, target: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    from rasterio._err import CPLE_BaseError  # some of rasterio's calls raise it unwrapped
    from rasterio.warp import transform

    try:
        found = np.array(transform(source, target, x, y))
    except CPLE_BaseError:  # one place is enough: look for it
        if len(x) == 1:
            return np.full((2, 1), np.nan)
        middle = len(x) // 2
        parts = [_transformed(source, target, x[some], y[some]) for some in (np.s_[:middle], np.s_[middle:])]
        return np.concatenate(parts, axis=1)
    return np.where(np.isfinite(found).all(axis=0), found, np.nan)
