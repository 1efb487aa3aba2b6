"""From a scene to a map: the value at the centre of every 9 x 9 window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.task.beside import files_beside
from eozoo_core.task.scenes import Block, Scene

from eozoo_clay_ta.grid import HALF, WINDOW, KoGrid
from eozoo_clay_ta.level1b import Reading
from eozoo_clay_ta.sample_schema import LSMASK
from eozoo_clay_ta.scenes import ScenePaths, calibration_in, files_of, find_scenes, is_synthetic, read_scene, stamp_time
from eozoo_clay_ta.static import Static, read_static

if TYPE_CHECKING:
    from eozoo_core.task import Arrays
    from eozoo_core.task.windows import Drawn

    from eozoo_clay_ta.scenes import Scene as Fields
    from eozoo_clay_ta.settings import ClayInfer, ClaySettings


_LOOKED_AT = 256  # windows that are judged before a scene is mapped


@dataclass(frozen=True)
class TaScene(Scene):
    """One time stamp on ``ko``."""

    paths: ScenePaths = field(kw_only=True)
    when: datetime = field(kw_only=True)
    ko: KoGrid = field(kw_only=True)

    def file(self, layer: str) -> str:
        """Return "ta_YYYYMMDDHHMM", as the document names maps."""
        return f"{layer}_{self.name}"


def scenes_of(source: Path) -> list[tuple[str, ScenePaths]]:
    """Return (time stamp, paths) of a folder, or of the one scene to which a file belongs."""
    if source.is_dir():
        return list(find_scenes(source).items())
    stamp = re.search(r"_(\d{12})\.(nc|npy|npz)$", source.name)
    found = find_scenes(source.parent) if stamp else {}
    if stamp is None or stamp[1] not in found:
        raise ZooError(f"{source}: is no scene; give a folder, or a file named like gk2a_ami_le1b_..._YYYYMMDDHHMM.nc")
    return [(stamp[1], found[stamp[1]])]


def open_scene(stamp: str, paths: ScenePaths, settings: ClaySettings) -> TaScene:
    """Look at the files' names, what calibration they state, and whether they say that they are synthetic."""
    ko = KoGrid(**settings.data.grid.model_dump())
    tags = {"TIME_UTC": stamp, "STRIDE": str(settings.infer.stride)}
    tags |= {"SYNTHETIC": "YES"} if is_synthetic(paths.bt) else {}
    said, differs = calibration_in(paths, settings.data.calibration)
    tags |= {"CALIBRATION": said} if said else {}
    notes = (f"calibration {said}",) if differs else ()
    known = {"name": stamp, "tags": tags, "notes": notes, "paths": paths, "when": stamp_time(stamp), "ko": ko}
    return TaScene(Path(paths.bt), ko.raster, reads=files_of(paths), **known)


def map_scene(drawn: Drawn, scene: TaScene, settings: ClaySettings) -> Iterator[Block]:
    """Read a scene and predict it as one block."""
    how = Reading(settings.data.accept_conditional, settings.data.calibration)
    read = read_scene(scene.paths, scene.when, scene.ko, how)
    static = static_of(drawn.folder, scene.when.year, scene.ko)
    yield Block(0, map_fields(drawn, read, static, scene, settings.infer))


def map_fields(drawn: Drawn, read: Fields, static: Static, scene: TaScene, options: ClayInfer) -> dict[str, np.ndarray]:
    """Predict at the centre of every window, ``options.stride`` pixels apart, and interpolate: quantity -> (H, W).

    A pixel is missing where its window leaves the grid or holds a missing value in any of the 19 channels, where it has
    no land-cover class, and over the sea with ``land_only``.
    """
    grid = scene.ko
    fields = np.concatenate([read.bt, read.rf, read.sza[None], static.dem[None], static.lsmask[None]])
    usable = usable_centres(fields, static, options.land_only)
    nodes = node_rows(grid.height, options.stride), node_rows(grid.width, options.stride)
    rows, cols = (a.ravel() for a in np.meshgrid(*nodes, indexing="ij"))
    wanted = usable[rows, cols]
    windows = Windows(fields, static.classes(), scene.when, grid)
    found = predict_windows(drawn, windows, cols[wanted], rows[wanted], options.batch_size)
    values = {}
    for name, predicted in found.items():
        at_nodes = np.full(len(rows), np.nan)
        at_nodes[wanted] = predicted
        full = spread(at_nodes.reshape(len(nodes[0]), len(nodes[1])), nodes, usable.shape)
        values[name] = np.where(usable, full, np.nan).astype(np.float32)
    return values


