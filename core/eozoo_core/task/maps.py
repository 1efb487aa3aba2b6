"""``eozoo infer``: scenes of any size into maps, one file per output; memory is that of a strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import Layer, MapFiles
from eozoo_core.raster.masks import RowMask
from eozoo_core.raster.read import open_reader
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.written import write_text
from eozoo_core.score.plots import Panel, quicklook
from eozoo_core.task.guard import SceneGuard
from eozoo_core.task.made_from import STAMP, MadeWith, are_there, steadily
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Block, Scene
from eozoo_core.task.spread import present
from eozoo_core.task.turns import Turns
from eozoo_core.task.windows import Drawn

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port
    from eozoo_core.task.contract import Contract

_COLOURS = ((34, 102, 51), (204, 187, 68), (187, 85, 51), (68, 119, 170), (170, 170, 170), (170, 51, 119))
_PARTS = {
    "aleatoric": "from the data's noise (aleatoric)",
    "epistemic": "from the members' disagreement (epistemic)",
}


def infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    """Map every scene of ``source`` into ``dest``; see ``Task.infer``.

    All headers are checked before the first map is begun. A file that turns out damaged in the middle ends the work
    with its name, or is left out and reported where ``infer.on_unreadable`` says so; maps already written stay. A new
    ``dest`` in which nothing was written is gone afterwards.
    """
    was_there = dest.exists()
    try:
        return _infer(task, run, source, dest)
    finally:
        if not was_there:
            with suppress(OSError):  # it holds something, or was never made
                dest.rmdir()


def _infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    predictor, problems = steadily(run, lambda: Predictor(task, run)), []
    found, scenes, written = task.find_scenes(source), [], []
    for one in found:
        with skipping(task, problems):
            scenes.append(task.open_scene(one, predictor.survey))
    tell_once([f"{scene.path.name}: {note}" for scene in scenes for note in scene.notes], task.settings.runtime.quiet)
    made_with = MadeWith.of(task, run, predictor)
    scenes, turns = [made_with.marked(scene) for scene in scenes], Turns(dest)
    written += write_whole(task, predictor, [scene for scene in scenes if scene.whole], turns, problems)
    for scene in turns.over([scene for scene in scenes if not scene.whole]):
        with skipping(task, problems), turns.mine(scene) as mine:
            written += map_scene(task, run, predictor, scene, dest, turns.left) if mine else []
    busy = turns.tell(task.settings.runtime.quiet)
    if problems:
        written.append(write_text(dest / "skipped.txt", "\n".join(problems) + "\n"))
    if not busy and (not written or len(problems) == len(found)):
        raise ZooError(f"{source}: nothing could be read; first: {problems[0]}")
    return written


def write_whole(
    task: Contract, predictor: Predictor, scenes: Sequence[Scene], turns: Turns, problems: list[str]
) -> list[Path]:
    """Let the task write what is no raster; see ``Task.write``."""
    if not scenes:
        return []
    written = []
    with progress_bar("infer", len(scenes), "files", task.settings.runtime.quiet) as bar:
        for done, scene in enumerate(turns.over(scenes)):
            with skipping(task, problems), turns.mine(scene) as mine:
                if mine:
                    guard = SceneGuard(task, predictor, scene)
                    drawn = Drawn(predictor, "", lambda *_: None, watch=guard.strict())
                    written += task.write(drawn, scene, turns.dest)
            bar.update(done + 1, scene.path.name)
    return written


@contextmanager
def skipping(task: Contract, problems: list[str]) -> Iterator[None]:
    """Let a ZooError pass, or note it, as ``infer.on_unreadable`` says."""
    try:
        yield
    except ZooError as error:
        if task.settings.infer.on_unreadable != "skip":
            raise
        problems.append(str(error))


def map_scene(
    task: Contract, run: Run, predictor: Predictor, scene: Scene, dest: Path, left: list[str] | None = None
) -> list[Path]:
    """Write DEST/SCENE_LAYER.tif for every layer of ``Task.layers``, and the pictures of ``Task.pictures``.

    Maps of the same stamp are not made again; ``left`` then gets the scene's name.
    """
    settings = task.settings.infer
    layers = {dest / f"{scene.file(layer.name)}.tif": layer for layer in task.layers(predictor.outputs, run)}
    wanted = getattr(settings, "member_maps", False)
    members = next((p for p in predictor.declared if p.spread == "moments"), None) if wanted else None
    if members is not None:
        each = [f"{name} {band}" for name in predictor.names for band in members.bands] or predictor.names
        bands = tuple(Band(_named(members, name), members.unit) for name in each)
        stacked = Layer("members", bands, values=_stacked(predictor.names), quantity=members.quantity)
        layers[dest / f"{scene.file('members')}.tif"] = stacked
    shown, beside = {layer.name: file for file, layer in layers.items()}, dest / f"{scene.file('guard')}.json"
    if are_there(list(layers), scene.stamp):
        if left is not None:
            left.append(scene.path.name)
    else:
        with ExitStack() as stack:
            mask = RowMask(scene.grid, settings.mask, str(scene.path))
            tags = tags_of(predictor, scene) | task.tags(run)
            bar = stack.enter_context(progress_bar(scene.path.name, None, "steps", task.settings.runtime.quiet))
            progress = lambda done, total: bar.update(done, f"of {total}")  # noqa: E731
            guard = SceneGuard(task, predictor, scene)
            drawn = Drawn(predictor, members.role if members else "", progress, dest, guard.watch, guard.allow)
            row, files = 0, None
            for block in task.map(drawn, scene):
                strip = outputs_of(block, predictor.declared)
                guard.add(strip)
                strip = floored(strip, predictor.declared, members)
                if files is None:
                    sized = [(file, layer.sized(strip)) for file, layer in layers.items()]
                    files = stack.enter_context(MapFiles(sized, scene.grid, tags))
                count = next(iter(strip.values())).shape[-2]
                files.write_rows(row, strip, mask.next(count))
                row += count
            files.tag(guard.finish())
        guard.write(beside)
    drawn_too = task.pictures(predictor.outputs, shown, scene, dest)
    return [*layers, *drawn_too, *([beside] if beside.exists() else [])]


def outputs_of(block: Block, ports: Sequence[Port]) -> dict[str, np.ndarray]:
    """Return what a block holds, and the outputs that follow from it, each (..., n, W)."""
    given = {name: torch.from_numpy(values)[None] for name, values in block.values.items()}
    known = [port for port in ports if (port.of or port.role) in given]
    return dict(block.values) | {name: values[0].numpy() for name, values in present(given, known).items()}


def floored(strip: Mapping[str, np.ndarray], ports: Sequence[Port], members: Port | None) -> dict[str, np.ndarray]:
    """Return outputs with `Port.least` where they are less, those of each member too; NaN stays."""
    least = {port.role: port.least for port in ports if port.least is not None}
    if members is not None and members.role in least:
        least |= {name: least[members.role] for name in strip if name.startswith("member ")}
    return {n: np.maximum(v, np.float32(least[n])) if n in least else v for n, v in strip.items()}


def layers_of(ports: Sequence[Port]) -> list[Layer]:
    """Return a layer for every output that has rows and columns; the default of ``Task.layers``."""
    mapped = [port for port in ports if {"H", "W"} <= set(port.axes.split())]
    return [Layer(port.role, bands_of(port), quantity=port.quantity) for port in mapped]


def _stacked(names: Sequence[str]) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    return lambda strip: np.concatenate([strip[name].reshape(-1, *strip[name].shape[-2:]) for name in names])


def bands_of(port: Port) -> tuple[Band, ...]:
    """Return the bands of an output's map: those that it names, or one; a class map has its classes."""
    classes = {c: Category(name, _COLOURS[i % len(_COLOURS)]) for i, (c, name) in enumerate(port.legend)} or None
    names = [f"{port.role} {band}" for band in port.bands] or [_named(port, port.role)]
    return tuple(Band(name, port.unit, classes) for name in names)


