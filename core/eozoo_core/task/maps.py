"""A scene of any size into maps, one file per output; memory is that of a strip."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import Layer, MapFiles, Shown
from eozoo_core.raster.masks import RowMask
from eozoo_core.raster.read import open_reader
from eozoo_core.run.progress import print_message
from eozoo_core.run.written import is_current
from eozoo_core.score.quicklook import Panel, class_colours, quicklook
from eozoo_core.task.guard import SceneGuard
from eozoo_core.task.made_from import STAMP, are_there, seen
from eozoo_core.task.passes import Passes
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Block, Scene
from eozoo_core.task.spread import present
from eozoo_core.task.windows import Drawn, Share

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port
    from eozoo_core.task.contract import Contract

_THUMB = 1024  # px
_PARTS = {
    "aleatoric": "from the data's noise (aleatoric)",
    "epistemic": "from the members' disagreement (epistemic)",
}


@dataclass(frozen=True)
class Mapped:
    """What became of a scene: its files, whether they were ``left`` as they were; shares of pixels and input values.

    masked: of pixels without a prediction; outside: of the input values outside what training saw; None = not known.
    """

    files: tuple[Path, ...] = ()
    left: bool = False
    masked: float | None = None
    outside: float | None = None


def members_port(task: Contract, predictor: Predictor) -> Port | None:
    """Return the output of which every draw gets a band in NAME_members.tif; None = there is no such file."""
    wanted = getattr(task.settings.infer, "member_maps", False)
    return next((p for p in predictor.declared if p.spread == "moments"), None) if wanted else None


def role_of(port: Port | None) -> str:
    """Return the role of an output, "" of none."""
    return port.role if port else ""


def map_scene(
    task: Contract,
    run: Run,
    predictor: Predictor,
    scene: Scene,
    dest: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    passes: Passes | None = None,
    share: Share | None = None,
) -> Generator[None, None, Mapped]:
    """Write DEST/SCENE_LAYER.tif (or .zarr, ``infer.format``) for every layer of ``Task.layers``, and its pictures.

    Yields where it waits for a pass that it shares, and with ``passes`` once before, when it is known whether there is
    something to do. Maps of the same stamp are not made again; see `in_company`.
    """
    settings, found = task.settings.infer, Mapped(left=True)
    end = ".zarr" if getattr(settings, "format", "cog") == "zarr" else ".tif"
    layers = {dest / f"{scene.file(layer.name)}{end}": layer for layer in task.layers(predictor.outputs, run)}
    if (members := members_port(task, predictor)) is not None:
        each = [f"{name} {band}" for name in predictor.names for band in members.bands] or predictor.names
        bands = tuple(Band(_named(members, name), members.unit) for name in each)
        stacked = Layer("members", bands, values=_stacked(predictor.names), quantity=members.quantity)
        layers[dest / f"{scene.file('members')}{end}"] = stacked
    layers = packed(layers, settings.int8)
    shown, beside = Shown({layer.name: file for file, layer in layers.items()}), dest / f"{scene.file('guard')}.json"
    if are_there(list(layers), scene.stamp):
        yield from in_company(task, predictor, scene, passes)
    else:
        if passes is not None:
            passes.wanted = True
            yield
        with ExitStack() as stack:
            stack.enter_context(gone_on_error(beside))
            mask = RowMask(scene.grid, settings.mask, str(scene.path), scene.scl)
            tags = tags_of(predictor, scene) | task.tags(run)
            guard = SceneGuard(task, predictor, scene)
            drawn = Drawn(predictor, role_of(members), progress, dest, guard.watch, guard.allow, passes, share)
            row, files, missing = 0, None, 0
            for strip in strips_of(task, predictor, scene, drawn, guard):
                if strip is None:
                    yield
                    continue
                if files is None:
                    sized = [(file, layer.sized(strip)) for file, layer in layers.items()]
                    files = stack.enter_context(MapFiles(sized, scene.grid, tags))
                count = next(iter(strip.values())).shape[-2]
                hidden = mask.next(count)
                missing += np.count_nonzero(hidden | without_value(strip))
                files.write_rows(row, strip, hidden)
                row += count
            files.tag(guard.finish())
            guard.write(beside)  # first: where the maps are there, all is
            shown.in_memory, errors = files.shown, files.errors
            found = Mapped(masked=missing / (scene.grid.height * scene.grid.width), outside=guard.outside)
        for line in errors if not task.settings.runtime.quiet else ():
            print_message(f"{scene.path.name}: {line}")
    drawn_too = task.pictures(predictor.outputs, shown, scene, dest)
    return replace(found, files=(*layers, *drawn_too, *([beside] if beside.exists() else [])))


def in_company(
    task: Contract, predictor: Predictor, scene: Scene, passes: Passes | None
) -> Generator[None, None, None]:
    """Predict a finished scene again and write nothing: scenes that share passes with it get the same batches.

    Does nothing where no such scene is left. Yields once before that is known, and where it waits for a pass.
    """
    if passes is None:
        return
    yield
    if passes.wanted:
        role = role_of(members_port(task, predictor))
        with TemporaryDirectory() as dest:
            drawn = Drawn(predictor, role, lambda *_: None, Path(dest), passes=passes)
            yield from (None for block in task.map(drawn, scene) if not block.values)


def strips_of(
    task: Contract, predictor: Predictor, scene: Scene, drawn: Drawn, guard: SceneGuard
) -> Iterator[dict[str, np.ndarray] | None]:
    """Yield the outputs of a scene's rows from top to bottom, each (..., n, W); None = it waits for a shared pass."""
    members = members_port(task, predictor)
    for block in task.map(drawn, scene):
        if not block.values:
            yield None
            continue
        strip = outputs_of(block, predictor.declared)
        guard.add(strip)
        yield floored(strip, predictor.declared, members)


