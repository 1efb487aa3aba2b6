"""The sample: a simulated year on a small part of the KO grid, prepared as real data would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import Sample
from eozoo_core.settings import ScheduleSettings
from eozoo_core.settings.ensemble import EnsembleTrain

from eozoo_clay_ta.demo.products import simulate
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.prepare.index import build_index
from eozoo_clay_ta.prepare.patches import PatchBuilder
from eozoo_clay_ta.sample_schema import windows
from eozoo_clay_ta.scenes import find_scenes, read_scene, stamp_time
from eozoo_clay_ta.settings import (
    ClayModel,
    ClayPrepare,
    ClayRuntime,
    ClaySettings,
    DataSettings,
    GridSettings,
    IndexSettings,
    PatchSettings,
)
from eozoo_clay_ta.static import read_static, static_file

GRID = GridSettings(width=56, height=56, left=-540_000.0, top=20_000.0)


def sample_settings(root: Path, grid: GridSettings = GRID) -> ClaySettings:
    """Return settings whose paths lie below ``root``, as ``products`` names them."""
    index = IndexSettings(
        scenes_dir=str(root / "l1b"),
        labels=str(root / "labels"),
        stations=str(root / "stations.csv"),
        block_days=14,
        pattern="ttvtte",
    )
    patches = PatchSettings(
        dem=str(root / "static/dem.tif"),
        lsmask=str(root / "static/lsmask.npy"),
        landcover=str(root / "static/landcover.tif"),
        statistics_scenes=30,
        patch_chunk_rows=1000,
    )
    runtime = ClayRuntime(
        index_dir=str(root / "index"), data_dir=str(root / "patch_pt"), statistics_dir=str(root / "statistics")
    )
    train = EnsembleTrain(
        epochs=30, batch_size=128, learning_rate=2e-3, weight_decay=0.1,
        schedule=ScheduleSettings(name="cosine", warmup_steps=20),
    )  # fmt: skip
    return ClaySettings(
        model=ClayModel(encoder="clay_small"),
        data=DataSettings(grid=grid),
        train=train,
        runtime=runtime,
        prepare=ClayPrepare(build_index=index, build_patches=patches),
    )


def make_sample(root: Path) -> Sample:
    """Write the data set below ``root`` (about 40 MB) and prepare it."""
    settings = sample_settings(root)
    grid = KoGrid(**settings.data.grid.model_dump())
    simulate(root, settings.prepare.simulate, grid)
    build_index(settings.prepare.build_index, root / "index", grid)
    PatchBuilder(settings).build()
    return Sample(settings, root / "map", example(root, grid))


def example(root: Path, grid: KoGrid) -> dict[str, np.ndarray]:
    """Return six windows of the first map scene as ``predict`` takes them."""
    stamp, paths = next(iter(find_scenes(root / "map").items()))
    when = stamp_time(stamp)
    scene = read_scene(paths, when, grid)
    static = read_static(static_file(root / "patch_pt", when.year), grid)
    fields = np.concatenate([scene.bt, scene.rf, scene.sza[None], static.dem[None], static.lsmask[None]])
    cols, rows = np.array([10, 14, 20, 31, 40, 47]), np.array([12, 40, 33, 18, 50, 9])
    x = np.nan_to_num(windows(fields, cols, rows), nan=float(np.nanmean(scene.bt[0])))
    lat, lon = (place[rows, cols] for place in grid.places)
    seconds = np.full(len(rows), (np.datetime64(when, "s") - np.datetime64(0, "s")).astype(np.float64))
    return {
        "x": x,
        "time": seconds,
        "lat": lat,
        "lon": lon,
        "landcover": static.landcover[rows, cols].astype(np.float64),
    }
