"""``eozoo infer --dry-run``: what would be done, and what it would take, measured on the first windows of a scene."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import BLOCK
from eozoo_core.raster.predict import READ_AHEAD
from eozoo_core.task.infer import Work
from eozoo_core.task.mapper import Mapper
from eozoo_core.task.maps import outputs_of
from eozoo_core.task.scenes import Block, Scene
from eozoo_core.task.windows import Cut, Drawn, NotShared, Predicted, first_windows

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract

_LOOKED = 20  # scenes whose headers are read, evenly spread over the list


@dataclass(frozen=True)
class _Measured:
    """What the beginning of a scene took. what: in words; share: of the scene; strip: rows of its outputs.

    held: bytes of rows that a scene of its width has in memory beside what this process has already.
    """

    what: str
    share: float
    seconds: float
    strip: Mapping[str, np.ndarray]
    held: float = 0.0


class _Captured(Exception):  # noqa: N818 - an answer
    def __init__(self, cut: Cut):
        self.cut = cut


def forecast(task: Contract, run: Run, source: Path, dest: Path) -> list[str]:
    """Return lines on an `infer` that is not done. Nothing is written."""
    work = Work(task, run, source, dest)
    todo = [one for group in work.open() for one in group if not work.is_finished(one[0])]
    counts, of = work.list.counts(), len(work.list.names)
    lines = [f"scenes    {of:,}: {of - len(todo):,} done before, {len(todo):,} to do"]
    if counts["failed"]:
        lines.append(f"          {counts['failed']:,} of these failed before and are tried again")
    if not todo:
        return lines
    opened, problems = _opened(work.mapper, todo)
    if problems:
        lines.append(f"          {len(problems)} of {len(opened) + len(problems)} looked at fail, first: {problems[0]}")
    if not opened:
        return lines
    scene = max(opened, key=lambda one: one.grid.height * one.grid.width)
    if scene.whole:
        return [*lines, f"          {scene.path.name} is no raster: its time is not predicted"]
    measured = _measure(work.mapper, scene)
    pixels = sum(map(_pixels, opened)) / len(opened) * len(todo)
    workers = task.settings.infer.workers
    seconds = measured.seconds / measured.share * pixels / _pixels(scene) / workers
    stored = _stored(work.mapper, measured.strip) * pixels
    few = f", from the headers of {len(opened)}" if len(opened) < len(todo) else ""
    return [
        *lines,
        f"pixels    {pixels:,.0f}{few}",
        f"measured  {measured.what}: {measured.seconds:.2f} s, {measured.share:.2%} of the scene",
        f"time      about {_time(seconds)} with {workers} worker{'s' * (workers > 1)} as fast; writing not counted",
        f"memory    about {_size(_peak() + measured.held)} for each worker",
        f"disk      {_size(stored)} of maps before they are packed, and twice a scene's share meanwhile",
    ]


def _opened(mapper: Mapper, todo: Sequence[tuple[str, Any]]) -> tuple[list[Scene], list[ZooError]]:
    """Return some of the scenes, opened, and why others are not."""
    chosen = np.unique(np.linspace(0, len(todo) - 1, min(len(todo), _LOOKED)).astype(int))
    scenes, problems = [], []
    for _, found in (todo[index] for index in chosen):
        try:
            scenes.append(mapper.task.open_scene(found, mapper.predictor.survey))
        except ZooError as error:
            problems.append(error)
    return scenes, problems


def _measure(mapper: Mapper, scene: Scene) -> _Measured:
    """Read and predict what a scene begins with: a batch of windows, or the first rows that its task gives."""

    def capture(cuts: Sequence[Cut]) -> Iterator[Predicted]:
        raise _Captured(cuts[0])

    predictor = mapper.predictor
    plain = Drawn(predictor, "", lambda *_: None)
    try:
        next(iter(mapper.task.map(Drawn(predictor, "", lambda *_: None, share=capture), scene)))
    except _Captured as found:
        return _first_windows(plain, scene, found.cut)
    except NotShared:
        pass
    begun = time.perf_counter()
    block = next(block for block in mapper.task.map(plain, scene) if block.values)
    seconds, strip = time.perf_counter() - begun, outputs_of(block, predictor.declared)
    rows = next(iter(strip.values())).shape[-2]
    return _Measured(f"the first {rows} rows of {scene.path.name}", rows / scene.grid.height, seconds, strip)


def _first_windows(drawn: Drawn, scene: Scene, cut: Cut) -> _Measured:
    count, seconds, values = first_windows(drawn, scene, cut)
    tiling, grid = cut.tiling, scene.grid
    what = f"the first {count} windows of {tiling.window} px of {scene.path.name}"
    share = count / len(tiling.windows(grid.height, grid.width))
    strip = outputs_of(Block(0, values), drawn.outputs)
    channels = sum(array[..., 0, 0].size for array in values.values())
    read = (tiling.window + READ_AHEAD) * len(scene.bands) * 4
    blended = tiling.window * channels * 16  # sum and weight, in double precision
    return _Measured(what, share, seconds, strip, (read + blended + BLOCK * channels * 4) * grid.width)


def _stored(mapper: Mapper, strip: Mapping[str, np.ndarray]) -> float:
    """Bytes of a pixel in all layers."""
    layers = [layer.sized(strip) for layer in mapper.task.layers(mapper.predictor.outputs, mapper.run)]
    types = [layer.dtype or ("uint8" if layer.bands[0].classes else "float32") for layer in layers]
    return float(sum(len(layer.bands) * np.dtype(kind).itemsize for layer, kind in zip(layers, types, strict=True)))


def _pixels(scene: Scene) -> int:
    return scene.grid.height * scene.grid.width


def _peak() -> float:
    """The most memory that this process had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
