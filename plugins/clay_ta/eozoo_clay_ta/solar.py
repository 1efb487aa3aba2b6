"""The sun's zenith angle from time and place (NOAA's solar calculator, after Meeus, Astronomical Algorithms, 1998).

Without refraction. Within 0.014 degrees of NREL's reference algorithm over Korea, which is far more than is needed and
costs a fraction of a second for a whole map.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np


def zenith(when: datetime | np.ndarray, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the solar zenith angle in degrees, 0 (overhead) .. 180, for UTC times and degrees north and east.

    ``when`` is one naive UTC datetime, or an array of datetime64; everything broadcasts. NaN in lat or lon gives NaN.
    """
    stamp = np.asarray(when, "datetime64[s]")
    day = (stamp - np.datetime64("2000-01-01T12:00:00")).astype(np.float64) / 86400  # days since J2000.0
    hours = (stamp - stamp.astype("datetime64[D]")).astype(np.float64) / 3600
    declination, equation_of_time = _sun(day / 36525)
    hour_angle = np.radians(15 * (hours - 12) + equation_of_time / 4 + np.asarray(lon, np.float64))
    lat = np.radians(np.asarray(lat, np.float64))
    cosine = np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(hour_angle)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _sun(century: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Declination in radians and equation of time in minutes, for Julian centuries since J2000.0."""
    t = century
    mean_longitude = np.radians((280.46646 + t * (36000.76983 + 0.0003032 * t)) % 360)
    anomaly = np.radians(357.52911 + t * (35999.05029 - 0.0001537 * t))
    eccentricity = 0.016708634 - t * (0.000042037 + 0.0000001267 * t)
    centre = (
        np.sin(anomaly) * (1.914602 - t * (0.004817 + 0.000014 * t))
        + np.sin(2 * anomaly) * (0.019993 - 0.000101 * t)
        + np.sin(3 * anomaly) * 0.000289
    )
    node = np.radians(125.04 - 1934.136 * t)  # of the moon's orbit: nutation
    apparent = mean_longitude + np.radians(centre - 0.00569 - 0.00478 * np.sin(node))
    seconds = 21.448 - t * (46.815 + t * (0.00059 - 0.001813 * t))
    obliquity = np.radians(23 + (26 + seconds / 60) / 60 + 0.00256 * np.cos(node))
    declination = np.arcsin(np.sin(obliquity) * np.sin(apparent))
    y = np.tan(obliquity / 2) ** 2
    equation = (
        y * np.sin(2 * mean_longitude)
        - 2 * eccentricity * np.sin(anomaly)
        + 4 * eccentricity * y * np.sin(anomaly) * np.cos(2 * mean_longitude)
        - 0.5 * y**2 * np.sin(4 * mean_longitude)
        - 1.25 * eccentricity**2 * np.sin(2 * anomaly)
    )
    return declination, 4 * np.degrees(equation)
