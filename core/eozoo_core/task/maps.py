"""``eozoo infer``: rasters of any size into maps, one file per output; memory is that of a strip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import MapFiles
from eozoo_core.raster.masks import RowMask
from eozoo_core.raster.predict import Tiling, predict_raster
from eozoo_core.raster.read import open_reader
from eozoo_core.run.progress import progress_bar
from eozoo_core.score.plots import Panel, quicklook
from eozoo_core.task.contract import Contract
from eozoo_core.task.predict import Predictor
from eozoo_core.task.scenes import Scene, rasters
from eozoo_core.task.spread import present

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.spec import Port
    from eozoo_core.task.survey import Survey

_COLOURS = ((34, 102, 51), (204, 187, 68), (187, 85, 51), (68, 119, 170), (170, 170, 170), (170, 51, 119))
_PARTS = {
    "aleatoric": "from the data's noise (aleatoric)",
    "epistemic": "from the members' disagreement (epistemic)",
}
_FAR = 100  # training deviations from the training mean: another unit, not another place


def infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    """Map a raster, or every raster of a folder, into ``dest``; see ``Task.infer``.

    All headers are checked before the first map is begun. A file that turns out damaged in the middle ends the work
    with its name, or is left out and reported where ``infer.on_unreadable`` says so; maps already written stay.
    """
    predictor, problems = Predictor(task, run), []
    found, scenes, written = rasters(source), [], []
    for path in found:
        with skipping(task, problems), open_reader(path) as reader:
            scenes.append(Scene(path, task.raster_bands(reader.info, predictor.survey)))
    for scene in scenes:
        with skipping(task, problems):
            written += map_scene(task, predictor, scene, dest)
    if problems:
        (dest / "skipped.txt").write_text("\n".join(problems) + "\n")
        written.append(dest / "skipped.txt")
    if not written or len(problems) == len(found):
        raise ZooError(f"{source}: no raster could be read; first: {problems[0]}")
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


def map_scene(task: Contract, predictor: Predictor, scene: Scene, dest: Path) -> list[Path]:
    """Write DEST/SCENE_OUTPUT.tif for every output that has rows and columns, through windows that are blended."""
    settings = task.settings.infer
    shown = [port for port in predictor.outputs if {"H", "W"} <= set(port.axes.split())]
    members = next((p for p in predictor.declared if p.spread == "moments"), None) if settings.member_maps else None
    layers = [(dest / f"{scene.name}_{port.role}.tif", bands_of(port)) for port in shown]
    maps = [file for file, _ in layers]
    if members is not None:
        bands = [Band(_named(members, name), members.unit) for name in predictor.names]
        layers.append((dest / f"{scene.name}_members.tif", bands))
    tiling = Tiling(settings.window, settings.stride, settings.batch_size)
    blended = Blended(predictor, [port.role for port in shown], members.role if members else "", tiling.size)
    first = True

    def forward(windows: np.ndarray) -> np.ndarray:
        nonlocal first
        if first:
            require_training_units(windows, predictor.survey, scene.path)
        first = False
        return blended.forward({blended.image: windows})

    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(scene.path))
        mask = RowMask(reader.info.grid, settings.mask, str(scene.path))
        writer = stack.enter_context(MapFiles(layers, reader.info.grid, tags_of(predictor, shown, scene)))
        bar = stack.enter_context(progress_bar(scene.path.name, None, "windows", task.settings.runtime.quiet))
        predict_raster(
            reader,
            writer,
            forward,
            tiling,
            scene.bands,
            outputs=sum(blended.channels.values()),
            finish=lambda rows: mask.hide(blended.finish(rows)),
            progress=lambda done, total: bar.update(done, f"of {total}"),
        )
    picture = draw(settings.picture, maps, shown, dest / f"{scene.name}.png")
    return [*maps, *picture, *(file for file, _ in layers[len(maps) :])]


class Blended:
    """Quantities of a `Predictor` as the channels of one array, which windows blend, and back into outputs.

    channels: quantity -> how many; found by predicting one window of training means.
    """

    def __init__(self, predictor: Predictor, shown: Sequence[str], members: str, side: int):
        self._predictor, self._members = predictor, members
        self._shown = [*shown, *(predictor.names if members else ())]
        (image,) = predictor.inputs
        self.image = image.role
        mean = np.array(predictor.survey.mean, "float32")[None, :, None, None]
        found = predictor.quantities({self.image: np.broadcast_to(mean, (1, mean.shape[1], side, side))}, members)
        self._shapes = {name: values.shape[1:-2] for name, values in found.items()}  # before rows and columns
        self.channels = {name: int(np.prod(shape)) for name, shape in self._shapes.items()}

    def forward(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Windows -> (B, channels, H, W) float32."""
        found = self._predictor.quantities(dict(arrays), self._members)
        return torch.cat([v.reshape(len(v), -1, *v.shape[-2:]).float() for v in found.values()], dim=1).cpu().numpy()

    def finish(self, rows: np.ndarray) -> np.ndarray:
        """Blended channels (channels, n, W) -> bands of all maps (bands, n, W), in the order of the files."""
        parts = torch.from_numpy(rows).split(list(self.channels.values()))
        quantities = {
            name: part.reshape(1, *self._shapes[name], *part.shape[-2:])
            for name, part in zip(self.channels, parts, strict=True)
        }
        found = quantities | present(quantities, self._predictor.declared)
        return torch.cat([found[name].reshape(-1, *rows.shape[-2:]) for name in self._shown]).float().numpy()


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


def bands_of(port: Port) -> list[Band]:
    """Return the bands of an output's map: those that it names, or one; a class map has its classes."""
    classes = {c: Category(name, _COLOURS[i % len(_COLOURS)]) for i, (c, name) in enumerate(port.legend)} or None
    names = [f"{port.role} {band}" for band in port.bands] or [_named(port, port.role)]
    return [Band(name, port.unit, classes) for name in names]


def tags_of(predictor: Predictor, shown: Sequence[Port], scene: Scene) -> dict[str, str]:
    """Return what a map says of itself."""
    tags = {"SOURCE": scene.path.name}
    if quantity := next((port.quantity for port in shown if port.quantity), ""):
        tags |= {"QUANTITY": quantity, "UNIT": shown[0].unit}
    tags["DRAWS"] = str(len(predictor.names))
    if any(port.spread in ("moments", "deviation") for port in shown):
        tags["VARIANCE_FACTOR"] = f"{predictor.factor:.6g} {predictor.factor_source}"
    return tags


def draw(wanted: bool, files: Sequence[Path], ports: Sequence[Port], path: Path) -> list[Path]:
    """Draw the maps of one band side by side into a PNG; large ones are thinned while reading."""
    panels = []
    for file, port in zip(files, ports, strict=True):
        if not wanted or port.bands:
            continue
        with open_reader(file) as reader:
            values = reader.thumbnail(1024)[0]
        spread = port.spread == "deviation"
        title = next((text for part, text in _PARTS.items() if port.role.startswith(part)), "its standard deviation")
        panels.append(Panel(values, title if spread else "prediction", port.unit, "magma" if spread else "viridis"))
    if panels:
        quicklook(panels, path, title=path.stem, columns=2)
    return [path] if panels else []


def _named(port: Port, name: str) -> str:
    return f"{port.quantity} {name}" if port.quantity else name
