"""A synthetic landscape with GEDI-like shots, for the demo, the tests and newcomers: made up, not observed.

``write_landscape`` writes what the document describes (patches as .npy in train/, val/ and test/) and one georeferenced
scene. All places are cut from one world and none of them overlap. Only what the task needs is modelled: the bands know
a canopy's height through its leaf area, shadow and volume scattering, all of which saturate; above some 25 m they
hardly change any more, so an honest model must grow less certain there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from eozoo_core.run.written import write_array

from eozoo_gedi_sparse.demo.random_fields import cells, flow_distance, noise, smoothstep, unit
from eozoo_gedi_sparse.demo.spectra import World, bands_of
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

CRS = "EPSG:32647"  # UTM zone 47 N, Thailand, as in the document
ORIGIN = (480_000.0, 2_080_000.0)  # easting and northing of the world's upper left corner, m
NODATA = -9999.0
SYNTHETIC = {"synthetic": "yes: made by eozoo, not observed"}
GAP = 16  # px between the splits, so that no shot's surroundings reach across


@dataclass(frozen=True)
class Landscape:
    """What ``write_landscape`` wrote. ``height`` is the true canopy height of the scene (H, W), m, without gaps."""

    input_dir: Path
    label_dir: Path
    scene: Path
    height: np.ndarray


def write_landscape(
    root: Path,
    seed: int = 0,
    tiles: tuple[int, int, int] = (40, 8, 8),
    size: int = 96,
    scene: tuple[int, int] = (384, 512),
    pixel: float = 20.0,
) -> Landscape:
    """Write ``root/{input,label}/SPLIT/NAME.npy``, ``root/scene.tif`` and its true height ``root/truth.npy``.

    The same seed writes the same bytes.

    tiles: patches for train, val, test. size: side of a patch, px. scene: rows and columns of the scene. pixel: m.
    Inputs (14, size, size) float32 in the document's band order, labels (1, size, size) float32 in m, NaN = missing.
    """
    root = Path(root)
    columns = max(-(-scene[1] // size), int(np.ceil(np.sqrt(sum(tiles)))))
    rows = [-(-n // columns) for n in tiles]
    shape = (scene[0] + sum(rows) * size + len(tiles) * GAP, max(columns * size, scene[1]))
    rng = np.random.default_rng(seed)
    world = make_world(rng, shape, pixel)
    image = bands_of(world, rng, pixel)
    image[: len(DOCUMENTED_BANDS) - 2, clouds(rng, shape)] = np.nan  # radar sees through
    label = shots(rng, world, pixel)
    top = scene[0] + GAP
    for split, count, height in zip(("train", "val", "test"), tiles, rows, strict=True):
        for i in range(count):
            row, col = top + (i // columns) * size, (i % columns) * size
            place = np.s_[:, row : row + size, col : col + size]
            write_array(root / "input" / split / f"place_{i:03d}.npy", image[place].astype(np.float32))
            write_array(root / "label" / split / f"place_{i:03d}.npy", label[None][place].astype(np.float32))
        top += height * size + GAP
    _write_scene(root / "scene.tif", image[:, : scene[0], : scene[1]], pixel)
    truth = world.height[: scene[0], : scene[1]].copy()
    write_array(root / "truth.npy", truth.astype(np.float32))
    return Landscape(root / "input", root / "label", root / "scene.tif", truth)


def make_world(rng: np.random.Generator, shape: tuple[int, int], pixel: float) -> World:
    """Hills and valleys, a river, forest on the slopes, fields and villages in the valleys."""
    scale = 20.0 / pixel  # lengths below are in pixels of 20 m
    valley = noise(rng, shape, 130 * scale, 3.4)
    river = flow_distance(valley)
    relief = smoothstep(np.abs(valley), 0.05, 1.6)
    elevation = 180 + 420 * relief * (0.75 + 0.35 * noise(rng, shape, 60 * scale, 3.2)) + 14 * noise(rng, shape, 9, 2.5)
    water = smoothstep(-river, -2.6 * scale, -1.4 * scale)
    wet = unit(noise(rng, shape, 50 * scale, 2.0) - 1.3 * relief)

    wild = 1.5 * relief - 0.55 + 0.42 * noise(rng, shape, 70 * scale, 2.2) + 0.16 * noise(rng, shape, 8 * scale, 2.0)
    forest = smoothstep(wild, -0.04, 0.12)
    parcel, edge = cells(rng, shape, 9 * scale)
    kind = rng.random(int(parcel.max()) + 1).astype(np.float32)[parcel]
    vigour = rng.random(int(parcel.max()) + 1).astype(np.float32)[parcel]
    plantation = (kind > 0.80).astype(np.float32) * (1 - forest)
    hedge = edge * (kind < 0.80) * (unit(noise(rng, shape, 3, 1.0)) > 0.55) * (1 - forest)
    clearing = smoothstep(noise(rng, shape, 22 * scale, 2.4), 1.35, 1.6) * forest
    forest = forest * (1 - clearing)

    built = _villages(rng, shape, scale, (forest < 0.1) & (river > 6 * scale) & (relief < 0.5))
    open_ground = (1 - built) * (1 - water)
    age = unit(noise(rng, shape, 45 * scale, 2.4) + 0.5 * relief)
    texture = 1 + 0.13 * noise(rng, shape, 2.5, 1.0)
    tall = forest * (7 + 32 * age**1.15) * texture + plantation * (5 + 13 * vigour) * (1 + 0.06 * (texture - 1))
    bush = hedge * (3 + 5 * vigour) + clearing * 2.0
    cover = (
        forest * (0.60 + 0.37 * (1 - np.exp(-5 * age)))
        + plantation * (0.45 + 0.45 * vigour)
        + 0.5 * hedge
        + 0.2 * clearing
    ) * open_ground
    crop = np.clip(vigour * 1.15 - 0.1, 0, 1) * (1 - plantation) * (kind < 0.62) + 0.35 * (kind >= 0.62)
    crop = np.clip(crop + 0.5 * clearing, 0, 1) * open_ground
    height = np.clip((tall + bush) * open_ground + 0.9 * crop * (1 - cover), 0, 60)
    fields = (height, np.clip(cover, 0, 1), crop, built, water, wet, elevation)
    return World(*(np.ascontiguousarray(f, dtype=np.float32) for f in fields))


def clouds(rng: np.random.Generator, shape: tuple[int, int], share: float = 0.03) -> np.ndarray:
    """True (H, W) under a cloud, about ``share`` of all pixels."""
    field = noise(rng, shape, 40, 2.6)
    return field > np.quantile(field, 1 - share)


def shots(rng: np.random.Generator, world: World, pixel: float, passes: int = 4) -> np.ndarray:
    """GEDI-like heights (H, W) float32 in m, NaN = no shot.

    Each pass: straight parallel beams 600 m apart, a shot every 60 m, inclined by about 40 degrees, half of the passes
    ascending. A shot sees the mean height of its 25 m footprint, displaced by geolocation noise of 8 m (one sigma per
    axis), with an error that grows with height and slope; below 2.5 m the waveforms of ground and plants cannot be told
    apart and count as 0.
    """
    rows, cols = world.height.shape
    sums, counts = np.zeros((rows, cols)), np.zeros((rows, cols), np.int64)
    slope = np.hypot(*np.gradient(world.elevation, pixel))
    reach = np.hypot(rows, cols) * pixel
    for number in range(passes):
        angle = np.deg2rad(rng.uniform(36, 44) * (1 if number % 2 else -1))
        along, across = np.meshgrid(
            np.arange(-reach, reach, 60.0) + rng.uniform(0, 60), np.arange(-reach, reach, 600.0) + rng.uniform(0, 600)
        )
        x = (cols * pixel / 2 + along * np.cos(angle) - across * np.sin(angle)).ravel()
        y = (rows * pixel / 2 + along * np.sin(angle) + across * np.cos(angle)).ravel()
        inside = (x >= 0) & (x < cols * pixel) & (y >= 0) & (y < rows * pixel) & (rng.random(x.size) > 0.12)
        x, y = x[inside], y[inside]
        seen = _footprints(world.height, x + rng.normal(0, 8, x.size), y + rng.normal(0, 8, y.size), pixel)
        place = (y / pixel).astype(int), (x / pixel).astype(int)
        seen = seen + rng.normal(0, 1, x.size) * (0.7 + 0.07 * seen + 4.0 * slope[place])
        np.add.at(sums, place, np.where(seen < 2.5, 0.0, seen))
        np.add.at(counts, place, 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


def _footprints(height: np.ndarray, x: np.ndarray, y: np.ndarray, pixel: float) -> np.ndarray:
    """Mean height over the centre and four points at 8 m of each footprint (radius 12.5 m)."""
    total = np.zeros(x.size)
    for dx, dy in ((0, 0), (8, 0), (-8, 0), (0, 8), (0, -8)):
        row = np.clip((y + dy) / pixel, 0, height.shape[0] - 1).astype(int)
        col = np.clip((x + dx) / pixel, 0, height.shape[1] - 1).astype(int)
        total += height[row, col]
    return total / 5


def _villages(rng: np.random.Generator, shape: tuple[int, int], scale: float, allowed: np.ndarray) -> np.ndarray:
    """Built-up share 0..1: loose clusters of houses on allowed ground, joined by roads one pixel wide."""
    built = np.zeros(shape, np.float32)
    rows, cols = np.nonzero(allowed)
    if rows.size == 0:
        return built
    pick = rng.choice(rows.size, size=max(1, int(rows.size / (9000 * scale**2))))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    grain = unit(noise(rng, shape, 2.0, 0.6))
    centres = sorted(zip(rows[pick].tolist(), cols[pick].tolist(), strict=True))
    for row, col in centres:
        blob = np.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * (rng.uniform(3, 7) * scale) ** 2))
        built = np.maximum(built, smoothstep(blob * grain, 0.16, 0.34))
    for (r0, c0), (r1, c1) in pairwise(centres):
        steps = 2 * max(abs(r1 - r0), abs(c1 - c0), 1)
        t = np.linspace(0, 1, steps)
        bend = np.sin(np.pi * t) * rng.uniform(-12, 12) * scale
        road = (r0 + t * (r1 - r0) + bend).astype(int), (c0 + t * (c1 - c0) - bend).astype(int)
        inside = (road[0] >= 0) & (road[0] < shape[0]) & (road[1] >= 0) & (road[1] < shape[1])
        built[road[0][inside], road[1][inside]] = np.maximum(built[road[0][inside], road[1][inside]], 0.55)
    return built


def _write_scene(path: Path, image: np.ndarray, pixel: float) -> None:
    """14 bands, float32, nodata -9999, band descriptions; the corner outside the satellite's swath holds no data."""
    from eozoo_core.raster.cog import Band
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.raster.small import write_small
    from rasterio import crs
    from rasterio.transform import from_origin

    _, rows, cols = image.shape
    y, x = np.mgrid[:rows, :cols]
    image = np.where(np.isnan(image) | ((y / rows + x / cols) > 1.86), NODATA, image).astype(np.float32)
    grid = Grid(rows, cols, crs.CRS.from_user_input(CRS), from_origin(*ORIGIN, pixel, pixel))
    write_small(path, image, grid, [Band(name) for name in DOCUMENTED_BANDS], NODATA, 256, SYNTHETIC)
