"""A synthetic country of five land covers with their seasons, clouds and noise: for demos and tests.

Pixels take up light from their neighbours, and every observation is noisy.

Vegetation follows a double logistic curve of the day of year (Beck et al. 2006): crops (two kinds, by sowing date),
grass, forest; built-up and water hardly change. Reflectance in each band is a mixture of a dark and a bright spectrum
by greenness. Clouds are patches that hide about half of all observations.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
from eozoo_core import Sample
from eozoo_core.settings import ScheduleSettings

from eozoo_barlow_twins.prepare.settings import S2_BANDS
from eozoo_barlow_twins.prepare.store import write_store
from eozoo_barlow_twins.prepare.write_tile import TilePlan, new_tile
from eozoo_barlow_twins.settings import (
    BarlowSettings,
    LabelledData,
    Labels,
    LandCoverModel,
    LandCoverRuntime,
    LandCoverSettings,
    LandCoverTrain,
    PixelEval,
    PixelTrain,
    PretrainData,
    PretrainRuntime,
)
from eozoo_barlow_twins.tiles import Tile, processed

LEGEND = {10: "Tree cover", 30: "Grassland", 40: "Cropland", 50: "Built-up", 80: "Permanent water bodies"}
# code, base and peak greenness, day of half rise and of half fall, their spread between fields in days
_KINDS = (
    (10, 0.45, 0.95, 110, 290, 8), (30, 0.35, 0.85, 85, 290, 20), (40, 0.15, 0.90, 95, 205, 15),
    (40, 0.15, 0.85, 150, 265, 15), (50, 0.15, 0.40, 105, 280, 20), (80, 0.0, 0.02, 100, 280, 10),
)  # fmt: skip
# Digital numbers of bare and of green surfaces in S2_BANDS, and of water.
_BARE = np.array([900, 1200, 1500, 1800, 2000, 2100, 2250, 2350, 3000, 2500], float)
_GREEN = np.array([250, 550, 300, 900, 2700, 3500, 3700, 3800, 1700, 800], float)
_FOREST = np.array([200, 380, 230, 650, 1900, 2400, 2500, 2600, 1100, 500], float)
_WATER = np.array([450, 400, 250, 200, 170, 160, 150, 140, 60, 40], float)
_BUILT = np.array([1300, 1450, 1600, 1750, 1850, 1900, 2000, 2050, 2300, 2200], float)


def write_landscape(folder: Path, size: int, dates: int, seed: int, clouds: float = 0.45) -> Path:
    """Write a tile of ``size`` x ``size`` pixels and ``dates`` dates of one year with labels.npy; return it.

    Each ``seed`` has its own place on the ground.
    """
    random = np.random.default_rng(seed)
    kinds, fields = _fields(size, random)
    days = np.sort(random.choice(np.arange(3, 363), dates, replace=False))
    when = tuple(date(2021, 1, 1) + timedelta(int(d) - 1) for d in days)
    labels = np.array([k[0] for k in _KINDS], np.uint8)[kinds]
    wkt = _utm()
    place = (10.0, 0.0, 500000.0 + 20000.0 * seed, 0.0, -10.0, 5600000.0)
    plan = TilePlan(
        S2_BANDS, when, size, size, wkt, place, "SYNTHETIC phenologies",
        {"labels.npy": labels},
    )  # fmt: skip
    # Fields of a kind differ: how early, how green; pixels a little more.
    shift = random.normal(0, 1.2, fields.max() + 1)[fields] + random.normal(0, 0.3, (size, size))
    vigour = random.uniform(0.35, 1.0, fields.max() + 1)[fields]
    with new_tile(folder, plan) as writer:
        for number, day in enumerate(days):
            values = _reflectance(kinds, shift, vigour, float(day), random)
            cloud = _cloud(size, clouds, random)
            values[cloud] = random.normal(5500, 900, (int(cloud.sum()), 1)).clip(2500)
            writer.put(number, 0, values, ~cloud)
    write_store(Tile(folder))
    return folder


def pretrain_sample(root: Path) -> Sample:
    """Two tiles, settings that train in seconds, one tile as source, and a batch for ``predict``."""
    folder = _landscapes(root)
    settings = BarlowSettings(
        data=PretrainData(dataset="synthetic", block=8, val_samples=256),
        train=PixelTrain(
            epochs=6,
            batch_size=128,
            learning_rate=1e-3,
            schedule=ScheduleSettings(name="cosine", warmup_steps=4),
            log_every=5,
        ),
        runtime=PretrainRuntime(data_dir=str(root)),
        eval=PixelEval(draws=3, bootstrap=100, trees=50, labels=Labels(legend=LEGEND)),
    )
    return Sample(settings, folder / "MGRS-SYN02", _batch(Tile(folder / "MGRS-SYN02")))


def landcover_sample(root: Path) -> Sample:
    """The same tiles with labels; the encoder starts at random, so that no other run is needed."""
    folder = _landscapes(root)
    settings = LandCoverSettings(
        model=LandCoverModel(trainable="all", head="linear"),
        data=LabelledData(dataset="synthetic", block=8, legend=LEGEND),
        train=LandCoverTrain(epochs=6, batch_size=128, learning_rate=2e-3, log_every=5),
        runtime=LandCoverRuntime(data_dir=str(root)),
        eval=PixelEval(draws=3, bootstrap=100, trees=50),
    )
    return Sample(settings, folder / "MGRS-SYN02", _batch(Tile(folder / "MGRS-SYN02")))


def _landscapes(root: Path) -> Path:
    folder = processed(root, "synthetic")
    for number in (1, 2):
        path = folder / f"MGRS-SYN{number:02d}"
        if not path.exists():
            write_landscape(path, 40, 80, number)
    return folder


def _batch(tile: Tile) -> dict[str, np.ndarray]:
    """Three pixels that have enough clear dates, cloudy dates as NaN."""
    pixels = np.flatnonzero(tile.counts > 34)[:3]
    bands, clear = tile.series(pixels)
    series = np.where(clear[:, :, None], bands.astype(np.float32), np.nan)
    return {"bands": series, "doys": np.tile(tile.doys, (len(pixels), 1))}


def _fields(size: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Kind and field of each pixel ``(size, size)``: fields around random centres (nearest centre wins)."""
    count = max(12, size * size // 60)
    centres = random.uniform(0, size, (count, 2))
    kind = np.arange(count) % len(_KINDS)
    rows, cols = np.mgrid[:size, :size]
    best, nearest = np.full((size, size), np.inf), np.zeros((size, size), int)
    for number, (row, col) in enumerate(centres):
        distance = (rows - row) ** 2 + (cols - col) ** 2
        nearest = np.where(distance < best, number, nearest)
        best = np.minimum(best, distance)
    return kind[nearest], nearest


def _reflectance(
    kinds: np.ndarray, shift: np.ndarray, vigour: np.ndarray, day: float, random: np.random.Generator
) -> np.ndarray:
    low, high, rise, fall, spread = (np.array([k[i] for k in _KINDS], float)[kinds] for i in range(1, 6))
    up = 1 / (1 + np.exp(-(day - rise - shift * spread) / 9))
    down = 1 / (1 + np.exp((day - fall - shift * spread) / 9))
    green = (vigour * (low + (high - low) * (up + down - 1).clip(0, 1)))[..., None]
    codes = np.array([k[0] for k in _KINDS])[kinds][..., None]
    leaf = np.where(codes == 10, _FOREST, _GREEN)
    values = (1 - green) * np.where(codes == 50, _BUILT, _BARE) + green * leaf
    values = np.where(codes == 80, _WATER, values)
    values = 0.6 * values + 0.1 * sum(np.roll(values, s, a) for s in (-1, 1) for a in (0, 1))  # light of neighbours
    scene = random.normal(1, 0.08)  # haze and sun angle: one factor a scene
    noise = random.normal(1, 0.12, (*kinds.shape, 1)) * random.normal(1, 0.12, values.shape)
    return (values * scene * noise + random.normal(0, 60, values.shape)).clip(1, 9000)


def _cloud(size: int, share: float, random: np.random.Generator) -> np.ndarray:
    """A smooth random field cut at a random level: some dates are clear, some hidden, most in between."""
    coarse = random.normal(0, 1, (6, 6))
    at = np.linspace(0, 4.999, size)
    i, f = at.astype(int), at - at.astype(int)
    rows = coarse[i] * (1 - f)[:, None] + coarse[i + 1] * f[:, None]
    field = rows[:, i] * (1 - f) + rows[:, i + 1] * f
    return field > np.quantile(field, np.clip(random.beta(0.6, 0.6) * 2 * (1 - share), 0, 1))


def _utm() -> str:
    from rasterio.crs import CRS

    return CRS.from_epsg(32631).to_wkt()
