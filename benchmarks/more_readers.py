"""The rest of the kinds: cubes, settings, runs, metadata and tables."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import readers as r
from benchmarks.readers import Kind


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def cube(folder: Path) -> Path:
    """Write a cube of two bands and scene classes."""
    import h5py

    random = np.random.default_rng(4)
    file = folder / "raw" / "a.nc"
    file.parent.mkdir()
    with h5py.File(file, "w") as out:
        out["x"], out["y"] = 1000 + 10 * (np.arange(8) + 0.5), 2000 - 10 * (np.arange(8) + 0.5)
        out["timestamp"] = np.array([0, 5, 40])
        out["timestamp"].attrs["units"] = "days since 2017-08-04 10:00:00"
        for name in ("B04", "B11"):
            values = random.integers(1, 5000, (3, 8, 8)).astype(np.uint16)
            out.create_dataset(name, data=values, chunks=(1, 8, 8), compression="gzip", fletcher32=True)
        out.create_dataset("SCL", data=np.full((3, 8, 8), 4, np.uint8), chunks=(1, 8, 8), fletcher32=True)
    return file


def read_cube(path: Path) -> Any:
    """Make a tile of it."""
    from eozoo_barlow_twins.prepare.cubes import prepare_cube
    from eozoo_barlow_twins.prepare.settings import CubeSettings

    out = path.parent.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    with redirect_stdout(StringIO()):
        made = prepare_cube(CubeSettings(folder=str(path.parent), tile="T", bands=("B04", "B11"), offset=0), out)
    return r.read_barlow(made / "bands.npy")


def settings_yaml(folder: Path) -> Path:
    """Write settings as ``eozoo config`` does."""
    from eozoo_core.settings.config import to_yaml
    from eozoo_gedi_sparse.settings import GediSettings

    return _text(folder / "settings.yaml", to_yaml(GediSettings()))


def own_yaml(folder: Path) -> Path:
    """Write settings as a person does."""
    return _text(folder / "mine.yaml", "train:\n  epochs: 12\n  batch_size: 4\n  optimizer: adamw\ndata:\n  crop: 64\n")


def read_settings(path: Path) -> Any:
    """Read settings as ``--config`` does."""
    from eozoo_core.settings.config import load_settings, to_dict
    from eozoo_gedi_sparse.settings import GediSettings

    return to_dict(load_settings(GediSettings, path))


def run(name: str):
    """Write a run; ``name`` is the file of it to damage."""

    def make(folder: Path) -> Path:
        import torch
        from eozoo_core import Run
        from eozoo_gedi_sparse.settings import GediSettings

        made = Run.create(folder / "run", "gedi_sparse", GediSettings())
        model = {"w": torch.arange(200.0), "b": torch.ones(3)}
        content = {"epoch": 3, "step": 30, "best_val": 0.5, "metrics": {"rmse": 0.5}, "model": model, "rng": []}
        made.save("best", content)
        made.save("current", content)
        for i in range(6):
            made.log({"epoch": i, "step": 10 * i, "train_loss": 1 / (i + 1)})
        close = getattr(made, "close", None)
        if close is not None:
            close()
        return folder / "run" / name

    return make


def read_run(path: Path) -> Any:
    """Open a run and read everything in it."""
    from eozoo_core import Run
    from eozoo_core.settings.config import to_dict
    from eozoo_gedi_sparse.settings import GediSettings

    opened = Run.open(path.parent, GediSettings, "gedi_sparse")
    info = {key: opened.info().get(key) for key in ("task", "format", "seed")}
    best = opened.load("best" if path.name != "current.pt" else "current")
    model = {name: values.numpy() for name, values in best.pop("model").items()}
    return to_dict(opened.settings), info, model, best, opened.read_log()


def safetensors(folder: Path) -> Path:
    """Write weights."""
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.arange(50.0), "b": torch.ones(3)}, folder / "w.safetensors")
    return folder / "w.safetensors"


def read_weights(path: Path) -> Any:
    """Read weights."""
    from eozoo_core.run.checkpoint import load_weights

    return {name: values.numpy() for name, values in load_weights(path).items()}


def mtd(folder: Path) -> Path:
    """Write a product's metadata and a band's file."""
    r.cog(folder, "B04.tif")
    offsets = "".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(13))
    body = f"<PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>{offsets}"
    level = '<BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
    head = '<?xml version="1.0" encoding="UTF-8"?><n1:Level-2A_User_Product xmlns:n1="https://a.b">'
    return _text(folder / "MTD_MSIL2A.xml", f"{head}{body}{level}</n1:Level-2A_User_Product>")


def read_mtd(path: Path) -> Any:
    """Read what decides the offset."""
    from eozoo_core.raster.sentinel2_metadata import evidence_of

    return evidence_of(path.parent / "B04.tif", {})


def polygons(folder: Path) -> Path:
    """Write two polygons."""
    ring = [[3.0, 36.0], [3.001, 36.0], [3.001, 36.001], [3.0, 36.001], [3.0, 36.0]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    features = [{"type": "Feature", "properties": {"name": n}, "geometry": shape} for n in "ab"]
    return _text(folder / "p.geojson", json.dumps({"type": "FeatureCollection", "features": features}))


def read_polygons(path: Path) -> Any:
    """Read them as step totals does."""
    from eozoo_gedi_sparse.prepare.totals import read_polygons as read

    return [(a.name, a.edges, a.ha) for a in read(path, r.GRID, "name")]


def labels(folder: Path) -> Path:
    """Write a table of temperatures."""
    rows = [f"{100 + i % 4},2022-01-03 {i // 4:02d}:00,{5.5 + i / 10:.1f}" for i in range(40)]
    return _text(folder / "ta.csv", "\n".join(["지점,일시,기온(°C)", *rows]) + "\n")


def read_labels(path: Path) -> Any:
    """Read it as step build_index does."""
    from eozoo_clay_ta.stations import read_labels as read

    found = read(path)
    return found.time.astype(np.int64), found.stn, found.ta


def index(folder: Path) -> Path:
    """Write an index of samples."""
    names = "timestamp_utc,stn,lat,lon,pixel_x,pixel_y,year,ta,path_bt,path_rf,path_sza"
    rows = [f"2022-01-03T{i:02d}:00,100,37.5,127.25,10,12,2022,{i / 2},a,b," for i in range(20)]
    return _text(folder / "index_train.csv", "\n".join([names, *rows]) + "\n")


def read_index(path: Path) -> Any:
    """Read it as step build_patches does."""
    from eozoo_clay_ta.prepare.index import read_rows

    return [[vars(row) for row in part] for part in read_rows(path, 8)]


KINDS = (
    Kind("map or image, GeoTIFF", r.cog, r.read_raster),
    Kind("VRT", r.vrt, r.read_raster),
    Kind("array, .npy", r.npy, r.read_raster),
    Kind("raster, NetCDF by GDAL", r.netcdf_raster, r.read_raster),
    Kind("prithvi tile, .npz", r.prithvi, r.read_prithvi, True),
    Kind("its sidecar, .json", r.prithvi_json, r.read_prithvi),
    Kind("clay chunk, .pt (check)", r.chunk, r.read_chunk, True),
    Kind("normalisation.json", r.normalisation, r.read_normalisation, True),
    Kind("GK-2A level 1B, .nc", r.gk2a, r.read_gk2a),
    Kind("GEDI granule, .h5", r.granule, r.read_granule),
    Kind("GEDI subset, .zip", lambda f: r.granule(f, "GEDI04_A_2020036151358_O06515.zip"), r.read_granule, True),
    Kind("shots, .csv", r.shots_csv, r.read_shots),
    Kind("shots, .gpkg", r.shots_gpkg, r.read_shots),
    Kind("shots, .geojson", r.shots_geojson, r.read_shots),
    Kind("kept shots, .npz", r.kept_shots, r.read_kept, True),
    Kind("barlow bands.npy (check)", r.barlow("bands.npy"), r.read_barlow, True),
    Kind("barlow masks.npy (check)", r.barlow("masks.npy"), r.read_barlow, True),
    Kind("barlow band_mean.npy", r.barlow("band_mean.npy"), r.read_barlow, True),
    Kind("barlow tile.json", r.barlow("tile.json"), r.read_barlow),
    Kind("cube, .nc", cube, read_cube),
    Kind("settings of eozoo config", settings_yaml, read_settings),
    Kind("settings by hand", own_yaml, read_settings),
    Kind("run: best.pt", run("best.pt"), read_run, True),
    Kind("run: current.pt", run("current.pt"), read_run, True),
    Kind("run: run.json", run("run.json"), read_run),
    Kind("run: config.yaml", run("config.yaml"), read_run),
    Kind("run: training_log.jsonl", run("training_log.jsonl"), read_run),
    Kind("weights, .safetensors", safetensors, read_weights),
    Kind("MTD_MSIL2A.xml", mtd, read_mtd),
    Kind("polygons, .geojson", polygons, read_polygons),
    Kind("temperatures, .csv", labels, read_labels),
    Kind("index_train.csv", index, read_index),
)
