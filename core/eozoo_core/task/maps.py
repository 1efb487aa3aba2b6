"""``eozoo infer``: rasters of any size into maps, one file per output; memory is that of a strip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import MapFiles
from eozoo_core.raster.predict import Tiling, predict_raster
from eozoo_core.raster.read import open_reader
from eozoo_core.run.progress import progress_bar
from eozoo_core.task.contract import Contract
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Scene
from eozoo_core.task.spread import present

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port

_COLOURS = ((34, 102, 51), (204, 187, 68), (187, 85, 51), (68, 119, 170), (170, 170, 170), (170, 51, 119))


def infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    """Map ``source`` and return the files written; see ``Task.infer``."""
    predictor = Predictor(task, run)
    scenes = list(task.scenes(source, predictor.survey))
    return [file for scene in scenes for file in map_scene(task, predictor, scene, dest)]


def map_scene(task: Contract, predictor: Predictor, scene: Scene, dest: Path) -> list[Path]:
    """Write DEST/SCENE_OUTPUT.tif for every output that has rows and columns, through windows that are blended."""
    settings = task.settings
    shown = [port for port in predictor.outputs if {"H", "W"} <= set(port.axes.split())]
    layers = [(dest / f"{scene.name}_{port.role}.tif", bands_of(port)) for port in shown]
    (image,) = predictor.inputs
    tiling = Tiling(settings.infer.window, settings.infer.stride, settings.infer.batch_size)
    blended = Blended(predictor, [port.role for port in shown], len(scene.bands), tiling.size)
    tags = {"SOURCE": scene.path.name, "DRAWS": str(len(predictor.names))}
    if any(port.spread == "deviation" for port in shown):
        tags["VARIANCE_FACTOR"] = f"{predictor.factor:.6g} {predictor.factor_source}"
    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(scene.path))
        writer = stack.enter_context(MapFiles(layers, reader.info.grid, tags))
        bar = stack.enter_context(progress_bar(scene.path.name, None, "windows", settings.runtime.quiet))
        predict_raster(
            reader,
            writer,
            lambda windows: blended.forward({image.role: windows}),
            tiling,
            scene.bands,
            outputs=sum(blended.channels.values()),
            finish=blended.finish,
            progress=lambda done, total: bar.update(done, f"of {total}"),
        )
    return [file for file, _ in layers]


class Blended:
    """Quantities of a `Predictor` as the channels of one array, which windows blend, and back into outputs.

    channels: quantity -> how many; found by predicting one window without data.
    """

    def __init__(self, predictor: Predictor, shown: Sequence[str], bands: int, side: int):
        self._predictor, self._shown = predictor, shown
        (image,) = predictor.inputs
        empty = predictor.quantities({image.role: np.zeros((1, bands, side, side), "float32")})
        self._shapes = {name: values.shape[1:-2] for name, values in empty.items()}  # what stands before rows, columns
        self.channels = {name: int(np.prod(shape)) for name, shape in self._shapes.items()}

    def forward(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Windows -> (B, channels, H, W) float32."""
        found = self._predictor.quantities(dict(arrays))
        return torch.cat([v.reshape(len(v), -1, *v.shape[-2:]).float() for v in found.values()], dim=1).cpu().numpy()

    def finish(self, rows: np.ndarray) -> np.ndarray:
        """Blended channels (channels, n, W) -> bands of all maps (bands, n, W), in the order of the files."""
        parts = torch.from_numpy(rows).split(list(self.channels.values()))
        quantities = {
            name: part.reshape(1, *self._shapes[name], *part.shape[-2:])
            for name, part in zip(self.channels, parts, strict=True)
        }
        found = present(quantities, self._predictor.declared)
        return torch.cat([found[name].reshape(-1, *rows.shape[-2:]) for name in self._shown]).float().numpy()


def bands_of(port: Port) -> list[Band]:
    """Return the bands of an output's map: those that it names, or one; a class map has its classes."""
    classes = {code: Category(name, _COLOURS[i % len(_COLOURS)]) for i, (code, name) in enumerate(port.legend)} or None
    names = [f"{port.role} {band}" for band in port.bands] or [port.role]
    return [Band(name, port.unit, classes) for name in names]
