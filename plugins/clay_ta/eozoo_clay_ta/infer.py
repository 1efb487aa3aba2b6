"""The verb infer: scenes in, maps out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.run.progress import print_message, progress_bar

from eozoo_clay_ta.centre_maps import TaMap, predict_map
from eozoo_clay_ta.encoder_weights import encoder_label
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.pictures import map_picture
from eozoo_clay_ta.scenes import ScenePaths, find_scenes, read_scene, stamp_time
from eozoo_clay_ta.static import Static, read_static, static_file
from eozoo_clay_ta.training import load_model

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_clay_ta.settings import ClaySettings


def infer(run: Run, settings: ClaySettings, source: Path, dest: Path, registry: Registry | None = None) -> list[Path]:
    """Write ``ta_YYYYMMDDHHMM.tif`` (and .png) into ``dest`` for every time stamp of ``source``.

    ``source`` is a folder of scenes, or one file of a scene. All scenes are looked at before the first is predicted.
    """
    scenes = scenes_of(source)
    grid = KoGrid(**settings.data.grid.model_dump())
    model = load_model(run, settings, "infer", registry)
    label = encoder_label(run)
    print_message(f"maps by {settings.model.type}: {label}")
    dest.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for number, (stamp, paths) in enumerate(scenes.items(), 1):
        when = stamp_time(stamp)
        try:
            scene = read_scene(paths, when, grid, settings.data.accept_conditional)
        except ZooError as error:
            if settings.infer.on_unreadable == "stop":
                raise
            print_message(f"skipped {stamp}: {error}")
            continue
        static = static_of(run, when.year, grid)
        title = f"{stamp} ({number} of {len(scenes)})"
        with progress_bar(title, None, "windows", settings.runtime.quiet) as bar:
            found = predict_map(
                model, scene, static, when, grid, settings.infer, lambda done, total, bar=bar: bar.update(done)
            )
        files += _write(dest, stamp, found, static, grid, settings, label, scene.synthetic)
    if not files:
        raise ZooError(f"{source}: no scene could be read")
    return files


def scenes_of(source: Path) -> dict[str, ScenePaths]:
    """Return time stamp -> paths of a folder, or of the one scene to which a file belongs."""
    if source.is_dir():
        return find_scenes(source)
    stamp = re.search(r"_(\d{12})\.(nc|npy|npz)$", source.name)
    found = find_scenes(source.parent) if stamp else {}
    if stamp is None or stamp[1] not in found:
        raise ZooError(f"{source}: is no scene; give a folder, or a file named like gk2a_ami_le1b_..._YYYYMMDDHHMM.nc")
    return {stamp[1]: found[stamp[1]]}


def static_of(run: Run, year: int, grid: KoGrid) -> Static:
    """Return the run's static fields of ``year``, or of the nearest year that it has."""
    years = sorted(int(f.stem[-4:]) for f in run.path.glob("static_????.tif") if f.stem[-4:].isdigit())
    if not years:
        raise ZooError(
            f"{run.path}: has no static_YYYY.tif (elevation, mask, land cover); copy the whole run directory"
        )
    return read_static(static_file(run.path, min(years, key=lambda y: (abs(y - year), y))), grid)


def _write(
    dest: Path,
    stamp: str,
    found: TaMap,
    static: Static,
    grid: KoGrid,
    settings: ClaySettings,
    label: str,
    synthetic: bool,
) -> list[Path]:
    unit = settings.infer.unit
    tags = {"ENCODER": label, "TIME_UTC": stamp, "STRIDE": str(settings.infer.stride), "WINDOWS": str(found.windows)}
    tags |= {"SYNTHETIC": "YES"} if synthetic else {}
    path = dest / f"ta_{stamp}.tif"
    with CogWriter(path, grid.raster, [Band("near-surface air temperature", unit)], tags=tags) as writer:
        writer.write_rows(0, found.ta[None])
    if not settings.infer.picture:
        return [path]
    when = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[8:10]}:{stamp[10:]} UTC"
    title = f"{'SYNTHETIC: ' if synthetic else ''}{when}, {label}"
    map_picture(found.ta, np.nan_to_num(static.lsmask), dest / f"ta_{stamp}.png", unit, title)
    return [path, path.with_suffix(".png")]
