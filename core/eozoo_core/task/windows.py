"""A raster as blocks of a map: windows predicted by all draws of a run, blended where they overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.predict import Tiling, predicted_rows
from eozoo_core.raster.read import open_reader
from eozoo_core.task.contract import Arrays
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Block, Scene, require_no_fillers

if TYPE_CHECKING:
    from eozoo_core.task.survey import Survey

_FAR = 100  # training deviations from the training mean: another unit, not another place


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
        self.folder, self.dest = predictor.folder, dest

    def __call__(self, arrays: Arrays) -> Arrays:
        """Predict for arrays of the inputs' types that share their first axis; NaN = missing, before and after."""
        found = self._predictor.quantities(arrays, self.members)
        return {name: values.cpu().numpy() for name, values in found.items()}


def map_raster(drawn: Drawn, scene: Scene, tiling: Tiling, without: Collection[str] = ()) -> Iterator[Block]:
    """Predict a raster through windows that are blended; the default of ``Task.map``. ``without``: outputs left out.

    Raises ZooError where its values are in other units than the training data's, and for a file damaged in the middle.
    """
    blended = _Blended(drawn, scene, tiling, without)
    row = 0
    with open_reader(scene.path, scene.missing or ()) as reader:
        if scene.missing is None:
            reader.fillers = Counter()
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
        self._drawn, self._scene, self._without, self._unchecked = drawn, scene, without, True
        self._image = next(port.role for port in drawn.inputs if {"H", "W"} <= set(port.axes.split()))
        mean, side = np.array(drawn.survey.mean, "float32")[None, :, None, None], tiling.size
        found = self._predict(np.broadcast_to(mean, (1, mean.shape[1], side, side)))
        self._shapes = {name: values.shape[1:-2] for name, values in found.items()}  # before rows and columns
        self.channels = {name: int(np.prod(shape)) for name, shape in self._shapes.items()}

    def forward(self, windows: np.ndarray) -> np.ndarray:
        """Stored values of windows -> (B, channels, H, W) float32."""
        if self._scene.values is not None:
            windows = self._scene.values(windows)
        elif self._scene.scale != 1 or self._scene.offset:
            windows = (windows + np.float32(self._scene.offset)) * np.float32(self._scene.scale)
        if self._unchecked:
            require_training_units(windows, self._drawn.survey, self._scene.path)
        self._unchecked = False
        found = self._predict(windows)
        return np.concatenate([v.reshape(len(v), -1, *v.shape[-2:]) for v in found.values()], axis=1)

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Blended channels (channels, n, W) -> quantity -> (..., n, W)."""
        parts = np.split(rows, np.cumsum(list(self.channels.values()))[:-1])
        shapes = zip(self._shapes.items(), parts, strict=True)
        return {name: part.reshape(*shape, *part.shape[-2:]) for (name, shape), part in shapes}

    def _predict(self, windows: np.ndarray) -> Arrays:
        same = {n: np.repeat(np.asarray(v)[None], len(windows), axis=0) for n, v in self._scene.arrays.items()}
        found = self._drawn({self._image: windows, **same})
        return {name: values for name, values in found.items() if name.partition(".")[0] not in self._without}


def require_training_units(windows: np.ndarray, survey: Survey, path: Path) -> None:
    """Raise ZooError where most bands of windows (B, C, H, W) lie far outside what the run was trained on.

    Reflectance times 10,000 into a network trained on 0..1 would give a map that looks like one and is none.
    """
    if not survey.bands[0].count:
        return
    mean, std = np.array(survey.mean), np.array(survey.std)
    valid = np.isfinite(windows).any(axis=(0, 2, 3))
    median = np.where(valid, np.nanmedian(np.where(valid[:, None, None], windows, 0), axis=(0, 2, 3)), mean)
    far = np.abs(median - mean) > _FAR * std
    if 2 * far.sum() > far.size:
        i = int(far.argmax())
        raise ZooError(
            f"{path}: values are not in the units of the training data: input {i + 1} has median {median[i]:.4g}, "
            f"trained on {mean[i]:.4g} +- {std[i]:.4g}; scale the raster in the same way"
        )
