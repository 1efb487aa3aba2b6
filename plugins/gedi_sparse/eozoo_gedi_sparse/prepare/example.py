"""Step ``example``: synthetic raw products (granules, Sentinel tiles, class map) to try the other steps on.

Made up, not observed: the landscape of ``demo/landscape.py``, written as the raw products that a user would download.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.small import write_small
from eozoo_core.run.written import write_text
from rasterio import crs
from rasterio.transform import from_origin
from rasterio.warp import transform

from eozoo_gedi_sparse.demo.landscape import CRS, ORIGIN, SYNTHETIC, clouds, make_world, shots
from eozoo_gedi_sparse.demo.spectra import World, bands_of
from eozoo_gedi_sparse.prepare.settings import ExampleSettings
from eozoo_gedi_sparse.prepare.synthetic_granule import BEAMS, Beam, write_granule
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

PIXEL = 20.0


def make_example(settings: ExampleSettings) -> list[Path]:
    """Write granules/, s2/, s1.tif, worldcover.tif, slope.tif, truth.tif, areas.geojson and gedi.yaml into ``dest``.

    gedi.yaml holds the settings of every later step. The same seed writes the same values.
    """
    dest, shape = settings.dest, (settings.rows, settings.columns)
    rng = np.random.default_rng(settings.seed)
    world = make_world(rng, shape, PIXEL)
    image = bands_of(world, rng, PIXEL)
    image[:12, clouds(rng, shape)] = np.nan
    _write_sentinel(dest, image)
    slope = terrain_slope(world.elevation)
    _write(dest / "slope.tif", slope[None].astype(np.float32), ("slope",))
    _write(dest / "worldcover.tif", worldcover(world)[None], ("class",), nodata=0)
    _write(dest / "truth.tif", biomass(world.height)[None].astype(np.float32), ("agbd",))
    _write_granules(dest / "granules", world, rng)
    write_text(dest / "areas.geojson", json.dumps(_areas(shape), indent=1) + "\n")
    write_text(dest / "gedi.yaml", "# Synthetic example, made by eozoo, not observed.\n" + _config(dest))
    names = ("granules", "s2", "s1.tif", "worldcover.tif", "slope.tif", "truth.tif", "areas.geojson", "gedi.yaml")
    return [dest / name for name in names]


def biomass(height: np.ndarray) -> np.ndarray:
    """Above-ground biomass density, Mg/ha, from canopy height in m: 2 + 1.2 h^1.5, a plausible tropical curve."""
    return 2 + 1.2 * height**1.5


def terrain_slope(elevation: np.ndarray, reach: int = 4) -> np.ndarray:
    """Slope (H, W) in degrees over 2 x ``reach`` pixels, about what a 90 m elevation model shows."""
    wide = np.pad(elevation, reach, mode="reflect")
    inner = slice(reach, -reach)
    down = wide[2 * reach :, inner] - wide[: -2 * reach, inner]
    across = wide[inner, 2 * reach :] - wide[inner, : -2 * reach]
    return np.degrees(np.arctan(np.hypot(down, across) / (2 * reach * PIXEL)))


def worldcover(world: World) -> np.ndarray:
    """WorldCover classes (H, W) uint8 of the landscape: 10 trees, 30 grass, 40 crops, 50 built-up, 80 water."""
    classes = np.where(world.crop > 0.4, 40, 30)
    classes = np.where(world.cover > 0.4, 10, classes)
    classes = np.where(world.built > 0.4, 50, classes)
    return np.where(world.water > 0.5, 80, classes).astype(np.uint8)


def _write_sentinel(dest: Path, image: np.ndarray) -> None:
    """Two Sentinel-2 tiles side by side, of different processing baselines, and one Sentinel-1 raster in dB."""
    middle = image.shape[2] // 2
    for cols, name, offset in ((slice(0, middle), "west_N0214_", 0), (slice(middle, None), "east_N0400_", 1000)):
        numbers = np.nan_to_num(np.rint(image[:12, :, cols] * 10_000 + offset).clip(1, 65_535), nan=0)
        _write(dest / "s2" / f"{name}.tif", numbers.astype(np.uint16), DOCUMENTED_BANDS[:12], cols.start or 0, nodata=0)
    _write(dest / "s1.tif", image[12:] * 30 - 30, DOCUMENTED_BANDS[12:])


def _write_granules(folder: Path, world: World, rng: np.random.Generator) -> None:
    """L4A granules in both layouts, plain and zipped; about a quarter of the shots is not good."""
    labels = shots(rng, world, PIXEL, passes=6)
    row, col = np.nonzero(np.isfinite(labels))
    x, y = ORIGIN[0] + (col + 0.5) * PIXEL, ORIGIN[1] - (row + 0.5) * PIXEL
    lon, lat = (np.asarray(a) for a in transform(CRS, "EPSG:4326", x, y))
    value, n = biomass(labels[row, col]), len(row)
    bad, luck = rng.random(n) < 0.15, rng.random(n)
    value = np.where(bad, value + rng.gamma(2.0, 150.0, n), value)
    value = np.where(luck < 0.02, -9999.0, value)
    beam = Beam(
        lon,
        lat,
        value,
        quality=1.0 - bad,
        degrade=np.where((luck > 0.02) & (luck < 0.05), 80.0, 0.0),
        sensitivity=rng.uniform(0.93, 0.99, n),
        error=np.where(luck > 0.97, 2.0, 0.2) * np.abs(value),
        cover=100 * world.cover[row, col].astype(np.float64),
        sun=rng.uniform(-60, 60, n),
    )
    owner = rng.integers(0, 24, n)  # three granules of eight beams
    for number, (file, version) in enumerate((("one.h5", 2), ("two.zip", 2), ("three.zip", 1))):
        beams = {name: _some(beam, owner == 8 * number + b) for b, name in enumerate(BEAMS)}
        write_granule(folder / f"GEDI04_A_synthetic_{file}", beams, "GEDI_L4A", version, day=1100 + number)


def _some(beam: Beam, chosen: np.ndarray) -> Beam:
    return Beam(*(getattr(beam, name)[chosen] for name in Beam.__dataclass_fields__))


def _areas(shape: tuple[int, int]) -> dict:
    """Two polygons in WGS 84: the western and the eastern half without the border."""
    features = []
    for name, left, right in (("west", 0.1, 0.45), ("east", 0.55, 0.9)):
        cols, rows = np.array([left, right, right, left, left]), np.array([0.1, 0.1, 0.9, 0.9, 0.1])
        x, y = ORIGIN[0] + cols * shape[1] * PIXEL, ORIGIN[1] - rows * shape[0] * PIXEL
        ring = [[round(a, 7), round(b, 7)] for a, b in zip(*transform(CRS, "EPSG:4326", x, y))]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"name": name}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def _config(dest: Path) -> str:
    out = dest / "prepared"
    layers = [{"source": str(dest / "s2"), "scale": "s2"}, {"source": str(dest / "s1.tif"), "scale": "s1_db"}]
    rasters = {"slope": str(dest / "slope.tif"), "worldcover": str(dest / "worldcover.tif")}
    grid = {"like": str(dest / "s1.tif")}
    patches = {"size": 64, "gap": 4, "mask": str(dest / "worldcover.tif"), "dest": str(out / "patches")}
    values = {
        "prepare": {
            "shots": {"source": str(dest / "granules"), "dest": str(out / "shots"), "rasters": rasters},
            "labels": {"source": str(out / "shots"), "dest": str(out / "labels.tif"), "grid": grid},
            "stack": {"layers": layers, "bands": list(DOCUMENTED_BANDS), "dest": str(out / "stack.tif")},
            "patches": {"stack": str(out / "stack.tif"), "labels": str(out / "labels.tif"), **patches},
        },
        "model": {"options": {"width": 16}},
        "train": {"epochs": 40, "batch_size": 8, "learning_rate": 3e-3, "members": 5},
        "data": {"unit": "Mg/ha", "crop": 64, "band_names": list(DOCUMENTED_BANDS)},
        "runtime": {"data_dir": str(out / "patches")},
        "infer": {"window": 128, "stride": 96},
    }
    return yaml.safe_dump(values, sort_keys=False)


def _write(path: Path, values: np.ndarray, names: tuple[str, ...], col: int = 0, nodata: float | None = None) -> None:
    """Write bands (C, H, W) that begin at column ``col`` of the landscape; floats have NaN for nodata."""
    place = from_origin(ORIGIN[0] + col * PIXEL, ORIGIN[1], PIXEL, PIXEL)
    grid = Grid(*values.shape[1:], crs.CRS.from_user_input(CRS), place)
    write_small(path, values, grid, [Band(name) for name in names], nodata, 256, SYNTHETIC)