@contextmanager
def gone_on_error(file: Path) -> Iterator[None]:
    """Remove a file that was written in the block where the block fails."""
    before = seen(file)
    try:
        yield
    except BaseException:
        if seen(file) != before:
            file.unlink(missing_ok=True)
        raise


def without_value(strip: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return where some rows (n, W) have no value in the first of what they hold."""
    first = next(iter(strip.values()))
    return np.isnan(first.reshape(-1, *first.shape[-2:])).all(axis=0)


def packed(layers: Mapping[Path, Layer], names: Sequence[str]) -> dict[Path, Layer]:
    """Return the layers, those that ``names`` (``infer.int8``) lists as bytes, which are always GeoTIFF.

    Raises ZooError for one of no floats.
    """
    fit = [layer.name for layer in layers.values() if layer.dtype in (None, "float32") and not layer.bands[0].classes]
    if wrong := [name for name in names if name not in fit]:
        raise ZooError(f"infer.int8: {wrong[0]} is not a layer of floats here; there are: {', '.join(fit) or 'none'}")
    known = {file: replace(layer, packed=layer.packed or layer.name in names) for file, layer in layers.items()}
    return {file.with_suffix(".tif") if layer.packed else file: layer for file, layer in known.items()}


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
    colours = class_colours(len(port.legend)).tolist() if port.legend else ()
    classes = {c: Category(name, tuple(rgb)) for (c, name), rgb in zip(port.legend, colours, strict=True)} or None
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
    """Draw the maps of one band side by side into a PNG, unless it is no older; large ones are thinned."""
    if files and is_current(path, *files.values()):
        return [path]
    panels = []
    for port in ports:
        if port.role not in files:
            continue
        bands = _thumbnail(files, port.role)
        if len(bands) > 1:
            continue
        if port.legend:
            codes, names = zip(*port.legend, strict=True)
            panels.append(Panel(numbered(bands[0], codes), "prediction", port.unit, classes=names))
            continue
        spread = port.spread == "deviation"
        title = next((text for part, text in _PARTS.items() if port.role.startswith(part)), "its standard deviation")
        panels.append(Panel(bands[0], title if spread else "prediction", port.unit, "magma" if spread else "viridis"))
    if panels:
        quicklook(panels, path, title=path.stem, columns=2)
    return [path] if panels else []


def numbered(values: np.ndarray, codes: Sequence[int]) -> np.ndarray:
    """Return the place of each code of a class map (H, W) among ``codes``, NaN for what is none of them."""
    found = np.full(values.shape, np.nan, np.float32)
    for index, code in enumerate(codes):
        found[values == code] = index
    return found


def _thumbnail(files: Mapping[str, Path], layer: str) -> np.ndarray:
    """Return the bands of a layer's map, of at most 1,024 px a side, from memory where they are there."""
    known = files.in_memory.get(layer) if isinstance(files, Shown) else None
    if known is not None and max(known.shape[1:]) <= _THUMB:
        return known
    with open_reader(files[layer]) as reader:
        return reader.thumbnail(_THUMB, reader.info.bands[:2])


def _named(port: Port, name: str) -> str:
    return f"{port.quantity} {name}" if port.quantity else name
