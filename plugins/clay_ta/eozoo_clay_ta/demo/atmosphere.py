"""A simulated landscape and atmosphere over the KO area: everything in it is invented, and plausible in kind.

Temperature has an annual and a daily cycle (weaker over the sea), a lapse rate, passing weather and warm towns; clouds
hide the ground and cool its day. Fields are sums of plane waves with fixed random phases, so that a value depends on
place and time only: the same in a part of the grid, in the whole, and at a single station.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.solar import zenith

WATER, URBAN, CROP, GRASS, MIXED, NEEDLE = 16, 12, 11, 9, 4, 0  # one-hot places with base 1
ABSORPTION = {"ir087": 2.5, "ir096": 11.0, "ir105": 1.5, "ir112": 2.2, "ir123": 3.3, "ir133": 13.0, "sw038": 1.0}
VAPOUR = {"wv063": (232.0, 0.20), "wv069": (242.0, 0.30), "wv073": (254.0, 0.45)}  # K at 0 degC, K per degC
REFLECTANCE = {  # of water, vegetation, bare ground, cloud
    "vi004": (0.050, 0.04, 0.12, 0.72), "vi005": (0.040, 0.07, 0.13, 0.73), "vi006": (0.030, 0.06, 0.16, 0.74),
    "vi008": (0.015, 0.30, 0.20, 0.72), "nr013": (0.005, 0.01, 0.01, 0.20), "nr016": (0.005, 0.16, 0.22, 0.45),
}  # fmt: skip


class Waves:
    """A field of unit variance: ``count`` plane waves of seeded length, direction, phase and period."""

    def __init__(
        self, seed: int, count: int, lengths_km: tuple[float, float], periods_h: tuple[float, float] | None = None
    ):
        random = np.random.default_rng(seed)
        number = 2e-3 * np.pi / np.exp(random.uniform(*np.log(lengths_km), count))  # radians per metre
        angle = random.uniform(0, 2 * np.pi, count)
        self._kx, self._ky = number * np.cos(angle), number * np.sin(angle)
        self._phase = random.uniform(0, 2 * np.pi, count)
        self._omega = 2 * np.pi / random.uniform(*periods_h, count) if periods_h else np.zeros(count)
        self._amplitude = np.sqrt(2 / count)

    def __call__(self, ground: Ground, hours: float = 0.0) -> np.ndarray:
        """Values in the shape of ``ground``."""
        phase = self._phase - self._omega * hours
        along = ground.x[..., None] * self._kx + phase
        across = ground.y[..., None] * self._ky
        if ground.outer:  # cos(a + b) as two matrix products: no wave is ever computed for every pixel
            return self._amplitude * (np.cos(across) @ np.cos(along).T - np.sin(across) @ np.sin(along).T)
        return self._amplitude * np.cos(along + across).sum(axis=-1)


@dataclass(frozen=True)
class Ground:
    """Places: x, y in projected metres (of columns and rows where ``outer``, else of points) and what is there."""

    x: np.ndarray
    y: np.ndarray
    lat: np.ndarray
    lon: np.ndarray
    outer: bool
    dem: np.ndarray | None = None
    landcover: np.ndarray | None = None

    @property
    def land(self) -> np.ndarray:
        """Whether it is land."""
        return self.landcover != WATER


@dataclass(frozen=True)
class Weather:
    """ta, skin in degC; cloud 0..1; top of the clouds in K; vapour in kg m-2; sun = cosine of the zenith angle or 0."""

    ta: np.ndarray
    skin: np.ndarray
    cloud: np.ndarray
    top: np.ndarray
    vapour: np.ndarray
    sun: np.ndarray


class World:
    """The landscape and its weather at any time."""

    def __init__(self, seed: int = 0):
        self._coast = Waves(seed + 1, 24, (90, 700))
        self._hills = Waves(seed + 2, 40, (14, 160))
        self._cover = Waves(seed + 3, 40, (10, 60))
        self._warmth = Waves(seed + 4, 16, (500, 2500), (70, 260))
        self._cloud = Waves(seed + 5, 40, (50, 900), (15, 90))
        self._height = Waves(seed + 6, 20, (150, 900), (20, 90))
        self._humid = Waves(seed + 7, 20, (300, 1500), (40, 150))

    def grid(self, grid: KoGrid) -> Ground:
        """The ground of a whole grid."""
        x = grid.left + (np.arange(grid.width) + 0.5) * grid.metres
        y = grid.top - (np.arange(grid.height) + 0.5) * grid.metres
        return self._described(Ground(x, y, *grid.places, outer=True))

    def points(self, x: np.ndarray, y: np.ndarray, lat: np.ndarray, lon: np.ndarray) -> Ground:
        """The ground of single points, 1-D arrays."""
        return self._described(Ground(x, y, lat, lon, outer=False))

    def weather(self, when: datetime, ground: Ground) -> Weather:
        """The atmosphere at ``when`` (UTC)."""
        start = datetime(2022, 1, 1)
        hours = (when - start).total_seconds() / 3600
        day = when.timetuple().tm_yday + when.hour / 24
        local = (when.hour + when.minute / 60 + ground.lon / 15) % 24
        sun = np.maximum(np.cos(np.radians(zenith(when, ground.lat, ground.lon))), 0)
        pattern = self._cloud(ground, hours)
        cloud = 1 / (1 + np.exp(-5 * (pattern - 0.4)))
        ta = _temperature(ground, day, local, cloud) + 3.2 * self._warmth(ground, hours)
        clear = 1 - cloud
        heated = np.where(ground.landcover == URBAN, 11, 8) * sun - 2.5 * (sun == 0)
        skin = ta + np.where(ground.land, heated * clear, 0.5)
        height = 2 + 7 / (1 + np.exp(-1.5 * self._height(ground, hours)))  # km
        vapour = np.clip(8 * np.exp(0.06 * ta) * (1 + 0.2 * self._humid(ground, hours)), 2, 70)
        return Weather(ta, skin, cloud, ta + 273.15 - 6.5 * height, vapour, sun)

    def _described(self, ground: Ground) -> Ground:
        relief = self._coast(ground) + 0.25 * self._hills(ground)
        land = relief > 0.0
        dem = np.where(land, 420 * np.maximum(relief, 0) ** 1.3 * (0.6 + 0.4 * np.tanh(self._hills(ground))), 0)
        cover = self._cover(ground)
        high = np.where(cover > 0, NEEDLE, MIXED)
        low = np.select([cover > 1.3, cover > -0.5], [URBAN, CROP], GRASS)
        landcover = np.where(land, np.where(dem > 180, high, low), WATER)
        return Ground(ground.x, ground.y, ground.lat, ground.lon, ground.outer, dem, landcover)


def _temperature(ground: Ground, day: float, local: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """Cycles and lapse rate, degC, without the passing weather."""
    base = 13 + 0.7 * (37.5 - ground.lat)
    turn = 2 * np.pi / 365.25
    land = base + 12.5 * np.cos(turn * (day - 205)) - 0.0065 * ground.dem
    land = land + 5 * (1 - 0.6 * cloud) * np.cos(2 * np.pi * (local - 15) / 24) + 0.8 * (ground.landcover == URBAN)
    sea = base + 1 + 8.5 * np.cos(turn * (day - 235)) + 0.8 * np.cos(2 * np.pi * (local - 16) / 24)
    return np.where(ground.land, land, sea)


def radiances(weather: Weather, ground: Ground, random: np.random.Generator) -> dict[str, np.ndarray]:
    """What the sixteen channels see: albedo, or brightness temperature in K, with instrument noise."""
    seen = {}
    clear, cloud = 1 - weather.cloud, weather.cloud
    for name, kelvin in ABSORPTION.items():
        surface = weather.skin + 273.15 - kelvin * weather.vapour / 20
        if name == "sw038":
            surface = surface + 7 * weather.sun  # reflected sunlight
        seen[name] = clear * surface + cloud * np.minimum(surface, weather.top)
    for name, (kelvin, slope) in VAPOUR.items():
        upper = kelvin + slope * weather.ta - 0.1 * weather.vapour
        seen[name] = np.where(weather.top < upper, clear * upper + cloud * weather.top, upper)
    bare = ground.landcover == URBAN
    for name, (water, green, dry, white) in REFLECTANCE.items():
        surface = np.where(ground.land, np.where(bare, dry, green), water)
        seen[name] = weather.sun * (clear * surface + cloud * white)
    noise = {name: 0.15 if name in ABSORPTION or name in VAPOUR else 0.003 for name in seen}
    return {name: values + noise[name] * random.standard_normal(values.shape) for name, values in seen.items()}