def tags_of(predictor: Predictor, scene: Scene) -> dict[str, str]:
    """Return what a map says of itself."""
    tags = {"SOURCE": scene.path.name}
    tags["DRAWS"] = str(len(predictor.names))
    if any(port.spread in ("moments", "deviation") for port in predictor.outputs):
        tags["VARIANCE_FACTOR"] = f"{predictor.factor:.6g} {predictor.factor_source}"
    if scene.notes:
        tags["READ"] = "; ".join(scene.notes)
    return tags | scene.tags | ({STAMP: scene.stamp} if scene.stamp else {})


def draw_maps(ports: Sequence[Port], files: Mapping[str, Path], path: Path) -> list[Path]:
    """Draw the maps of one band side by side into a PNG; large ones are thinned while reading."""
    panels = []
    for port in ports:
        if port.role not in files:
            continue
        with open_reader(files[port.role]) as reader:
            if len(reader.info.bands) > 1:
                continue
            values = reader.thumbnail(1024)[0]
        spread = port.spread == "deviation"
        title = next((text for part, text in _PARTS.items() if port.role.startswith(part)), "its standard deviation")
        panels.append(Panel(values, title if spread else "prediction", port.unit, "magma" if spread else "viridis"))
    if panels:
        quicklook(panels, path, title=path.stem, columns=2)
    return [path] if panels else []


def _named(port: Port, name: str) -> str:
    return f"{port.quantity} {name}" if port.quantity else name
