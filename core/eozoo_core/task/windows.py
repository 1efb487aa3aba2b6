"""A raster as blocks of a map: windows predicted by all draws of a run, blended where they overlap."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eozoo_core.checking.guard import Verdict
from eozoo_core.errors import ZooError
from eozoo_core.raster.predict import blended_rows, parts_of, predicted_part, predicted_rows
from eozoo_core.raster.read import Reader
from eozoo_core.raster.tiles import Tiling, Window
from eozoo_core.task.contract import Arrays
from eozoo_core.task.guard import Watch
from eozoo_core.task.passes import Passes
from eozoo_core.task.predict import Predictor, to_arrays
from eozoo_core.task.scenes import Block, Scene, require_no_fillers

_LOOK = 48  # side of the windows that are looked at first, px


class NotShared(Exception):  # noqa: N818 - an answer more than an error
    """A scene's windows cannot be shared among workers: it has few, or its task has a ``map`` of its own."""


@dataclass(frozen=True)
class Cut:
    """How a scene is cut: what `map_raster` was given, windows that are predicted at once, and which part this is."""

    tiling: Tiling
    without: tuple[str, ...]
    size: int
    part: int = 0


@dataclass(frozen=True)
class Predicted:
    """The windows of a part (n, channels, h, w), and what `Watch.some_of` chose of what went into the network."""

    values: np.ndarray
    some: tuple[np.ndarray | None, ...]


Share = Callable[[Sequence[Cut]], Iterator[Predicted]]  # has the parts of a scene predicted elsewhere, in their order


class Drawn:
    """All draws of a run as ``Task.map`` calls them: arrays in, quantities out; see `spread.combine`.

    survey:   of the training data. inputs, outputs: the ports of ``predict``.
    folder:   of the run, of an ensemble that of its first member: the files of ``Task.beside`` are there.
    members:  output of which every draw's own value is asked for too, as "member 0" and so on; "" = none.
    progress: call it with (done, total) of whatever the work is counted in.
    dest:     the folder of the maps; what a stopped `Task.map` goes on from may lie in it, hidden, until they are done.
    watch:    sees every array that goes into the network, and judges it; None = nobody does.
    refuse:   what becomes of a verdict before anything is mapped; it may raise.
    passes:   collects what `ask` asks for, also of other scenes; None = it is predicted at once.
    multiple: of the network, see `System`.
    share:    has the parts of a scene predicted elsewhere, so that nothing is predicted here; None = all is.
    """

    def __init__(
        self,
        predictor: Predictor,
        members: str,
        progress: Callable[[int, int], None],
        dest: Path = Path(),
        watch: Watch | None = None,
        refuse: Callable[[Verdict], None] = lambda verdict: None,
        passes: Passes | None = None,
        share: Share | None = None,
    ):
        self._predictor, self.members, self.progress = predictor, members, progress
        self._watch, self._refuse, self._passes, self.share = watch, refuse, passes, share
        self.survey, self.inputs, self.outputs = predictor.survey, predictor.inputs, predictor.declared
        self.folder, self.dest, self.multiple = predictor.folder, dest, predictor.multiple

    @property
    def shares(self) -> bool:
        """Whether other scenes may join a forward pass; see `Block`."""
        return self._passes is not None

    def __call__(self, arrays: Arrays) -> Arrays:
        """Predict for arrays of the inputs' types that share their first axis; NaN = missing, before and after."""
        self.see(arrays)
        return self.unwatched(arrays)

    def at_once(self, pixels: int) -> int:
        """Return how many samples of ``pixels`` to predict at a time: ``infer.batch_size``, or what is fast here."""
        return self._predictor.at_once(pixels)

    def ask(self, arrays: Arrays) -> Callable[[], Arrays]:
        """Return what gives the prediction: with ``passes`` from a forward pass that other scenes may share."""
        if self._passes is None:
            return lambda: self(arrays)
        self.see(arrays)
        return self._passes.ask(arrays)

    def see(self, arrays: Arrays) -> None:
        """Show arrays to who watches. Raises NotShared where all shall be predicted elsewhere."""
        if self.share is not None:
            raise NotShared
        if self._watch is not None:
            self._watch(arrays)

    def parts(self, cut: Cut, count: int) -> Iterator[np.ndarray]:
        """Yield the windows of ``count`` parts, predicted elsewhere, and show what went into the network there."""
        assert self.share is not None
        for found in self.share([replace(cut, part=part) for part in range(count)]):
            if isinstance(self._watch, Watch):
                for values in found.some:
                    self._watch.add(values)
            yield found.values

    def look(self, arrays: Arrays) -> None:
        """Judge some arrays of a scene, evenly drawn, before it is mapped. Raises ZooError where they are refused.

        A ``Task.map`` that does not call it is refused at its end, when all it gave to the network was seen.
        """
        if self._watch is not None:
            self._refuse(self._watch.verdict_of(arrays))

    def unwatched(self, arrays: Arrays) -> Arrays:
        """Predict for arrays that are not a scene's, such as training means, to see what comes out."""
        return to_arrays(self._predictor.quantities(arrays, self.members))


