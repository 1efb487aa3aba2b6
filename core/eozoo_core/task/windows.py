"""A raster as blocks of a map: windows predicted by all draws of a run, blended where they overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eozoo_core.raster.predict import Tiling, predicted_rows
from eozoo_core.raster.read import Reader, open_reader
from eozoo_core.raster.tiles import Window
from eozoo_core.task.contract import Arrays
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Block, Scene, require_no_fillers
from eozoo_core.task.watch import Watch, require_like


class Drawn:
    """All draws of a run as ``Task.map`` calls them: arrays in, quantities out; see `spread.combine`.

    survey:   of the training data. inputs, outputs: the ports of ``predict``.
    folder:   of the run, of an ensemble that of its first member: the files of ``Task.beside`` are there.
    members:  output of which every draw's own value is asked for too, as "member 0" and so on; "" = none.
    progress: call it with (done, total) of whatever the work is counted in.
    dest:     the folder of the maps; what a stopped `Task.map` goes on from may lie in it, hidden, until they are done.
    """

    def __init__(self, predictor: Predictor, members: str, progress: Callable[[int, int], None], dest: Path = Path()):
        self._predictor, self.members, self.progress = predictor, members, progress
        self.survey, self.inputs, self.outputs = predictor.survey, predictor.inputs, predictor.declared
        self.unlike = predictor.unlike
        self.folder, self.dest = predictor.folder, dest
        self.watch = Watch(self.survey, self.inputs, self.outputs)

    def __call__(self, arrays: Arrays) -> Arrays:
        """Predict for arrays of the inputs' types that share their first axis; NaN = missing, before and after.

        What goes in and comes out is looked at: a map of data unlike those of training is refused at its end.
        """
        found = self.probe(arrays)
        self.watch.take(arrays, found)
        return found

    def probe(self, arrays: Arrays) -> Arrays:
        """Predict for arrays that are no data, to learn the shapes of what comes out."""
        found = self._predictor.quantities(arrays, self.members)
        return {name: values.cpu().numpy() for name, values in found.items()}

    def require_like(self, values: np.ndarray, path: Path) -> None:
        """Raise ZooError where some ``values`` (bands, ...) of a scene, NaN = missing, are unlike those of training.

        For a look before the work begins. Warnings wait for all of the scene.
        """
        judged = self.watch.judge_inputs(values.reshape(len(values), -1))
        require_like(replace(judged, warnings=()), str(path), "infer.unlike", self.unlike, quiet=True)


def map_raster(drawn: Drawn, scene: Scene, tiling: Tiling, without: Collection[str] = ()) -> Iterator[Block]:
    """Predict a raster through windows that are blended; the default of ``Task.map``. ``without``: outputs left out.

    Raises ZooError where some of its values are unlike those of training, and for a file damaged in the middle.
    """
    blended = _Blended(drawn, scene, tiling, without)
    row = 0
    with open_reader(scene.path, scene.missing or ()) as reader:
        if scene.missing is None:
            reader.fillers = Counter()
        drawn.require_like(blended.physical(some_of(reader, scene.bands)), scene.path)
        for rows in predicted_rows(
            reader, blended.forward, tiling, scene.bands, sum(blended.channels.values()), drawn.progress
        ):
            require_no_fillers(reader, drawn.survey)
            yield Block(row, blended.split(rows))
            row += rows.shape[1]
        require_no_fillers(reader, drawn.survey)


class _Blended:
    """Quantities as the channels of one array, which windows blend, and back.

    channels: quantity -> how many; found by predicting one window of training means.
    """

    def __init__(self, drawn: Drawn, scene: Scene, tiling: Tiling, without: Collection[str]):
        self._drawn, self._scene, self._without = drawn, scene, without
        self._image = next(port.role for port in drawn.inputs if {"H", "W"} <= set(port.axes.split()))
        mean, side = np.array(drawn.survey.mean, "float32")[None, :, None, None], tiling.size
        found = self._predict(drawn.probe, np.broadcast_to(mean, (1, mean.shape[1], side, side)))
        self._shapes = {name: values.shape[1:-2] for name, values in found.items()}  # before rows and columns
        self.channels = {name: int(np.prod(shape)) for name, shape in self._shapes.items()}

    def forward(self, windows: np.ndarray) -> np.ndarray:
        """Values of windows as read -> (B, channels, H, W) float32."""
        found = self._predict(self._drawn, self.physical(windows))
        return np.concatenate([v.reshape(len(v), -1, *v.shape[-2:]) for v in found.values()], axis=1)

    def physical(self, values: np.ndarray) -> np.ndarray:
        """Turn values as read into those that the network takes."""
        if self._scene.values is not None:
            return self._scene.values(values)
        if self._scene.scale != 1 or self._scene.offset:
            return (values + np.float32(self._scene.offset)) * np.float32(self._scene.scale)
        return values

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Blended channels (channels, n, W) -> quantity -> (..., n, W)."""
        parts = np.split(rows, np.cumsum(list(self.channels.values()))[:-1])
        shapes = zip(self._shapes.items(), parts, strict=True)
        return {name: part.reshape(*shape, *part.shape[-2:]) for (name, shape), part in shapes}

    def _predict(self, draw: Callable[[Arrays], Arrays], windows: np.ndarray) -> Arrays:
        same = {n: np.repeat(np.asarray(v)[None], len(windows), axis=0) for n, v in self._scene.arrays.items()}
        found = draw({self._image: windows, **same})
        return {name: values for name, values in found.items() if name.partition(".")[0] not in self._without}


def some_of(reader: Reader, bands: Sequence[int], places: int = 5, side: int = 64) -> np.ndarray:
    """Read windows at 5 x 5 places of a raster (C, 25 * side, side), NaN = missing: a look before the work begins."""
    grid = reader.info.grid
    height, width = min(side, grid.height), min(side, grid.width)
    rows, cols = (np.linspace(0, full - part, places).astype(int).tolist()
                  for full, part in ((grid.height, height), (grid.width, width)))  # fmt: skip
    parts = [reader.read(Window(row, col, height, width), bands) for row in rows for col in cols]
    return np.concatenate(parts, axis=1)
