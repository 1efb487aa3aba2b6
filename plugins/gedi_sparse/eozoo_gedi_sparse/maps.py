"""From a trained run to maps: predict arrays, and stream rasters of any size into cloud-optimised GeoTIFFs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core.checkpoint import load_module
from eozoo_core.cog import Band, CogWriter
from eozoo_core.errors import ZooError
from eozoo_core.launch import resolve_device, set_threads
from eozoo_core.mapping import Tiling, predict_raster
from eozoo_core.progress import progress_bar
from eozoo_core.raster import Grid, RasterInfo, Reader, open_reader

from eozoo_gedi_sparse.losses import SparseLoss
from eozoo_gedi_sparse.pairs import SUFFIXES, band_numbers, chosen_names
from eozoo_gedi_sparse.pictures import draw_map
from eozoo_gedi_sparse.regressor import SparseRegressor, missing
from eozoo_gedi_sparse.training import empty_model, make_loss

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.settings import GediSettings


def load_model(
    run: Run, settings: GediSettings, registry: Registry
) -> tuple[SparseRegressor, SparseLoss, torch.device]:
    """Load best.pt, every tensor matched, in evaluation mode onto ``runtime.device``."""
    set_threads(settings.runtime)
    device = torch.device(resolve_device(settings.runtime.device))
    state = run.load("best")["model"]
    loss = make_loss(settings, registry)
    model = empty_model(settings, registry, loss, state)
    load_module(model, state, run.file("best"))
    return model.to(device).eval(), loss, device


def make_predictor(run: Run, settings: GediSettings, registry: Registry) -> Callable[[dict], dict]:
    """Return the callable of ``Task.predictor``."""
    forward, bands = _forward(run, settings, registry)

    def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image = np.asarray(batch.get("image"))
        if image.ndim not in (3, 4) or image.shape[-3] != bands or image.dtype.kind not in "fiu":
            raise ZooError(f"predict: 'image' must be ([B,] {bands}, H, W) numbers, got {image.dtype} {image.shape}")
        out = forward(image.astype(np.float32).reshape(-1, *image.shape[-3:]))
        out[:, 1:] **= 0.5  # variance -> standard deviation
        out = out if image.ndim == 4 else out[0]
        return {name: out[..., i, :, :] for i, name in enumerate(("mean", "std")[: out.shape[-3]])}

    return predict


def infer(run: Run, settings: GediSettings, registry: Registry, source: Path, dest: Path) -> list[Path]:
    """Map a raster, or every raster of a folder, into ``dest``; see ``Task.infer``.

    All headers are checked before the first map is begun. A file that turns out damaged in the middle ends the work
    with its name, or is left out and reported where ``infer.skip_unreadable`` says so; maps already written stay.
    """
    forward, bands = _forward(run, settings, registry)
    names = ("mean", "std") if make_loss(settings, registry).trains_variance else ("mean",)
    rasters, problems = _rasters(source), []
    chosen = {}
    for path in rasters:
        with _skipping(settings, problems), open_reader(path) as reader:
            chosen[path] = _bands(reader.info, settings, run.info().get("bands", []), bands)
    written: list[Path] = []
    for path, numbers in chosen.items():
        with _skipping(settings, problems):
            written += _map(path, numbers, settings, forward, names, dest)
    if problems:
        (dest / "skipped.txt").write_text("\n".join(problems) + "\n")
        written.append(dest / "skipped.txt")
    if not written or (problems and len(problems) == len(rasters)):
        raise ZooError(f"{source}: no raster could be read; first: {problems[0]}")
    return written


class _skipping:  # noqa: N801 - used as a statement
    """Let a ZooError pass, or note it, as ``infer.skip_unreadable`` says."""

    def __init__(self, settings: GediSettings, problems: list[str]):
        self._skip, self._problems = settings.infer.skip_unreadable, problems

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, ZooError) and self._skip:
            self._problems.append(str(error))
            return True
        return False


def _forward(run: Run, settings: GediSettings, registry: Registry) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Return f(image (B, C, H, W)) -> (B, 1 or 2, H, W) float32: mean, variance; NaN where any band is; and C."""
    model, loss, device = load_model(run, settings, registry)

    def forward(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            bands = torch.from_numpy(image).to(device)
            mean, log_scale = model(bands)
            outputs = [mean, loss.std(log_scale) ** 2] if loss.trains_variance else [mean]
            stacked = torch.where(missing(bands), torch.nan, torch.cat(outputs, dim=1))
        return stacked.float().cpu().numpy()

    return forward, model.input_mean.numel()


def _map(
    path: Path, numbers: tuple[int, ...], settings: GediSettings, forward: Callable, names: tuple[str, ...], dest: Path
) -> list[Path]:
    unit = settings.data.unit
    files = [dest / f"{path.stem}_{name}.tif" for name in names]
    what = "canopy height" if unit == "m" else "above-ground biomass density"
    tags = {"SOURCE": path.name, "QUANTITY": what, "UNIT": unit}
    tiling = Tiling(settings.infer.window, settings.infer.stride, settings.infer.batch_size)
    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(path))
        bands = [Band(f"{what} {name}", unit) for name in names]
        writer = stack.enter_context(BandFiles(files, reader.info.grid, bands, tags))
        bar = stack.enter_context(progress_bar(path.name, None, "windows", settings.runtime.quiet))
        _predict(reader, writer, numbers, forward, tiling, bar)
    if settings.infer.quicklook:
        files.append(draw_map(files, names, unit, dest / f"{path.stem}.png"))
    return files


