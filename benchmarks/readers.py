"""Every kind of file that eozoo reads: a small valid one of each, and the public door that it comes through."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import open_reader
from rasterio import Affine
from rasterio.crs import CRS

RANDOM = np.random.default_rng(1)
GRID = Grid(40, 48, CRS.from_epsg(32631), Affine(10, 0, 5e5, 0, -10, 4e6))


@dataclass(frozen=True)
class Kind:
    """``make(folder)`` writes the file that is damaged and what lies beside it; ``read(file)`` returns what it says.

    sums: whether the format has a checksum over its values, so that none may come out wrong.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    sums: bool = False


def image(bands: int = 3) -> np.ndarray:
    """Random reflectance (bands, 40, 48)."""
    return np.random.default_rng(2).uniform(0, 0.5, (bands, GRID.height, GRID.width)).astype(np.float32)


def read_raster(path: Path) -> Any:
    """Return values and description of a raster."""
    with open_reader(path) as reader:
        about = reader.info
        where = (str(about.grid.crs), about.grid.transform, about.descriptions, about.units)
        return reader.read(about.grid.whole), where


def cog(folder: Path, name: str = "image.tif") -> Path:
    """Write a map as ``infer`` does."""
    bands = [Band(f"B{i}", "1") for i in range(3)]
    with CogWriter(folder / name, GRID, bands, tags={"RUN": "r"}) as out:
        out.write_rows(0, image())
    return folder / name


def vrt(folder: Path) -> Path:
    """Write a VRT of a file beside it."""
    cog(folder)
    bands = "".join(
        f'<VRTRasterBand dataType="Float32" band="{b}"><NoDataValue>nan</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">image.tif</SourceFilename><SourceBand>{b}</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="48" ySize="40"/><DstRect xOff="0" yOff="0" xSize="48" ySize="40"/>'
        "</SimpleSource></VRTRasterBand>"
        for b in (1, 2, 3)
    )
    place = "<SRS>EPSG:32631</SRS><GeoTransform>5e5, 10, 0, 4e6, 0, -10</GeoTransform>"
    return _text(folder / "mosaic.vrt", f'<VRTDataset rasterXSize="48" rasterYSize="40">{place}{bands}</VRTDataset>')


def npy(folder: Path) -> Path:
    """Write an array."""
    np.save(folder / "image.npy", image())
    return folder / "image.npy"


def netcdf_raster(folder: Path) -> Path:
    """Write one variable, read by GDAL."""
    import h5py

    with h5py.File(folder / "one.nc", "w") as file:
        file.create_dataset("band", data=image(1)[0], compression="gzip", chunks=(16, 16))
    return folder / "one.nc"


def prithvi(folder: Path) -> Path:
    """Write a tile and its sidecar."""
    from eozoo_prithvi_refine.tile_files import tile_arrays, write_npz

    meta = {"date": "20230615", "place": "A", "crs": "EPSG:32631", "transform": [10, 0, 5e5, 0, -10, 4e6]}
    return write_npz(folder / "tile.npz", tile_arrays(image(4), 6, 3), meta)


def prithvi_json(folder: Path) -> Path:
    """The sidecar of a tile."""
    return prithvi(folder).with_suffix(".json")


def read_prithvi(path: Path) -> Any:
    """Read a tile as training does."""
    from eozoo_prithvi_refine.checking import _place
    from eozoo_prithvi_refine.tile_files import read_tile

    tile = read_tile(path.with_suffix(".npz"))
    return tile.image, tile.month, tile.biome, tile.meta, _place([path.with_suffix(".npz")], 0)


def chunk(folder: Path) -> Path:
    """Write a chunk of 20 samples."""
    from eozoo_clay_ta.chunks import SCHEMA, chunk_path, write_chunk

    arrays = {n: RANDOM.normal(size=(20, *shape)).astype(np.float32) for n, shape in SCHEMA.items()}
    meta = [(f"2022-01-03T{i:02d}:00", 100 + i, 10, 12) for i in range(20)]
    return write_chunk(chunk_path(folder, "train", 0), arrays, meta)


def read_chunk(path: Path) -> Any:
    """Read a chunk as ``check`` does."""
    from eozoo_clay_ta import chunks

    found = chunks.open_chunk(path, whole=True)
    return {name: values.numpy() for name, values in found.tensors.items()}, found.meta


def normalisation(folder: Path) -> Path:
    """Write what samples were normalised with."""
    from eozoo_clay_ta.sample_schema import CHANNELS, Normalisation

    norm = Normalisation.of([270.5 + i for i in range(CHANNELS)], [10.25] * CHANNELS, 11.5, 9.25)
    return norm.write(folder / "normalisation.json")


def read_normalisation(path: Path) -> Any:
    """Read it."""
    from eozoo_clay_ta.sample_schema import Normalisation

    return Normalisation.read(path).state()


def gk2a(folder: Path) -> Path:
    """Write a level-1B file of 32 x 32 pixels."""
    from eozoo_clay_ta.channels import BT
    from eozoo_clay_ta.demo.products import write_l1b
    from eozoo_clay_ta.grid import KoGrid
    from eozoo_clay_ta.level1b import l1b_name

    raw = RANDOM.integers(1000, 3000, (32, 32)).astype(np.uint16)
    file = folder / l1b_name(BT[0], "202201030300")
    write_l1b(file, BT[0], raw, KoGrid(32, 32))
    return file