def map_raster(drawn: Drawn, scene: Scene, tiling: Tiling, without: Collection[str] = ()) -> Iterator[Block]:
    """Predict a raster through windows that are blended; the default of ``Task.map``. ``without``: outputs left out.

    Raises ZooError where its values are in other units than the training data's, and for a file damaged in the middle.
    """
    if tiling.multiple > 1 and (rest := tiling.window % tiling.multiple):
        nearest = tiling.window + tiling.multiple - rest
        raise ZooError(
            f"infer.window: {tiling.window} px is no multiple of {tiling.multiple} px, as this network needs it; "
            f"--set infer.window={nearest}"
        )
    blended = _Blended(drawn, scene, tiling, without)
    row = 0
    with scene.open() as reader:
        grid = reader.info.grid
        size = drawn.at_once(tiling.padded(tiling.side(grid.height)) * tiling.padded(tiling.side(grid.width)))
        if scene.missing is None:
            reader.fillers = Counter()
        parts = parts_of(tiling, grid, size)
        if drawn.share is not None and len(parts) == 1:
            raise NotShared
        if len(tiling.windows(grid.height, grid.width)) > size:  # else it is judged when all of it was seen
            blended.look(reader)
        if drawn.share is None:
            args = (tiling, size, scene.bands, blended.channels, drawn.progress)
            found = predicted_rows(reader, blended.ask, *args)
        else:
            blended.channels()
            elsewhere = drawn.parts(Cut(tiling, tuple(without), size), len(parts))
            done = (list(zip(part, values, strict=True)) for part, values in zip(parts, elsewhere, strict=True))
            found = blended_rows(done, tiling, grid, drawn.progress)
        for rows in found:
            require_no_fillers(reader, drawn.survey)
            if rows is not None:
                yield Block(row, blended.split(rows))
                row += rows.shape[1]
            elif drawn.shares:
                yield Block(row, {})
        require_no_fillers(reader, drawn.survey)


def map_part(drawn: Drawn, scene: Scene, cut: Cut) -> np.ndarray:
    """Predict the windows of a part of a raster for who maps the whole of it. Raises ZooError as `map_raster`."""
    blended = _Blended(drawn, scene, cut.tiling, cut.without)
    with scene.open() as reader:
        if scene.missing is None:
            reader.fillers = Counter()
        part = parts_of(cut.tiling, reader.info.grid, cut.size)[cut.part]
        args = (cut.tiling, cut.size, scene.bands, blended.channels, part)
        values = predicted_part(reader, blended.ask, *args)
        require_no_fillers(reader, drawn.survey)
    return values


def first_windows(drawn: Drawn, scene: Scene, cut: Cut) -> tuple[int, float, dict[str, np.ndarray]]:
    """Predict the first batch of windows; return their number, the seconds, and the quantities of the first window."""
    blended = _Blended(drawn, scene, cut.tiling, cut.without)
    blended.channels()  # what a network does once
    begun = time.perf_counter()
    with scene.open() as reader:
        part = cut.tiling.windows(reader.info.grid.height, reader.info.grid.width)[: cut.size]
        args = (cut.tiling, cut.size, scene.bands, blended.channels, part)
        values = predicted_part(reader, blended.ask, *args)
    return len(part), time.perf_counter() - begun, blended.split(values[0])


class _Blended:
    """Quantities as the channels of one array, which windows blend, and back."""

    def __init__(self, drawn: Drawn, scene: Scene, tiling: Tiling, without: Collection[str]):
        self._drawn, self._scene, self._without = drawn, scene, without
        self._image = next(port.role for port in drawn.inputs if {"H", "W"} <= set(port.axes.split()))
        self._side = tiling.padded(min(_LOOK, tiling.window))
        self._shapes: dict[str, tuple[int, ...]] = {}  # quantity -> its shape before rows and columns

    def channels(self) -> int:
        """Return the number of channels, found by predicting a window of training means."""
        mean = np.array(self._drawn.survey.mean, "float32")[None, :, None, None]
        window = np.broadcast_to(mean, (1, mean.shape[1], self._side, self._side))
        return self._stacked(self._drawn.unwatched(self._arrays(window))).shape[1]

    def look(self, reader: Reader) -> None:
        """Judge small windows, spread over the raster, before anything is predicted; see `Drawn.look`."""
        grid, flat = reader.info.grid, []
        height, width = min(_LOOK, grid.height), min(_LOOK, grid.width)
        for row in sorted({(grid.height - height) * part // 4 for part in range(5)}):
            for column in sorted({(grid.width - width) * part // 4 for part in range(5)}):
                values = reader.read(Window(row, column, height, width), self._scene.bands)
                flat.append(self._scaled(values).reshape(len(values), -1))
        self._drawn.look({self._image: np.concatenate(flat, axis=1)[None, :, None]})

    def ask(self, windows: np.ndarray) -> Callable[[], np.ndarray]:
        """Take windows as read; return what gives their channels (B, channels, H, W) float32."""
        answer = self._drawn.ask(self._arrays(self._scaled(windows)))
        return lambda: self._stacked(answer())

    def split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Blended channels (channels, n, W) -> quantity -> (..., n, W)."""
        widths = [math.prod(shape) for shape in self._shapes.values()]
        parts = np.split(rows, np.cumsum(widths)[:-1])
        shapes = zip(self._shapes.items(), parts, strict=True)
        return {name: part.reshape(*shape, *part.shape[-2:]) for (name, shape), part in shapes}

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        return values if self._scene.values is None else self._scene.values(values)

    def _arrays(self, windows: np.ndarray) -> Arrays:
        same = {n: np.repeat(np.asarray(v)[None], len(windows), axis=0) for n, v in self._scene.arrays.items()}
        return {self._image: windows, **same}

    def _stacked(self, found: Arrays) -> np.ndarray:
        wanted = {name: values for name, values in found.items() if name.partition(".")[0] not in self._without}
        self._shapes = {name: values.shape[1:-2] for name, values in wanted.items()}
        return np.concatenate([v.reshape(len(v), -1, *v.shape[-2:]) for v in wanted.values()], axis=1)