def static_of(folder: Path, year: int, grid: KoGrid) -> Static:
    """Return the static fields that a run keeps of ``year``, or of the nearest year that it has."""
    files = {int(f.stem[-4:]): f for f in files_beside(folder) if re.fullmatch(r"static_\d{4}\.tif", f.name)}
    if not files:
        raise ZooError(
            f"{folder}: has no static_YYYY.tif (elevation, mask, land cover); copy the whole run directory, or put "
            "them into runtime.data_dir before training"
        )
    return read_static(files[min(files, key=lambda y: (abs(y - year), y))], grid)


def predict_windows(
    drawn: Drawn, windows: Windows, cols: np.ndarray, rows: np.ndarray, batch: int
) -> dict[str, np.ndarray]:
    """Return quantity -> values (n,) at centres, in batches."""
    corner = np.array([HALF])
    parts = [] if len(rows) else [drawn.unwatched(windows.batch(corner, corner))]  # for the names alone
    if len(rows):
        some = np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).astype(int)
        drawn.look(windows.batch(cols[some], rows[some]))
    for start in range(0, len(rows), batch):
        parts.append(drawn(windows.batch(cols[start : start + batch], rows[start : start + batch])))
        drawn.progress(min(start + batch, len(rows)), len(rows))
    return {name: np.concatenate([part[name] for part in parts])[: len(rows)] for name in parts[0]}


def usable_centres(fields: np.ndarray, static: Static, land_only: bool) -> np.ndarray:
    """Whether a pixel's window ``(H, W)`` lies inside and is complete, and the pixel has a class (and is land)."""
    good = np.isfinite(fields).all(axis=0)
    usable = np.zeros_like(good)
    view = np.lib.stride_tricks.sliding_window_view(good, (WINDOW, WINDOW))
    usable[HALF:-HALF, HALF:-HALF] = view.all(axis=(2, 3))
    usable &= static.classes() >= 0
    return usable & (fields[LSMASK] > 0.5) if land_only else usable


def node_rows(length: int, stride: int) -> np.ndarray:
    """Rows (or columns) that are predicted: from the first window centre to the last, both included."""
    last = length - HALF - 1
    return np.unique(np.r_[np.arange(HALF, last + 1, stride), last])


def spread(values: np.ndarray, nodes: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Interpolate bilinearly from ``values`` at ``nodes`` to every pixel of ``shape``; outside the nodes NaN.

    A missing node leaves its neighbours' pixels to the other nodes, by their weights; a pixel whose nodes are all
    missing is missing. At the nodes themselves the values are exact.
    """
    rows, cols = (_weights(n, s) for n, s in zip(nodes, shape))
    known = np.isfinite(values)
    total = rows @ np.where(known, values, 0) @ cols.T
    weight = rows @ known.astype(np.float64) @ cols.T
    with np.errstate(invalid="ignore", divide="ignore"):
        full = np.where(weight > 1e-9, total / weight, np.nan)
    full[np.ix_(*nodes)] = values
    return full


def _weights(nodes: np.ndarray, length: int) -> np.ndarray:
    """``(length, len(nodes))``: how much each node contributes to each pixel; zero rows outside."""
    at = np.arange(nodes[0], nodes[-1] + 1)
    matrix = np.zeros((length, len(nodes)))
    upper = np.clip(np.searchsorted(nodes, at, side="left"), 1, max(len(nodes) - 1, 1))
    if len(nodes) == 1:
        matrix[at, 0] = 1
        return matrix
    share = (at - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    matrix[at, upper - 1] = 1 - share
    matrix[at, upper] += share
    return matrix


class Windows:
    """Inputs of ``predict`` around given centres, gathered from the fields (19, H, W) of a scene."""

    def __init__(self, fields: np.ndarray, classes: np.ndarray, when: datetime, grid: KoGrid):
        self._view = np.lib.stride_tricks.sliding_window_view(fields, (WINDOW, WINDOW), axis=(1, 2))
        self._classes, (self._lat, self._lon) = classes, grid.places
        self._seconds = (np.datetime64(when, "s") - np.datetime64(0, "s")).astype(np.float64)

    def batch(self, cols: np.ndarray, rows: np.ndarray) -> Arrays:
        """Return the arrays around centres (n,)."""
        return {
            "x": np.ascontiguousarray(self._view[:, rows - HALF, cols - HALF].swapaxes(0, 1)),
            "time": np.full(len(rows), self._seconds),
            "lat": self._lat[rows, cols].astype(np.float32),
            "lon": self._lon[rows, cols].astype(np.float32),
            "landcover": self._classes[rows, cols].astype(np.float32),
        }