def _predict(
    reader: Reader, writer: BandFiles, numbers: tuple[int, ...], forward: Callable, tiling: Tiling, bar: Any
) -> None:
    def finish(rows: np.ndarray) -> np.ndarray:
        # Variances are blended, not standard deviations: a blend of the former is the variance of the mixture's parts.
        rows[1:] = np.sqrt(rows[1:])
        return rows

    predict_raster(
        reader,
        writer,
        forward,
        tiling,
        numbers,
        finish=finish,
        progress=lambda done, total: bar.update(done, f"of {total}"),
    )


class BandFiles:
    """A writer like ``CogWriter`` that gives every band a file of its own: one map, one layer in QGIS."""

    def __init__(self, files: list[Path], grid: Grid, bands: list[Band], tags: dict[str, str]):
        self.grid, self.bands = grid, bands
        self._writers = [CogWriter(file, grid, [band], tags=tags) for file, band in zip(files, bands, strict=True)]

    def __enter__(self) -> BandFiles:
        self._stack = ExitStack()
        with ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def write_rows(self, row: int, values: np.ndarray) -> None:
        """Add rows (bands, n, width), each band to its file."""
        for i, writer in enumerate(self._writers):
            writer.write_rows(row, values[i : i + 1])


def _rasters(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]  # opening it says what is wrong, also where it is not there
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ZooError(f"{source}: holds no raster ({', '.join(SUFFIXES)})")
    stems = [p.stem for p in found]
    for path in found:
        if stems.count(path.stem) > 1:
            raise ZooError(f"{path}: another file in the folder has the same name but for its ending; rename one")
    return found


def _bands(info: RasterInfo, settings: GediSettings, trained: list[str], expected: int) -> tuple[int, ...]:
    """Choose the bands that the network was trained on, by name where the file has names, else by position."""
    known = [name for name in info.descriptions if name]
    if settings.data.band_names is None and known and trained and not trained[0].startswith("band "):
        numbers = info.select(trained)
    else:
        numbers = band_numbers(info, settings.data)
        names = list(chosen_names(info, settings.data))
        if len(numbers) == expected and trained and names != trained and known:
            raise ZooError(f"{info.path}: bands are {', '.join(names)}; the run was trained on {', '.join(trained)}")
    if len(numbers) != expected:
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {expected}: {', '.join(trained)}")
    return numbers
