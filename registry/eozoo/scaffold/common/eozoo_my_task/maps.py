"""From rasters to maps, and from arrays to arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core import Graph, ZooError
from eozoo_core.raster.cog import CogWriter
from eozoo_core.raster.predict import Tiling, predict_raster
from eozoo_core.raster.read import RasterInfo, RasterReader
from eozoo_core.run.progress import progress_bar

from eozoo_my_task.objective import finish, layers, outputs, predictions
from eozoo_my_task.training import load_model

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Arrays, Predictor, Registry

    from eozoo_my_task.model import Scaled
    from eozoo_my_task.settings import MyTaskSettings


def make_predictor(run: Run, settings: MyTaskSettings, registry: Registry) -> Predictor:
    """Return f({"image": (B, C, H, W)}) -> the arrays of ``outputs``, NaN where any band is missing."""
    model, device = load_model(run, settings, registry, "infer")
    masked, names = Masked(model), tuple(outputs(settings))

    def predict(batch: Arrays) -> Arrays:
        with torch.inference_mode():
            found = masked(torch.from_numpy(np.asarray(batch["image"], "float32")).to(device))
        return {name: values.cpu().numpy() for name, values in zip(names, found, strict=True)}

    return predict


class Masked(torch.nn.Module):
    """The model from bands (B, C, H, W) to its outputs, NaN where any band is missing."""

    def __init__(self, model: Scaled):
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the arrays of ``outputs``, in that order."""
        missing = ~torch.isfinite(image).all(dim=1, keepdim=True)
        found = predictions(self.model, image)
        return tuple(torch.where(missing, torch.nan, values.float()) for values in found.values())


def make_graph(run: Run, settings: MyTaskSettings, registry: Registry) -> Graph:
    """Return the trained model on the CPU with one window as example."""
    model, _ = load_model(run, settings, registry, "infer")
    side, bands = settings.infer.window, run.info()["bands"]
    image = np.random.default_rng(0).normal(size=(1, len(bands), side, side)).astype("float32")
    mean, std = (t.cpu().numpy() for t in (model.input_mean, model.input_std))
    return Graph(
        Masked(model.cpu()),
        {"image": image * std + mean},
        tuple(outputs(settings)),
        axes={"image": ("batch", "", "height", "width")},
        about={"image": f"bands {', '.join(bands)}, in this order and in the units of training; NaN = missing"},
    )


def infer(run: Run, settings: MyTaskSettings, predict: Callable, source: Path, dest: Path) -> list[Path]:
    """Write DEST/NAME_OUTPUT.tif for a raster or every .tif of a folder; return the files."""
    sources = sorted(source.glob("*.tif")) if source.is_dir() else [source]
    if not sources:
        raise ZooError(f"{source}: holds no .tif file")
    chosen = {}
    for file in sources:
        with RasterReader(file) as reader:
            chosen[file] = _bands(reader.info, run.info()["bands"])
    return [_map(file, bands, settings, predict, dest) for file, bands in chosen.items()]


def _map(file: Path, bands: tuple[int, ...], settings: MyTaskSettings, predict: Callable, dest: Path) -> Path:
    name = list(outputs(settings))[-1]  # of several, the last is what windows are blended in

    def forward(windows: np.ndarray) -> np.ndarray:
        return predict({"image": windows})[name]

    channels = forward(np.zeros((1, len(bands), 8, 8), "float32")).shape[1]
    target = dest / f"{file.stem}_{next(iter(outputs(settings)))}.tif"
    tiling = Tiling(settings.infer.window, settings.infer.stride, settings.infer.batch_size)
    with (
        RasterReader(file) as reader,
        CogWriter(target, reader.info.grid, layers(settings, channels), tags={"SOURCE": file.name}) as writer,
        progress_bar(file.name, None, "windows", settings.runtime.quiet) as bar,
    ):
        predict_raster(
            reader,
            writer,
            forward,
            tiling,
            bands,
            outputs=channels,
            finish=finish,
            progress=lambda done, total: bar.update(done, f"of {total}"),
        )
    return target


def _bands(info: RasterInfo, trained: list[str]) -> tuple[int, ...]:
    """Choose the bands that were trained on, by name where the file has names, else by position."""
    if any(info.descriptions) and not trained[0].startswith("band "):
        return info.select(trained)
    if len(info.bands) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return info.bands