def read_gk2a(path: Path) -> Any:
    """Read it as a scene is read."""
    from eozoo_clay_ta.channels import BT
    from eozoo_clay_ta.grid import KoGrid
    from eozoo_clay_ta.level1b import read_channel

    values, calibration = read_channel(path, BT[0], KoGrid(32, 32))
    return values, calibration.channel


def granule(folder: Path, name: str = "GEDI04_A_2020036151358_O06515.h5") -> Path:
    """Write a granule of two beams."""
    from eozoo_gedi_sparse.prepare.synthetic_granule import make_beam, write_granule

    lon, lat = np.linspace(-58, -57.9, 30), np.linspace(-5, -4.9, 30)
    beams = {name: make_beam(lon, lat, RANDOM.uniform(10, 300, 30)) for name in ("BEAM0000", "BEAM0101")}
    return write_granule(folder / name, beams, "GEDI_L4A")


def read_granule(path: Path) -> Any:
    """Read it as step shots does."""
    from eozoo_gedi_sparse.prepare.granules import read_granule as read

    shots = read(path)
    return shots.lon, shots.lat, shots.value, shots.columns, shots.ids


def shots_csv(folder: Path) -> Path:
    """Write a table of shots."""
    rows = [f"{-58 + i / 100:.5f},{-5 + i / 100:.5f},{100.5 + i},5.1,1,0" for i in range(20)]
    return _text(folder / "shots.csv", "\n".join(["lon,lat,agbd,agbd_se,quality,degrade", *rows]) + "\n")


def shots_geojson(folder: Path) -> Path:
    """Write points of shots."""
    features = [
        {"type": "Feature", "properties": {"agbd": 100.5 + i, "quality": 1},
         "geometry": {"type": "Point", "coordinates": [-58 + i / 100, -5 + i / 100]}}
        for i in range(20)
    ]  # fmt: skip
    return _text(folder / "shots.geojson", json.dumps({"type": "FeatureCollection", "features": features}))


def shots_gpkg(folder: Path) -> Path:
    """Write a GeoPackage of shots."""
    with closing(sqlite3.connect(folder / "shots.gpkg")) as base:
        base.execute("CREATE TABLE gpkg_contents (table_name, data_type)")
        base.execute("CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id)")
        base.execute("CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization, organization_coordsys_id, definition)")
        base.execute("INSERT INTO gpkg_contents VALUES ('shots', 'features')")
        base.execute("INSERT INTO gpkg_geometry_columns VALUES ('shots', 'geom', 4326)")
        base.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (4326, 'EPSG', 4326, '')")
        base.execute("CREATE TABLE shots (geom BLOB, agbd REAL, quality INTEGER)")
        for i in range(20):
            point = b"GP\0\1" + struct.pack("<i", 4326) + b"\1" + struct.pack("<Idd", 1, -58 + i / 100, -5 + i / 100)
            base.execute("INSERT INTO shots VALUES (?, ?, ?)", (point, 100.5 + i, 1))
        base.commit()
    return folder / "shots.gpkg"


def read_shots(path: Path) -> Any:
    """Read a table as step shots does."""
    from eozoo_gedi_sparse.prepare.shot_tables import read_table

    shots = read_table(path)
    return shots.lon, shots.lat, shots.value, shots.columns


def kept_shots(folder: Path) -> Path:
    """Write the plugin's own file of shots."""
    from eozoo_gedi_sparse.prepare.shot_tables import read_table
    from eozoo_gedi_sparse.prepare.shots import save

    save(folder / "shots.npz", read_table(shots_csv(folder)), {"made_from": "x"})
    return folder / "shots.npz"


def read_kept(path: Path) -> Any:
    """Read it."""
    from eozoo_gedi_sparse.prepare.shots import load

    shots, facts = load(path)
    return shots.lon, shots.lat, shots.value, shots.ids, facts


def barlow(name: str) -> Callable[[Path], Path]:
    """Write a tile; ``name`` is the file of it to damage."""

    def make(folder: Path) -> Path:
        from datetime import date

        from eozoo_barlow_twins.prepare.write_tile import TilePlan, new_tile

        numbers = np.random.default_rng(3).integers(100, 5000, (4, 12, 10, 2)).astype(np.uint16)
        days = tuple(date(2022, 3 + i, 5) for i in range(4))
        plan = TilePlan(("B04", "B08"), days, 12, 10, GRID.crs.to_wkt(), tuple(GRID.transform)[:6], "made up")
        with new_tile(folder / "TILE", plan) as out:
            for i in range(4):
                out.put(i, 0, numbers[i], np.ones((12, 10), bool))
        return folder / "TILE" / name

    return make


def read_barlow(path: Path) -> Any:
    """Read a tile as training does, the arrays that ``check`` alone reads whole as that does."""
    from eozoo_barlow_twins.tiles import Tile

    tile = Tile(path.parent)
    if path.name in ("bands.npy", "masks.npy"):
        tile.require_whole()
    return (
        *tile.series(np.arange(tile.shape[1] * tile.shape[2])),
        tile.doys,
        tile.statistics(),
        tile.band_names,
        str(tile.grid),
        tile.counts,
    )


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
