"""Small made data as people hold them, for docs/your_own_data.md: a raster, fields, patches, plots, another place.

``python tests/own_data.py FOLDER`` writes them.
"""

import sys
from pathlib import Path
from shutil import copyfile

import numpy as np
from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.small import write_small
from eozoo_core.run.written import write_table
from rasterio import Affine
from rasterio.crs import CRS

BANDS = ("blue", "green", "red", "nir")
REFLECTANCE = {"maize": (0.05, 0.08, 0.06, 0.38), "meadow": (0.05, 0.09, 0.07, 0.32), "wheat": (0.07, 0.11, 0.13, 0.28),
               "orchard": (0.06, 0.09, 0.10, 0.24)}  # fmt: skip
FIELD, PIXEL, NORTH = 10, 10.0, 5_400_000.0  # px of a field's side, m of a pixel, m
SETTINGS = """\
model: {name: residual_cnn, options: {width: 16, depth: 1}}
data: {crop: 32}
train: {epochs: 8, epoch_steps: 6, learning_rate: 0.005, batch_size: 4}
runtime: {tensorboard: false}
"""
TWINS = """\
data: {dataset: mine, block: 8}
train: {epochs: 2, batch_size: 64, learning_rate: 0.002}
eval: {draws: 1, bootstrap: 20, trees: 10}
"""


def write_all(root):
    """Write what the page names: rasters, fields, patches, plots, another place, two tile folders, settings."""
    from eozoo_barlow_twins.demo.phenology import write_landscape

    fields(root / "scene.tif", root / "fields.gpkg", 500_000.0, 16, 0)
    fields(root / "other.tif", root / "other.gpkg", 540_000.0, 8, 1)
    for date in ("20210415", "20210710"):
        (root / "dates").mkdir(exist_ok=True)
        copyfile(root / "scene.tif", root / "dates" / f"{date}.tif")
    patches(root / "patches")
    plots(root / "plots.csv")
    write_landscape(root / "here/data/mine/processed/MGRS-31UDS", 32, 70, 1, 0.25)
    write_landscape(root / "there/data/mine/processed/MGRS-32UNU", 32, 70, 2, 0.25)
    (root / "small.yaml").write_text(SETTINGS)
    (root / "twins.yaml").write_text(TWINS)


def fields(raster, vector, east, across, seed):
    """A raster of ``across`` x ``across`` fields, and those of which the crop is known as polygons."""
    import pyogrio
    import shapely

    random = np.random.default_rng(seed)
    crop = random.choice(len(REFLECTANCE), (across, across), p=(0.4, 0.3, 0.24, 0.06))
    corner = Affine(PIXEL, 0.0, east, 0.0, -PIXEL, NORTH)
    shade = random.normal(0.0, 0.008, (4, across, across))  # of a field
    values = np.array(list(REFLECTANCE.values())).T[:, crop] + shade
    write(raster, np.kron(values, np.ones((FIELD, FIELD))), corner, random)
    row, column = np.nonzero(random.random(crop.shape) < 0.7)
    step, inset = FIELD * PIXEL, PIXEL * 1.2
    box = shapely.box(
        east + column * step + inset, NORTH - (row + 1) * step + inset,
        east + (column + 1) * step - inset, NORTH - row * step - inset,
    )  # fmt: skip
    names = np.array(list(REFLECTANCE), object)[crop[row, column]]
    pyogrio.raw.write(vector, shapely.to_wkb(box), [names], ["crop"], geometry_type="Polygon", crs="EPSG:32633")


def patches(folder):
    """24 patches and, of the same names, height in m at some of their pixels."""
    for i in range(24):
        random = np.random.default_rng(i)
        height, bands = plants(random.uniform(0, 9, 2), random)
        corner = Affine(PIXEL, 0.0, 500_000.0 + 1000.0 * i, 0.0, -PIXEL, NORTH)
        write(folder / "image" / f"place_{i:02d}.tif", bands, corner, random)
        known = np.where(random.random(height.shape) < 0.15, height, np.nan)
        grid = Grid(*height.shape, CRS.from_epsg(32633), corner)
        write_small(folder / "label" / f"place_{i:02d}.tif", known[None].astype("float32"), grid, [Band("height", "m")])


def plots(file):
    """400 plots: place, reflectance and height."""
    random = np.random.default_rng(5)
    lon, lat = random.uniform(15.0, 15.6, 400), random.uniform(48.5, 48.9, 400)
    height = np.clip(12 + 7 * np.sin(lon * 30) + 6 * np.cos(lat * 40) + random.normal(0, 1.5, 400), 0, None)
    bands = reflectance(height) + random.normal(0, 0.008, (4, 400))
    rows = [[f"p{i}", *(f"{v:.5f}" for v in (lon[i], lat[i], *bands[:, i])), f"{height[i]:.1f}"] for i in range(400)]
    write_table(file, ["plot", "lon", "lat", *BANDS, "height [m]"], rows)


def plants(shift, random):
    """Height in m (40, 40) and reflectance (4, 40, 40)."""
    row, column = np.mgrid[:40, :40] / 7.0
    height = np.clip(12 + 7 * np.sin(row + shift[0]) + 6 * np.cos(column + shift[1]), 0, None)
    return height + random.normal(0, 1.0, height.shape), reflectance(height)


def reflectance(height):
    """Of bare ground under more and more leaves."""
    leaves = 1 - np.exp(-height / 12)
    bare, forest = (0.08, 0.12, 0.18, 0.22), (0.03, 0.06, 0.03, 0.45)
    return np.stack([b + (f - b) * leaves for b, f in zip(bare, forest, strict=True)])


def write(file, values, corner, random):
    """Write reflectance (4, H, W) with noise."""
    noisy = np.clip(values + random.normal(0, 0.025, values.shape), 0, 1).astype("float32")
    grid = Grid(*values.shape[1:], CRS.from_epsg(32633), corner)
    write_small(file, noisy, grid, [Band(band, "reflectance 0..1") for band in BANDS])


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
