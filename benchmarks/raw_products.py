"""Small raw products, and the preparation steps that take them, for `benchmarks.full_disk`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.more_readers import cube, polygons

_SIDE = 64
_PLACE = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 499900, 0, -10, 3984300)}


def steps() -> dict[str, str]:
    """Return the command line of every step that takes raw products, by its name; {b} and {d} as in `full_disk`."""
    raw, twins = "{b}/raw", "--set runtime.data_dir={d} --set prepare"
    clay = "--config {b}/clay_ta/run/config.yaml --set"
    tiles = json.dumps({"name": "pixel_tiles", "options": {"folder": f"{raw}/tiles"}}, separators=(",", ":"))
    bands = '["B04","B11"]'
    found = {
        "clay_ta build_index": f"{clay} runtime.index_dir={{d}}/index",
        "clay_ta build_patches": f"{clay} runtime.data_dir={{d}}/pt --set runtime.statistics_dir={{d}}/statistics",
        "clay_ta inspect": f"{clay} prepare.inspect.out={{d}}/inspect",
        "barlow_twins table": f"{twins}.table.file={raw}/t.parquet --set prepare.table.tile=T "
        f"--set prepare.table.offset=0 --set prepare.table.bands={bands}",
        "barlow_twins dataset": f"{twins}.dataset.tiles={tiles}",
        "prithvi_refine tiles": f"--set prepare.source={raw}/stacks --set runtime.data_dir={{d}}/tiles "
        "--set prepare.biome=4 --set prepare.fractions=[1,0,0] --set prepare.offset=0",
        "prithvi_refine season_pairs": "--set runtime.data_dir={d}/seasons --set runtime.stage1_dir={d}/s1",
        "gedi_sparse totals": f"--set prepare.totals.maps={raw}/map/t_mean.tif --set prepare.totals.polygons="
        f"{raw}/p.geojson --set prepare.totals.name=name --set prepare.totals.dest={{d}}/totals.csv",
    }
    for step in ("cube", "scenes"):
        how = f"{twins}.{step}.folder={raw}/{step} --set prepare.{step}.tile=T --set prepare.{step}.offset=0"
        found[f"barlow_twins {step}"] = f"{how} --set prepare.{step}.bands={bands}"
    return found


def write(base: Path) -> None:
    """Write what `steps` reads below ``base``/raw."""
    random = np.random.default_rng(5)
    raw = base / "raw"
    for folder in ("cube", "made", "tiles"):
        (raw / folder).mkdir(parents=True)
    cube(raw / "made").rename(raw / "cube" / "a.nc")
    for day in ("2020-03-01", "2020-03-11"):
        layers = {name: random.integers(1, 5000, (_SIDE, _SIDE)).astype(np.uint16) for name in ("B04", "B11")}
        _raster(raw / "scenes" / f"stack_{day}.tif", {**layers, "SCL": np.full((_SIDE, _SIDE), 4, np.uint16)})
    _tables(raw)
    months = ("20210115", "20210415", "20210715")
    names = [f"{band}_{month}" for month in months for band in ("B02", "B03", "B04", "B08")]
    _raster(raw / "stacks" / "stack.tif", {n: random.integers(400, 1000, (240, 240)).astype(np.uint16) for n in names})
    for name, high in (("mean", 200), ("std", 20)):
        biomass = {f"agbd {name}": random.uniform(10, high, (_SIDE, _SIDE)).astype(np.float32)}
        _raster(raw / "map" / f"t_{name}.tif", biomass, ("Mg/ha",))
    polygons(raw)


def _tables(raw: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    from benchmarks.readers import barlow

    random = np.random.default_rng(6)
    columns: dict[str, Sequence] = {
        f"OPTICAL-{b}-ts{t}-10m": random.integers(1, 5000, 600).astype(np.uint16)
        for b in ("B04", "B11")
        for t in range(12)
    }
    columns |= {
        "finetune_class": list("abc") * 200,
        "h3_l3_cell": list("xyz") * 200,
        "start_date": ["2016-12-01"] * 600,
    }
    parquet.write_table(pyarrow.table(dict(columns)), raw / "t.parquet")
    barlow("bands.npy")(raw / "tiles")


def _raster(file: Path, bands: Mapping[str, np.ndarray], units: tuple[str, ...] | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    first = next(iter(bands.values()))
    shape = {"height": first.shape[0], "width": first.shape[1], "count": len(bands), "dtype": first.dtype.name}
    with rasterio.open(file, "w", driver="GTiff", nodata=0, **shape, **_PLACE) as out:
        out.write(np.stack(list(bands.values())))
        out.descriptions = tuple(bands)
        if units:
            out.units = units
