"""From a trained run to maps: predict arrays, and stream rasters of any size into cloud-optimised GeoTIFFs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.predict import Tiling, predict_raster
from eozoo_core.raster.read import RasterInfo, open_reader
from eozoo_core.run.progress import progress_bar

from eozoo_gedi_sparse.ensemble import load_draws, member_runs, predict_moments
from eozoo_gedi_sparse.masks import RowMask
from eozoo_gedi_sparse.pairs import SUFFIXES, band_numbers, chosen_names
from eozoo_gedi_sparse.pictures import draw_map
from eozoo_gedi_sparse.regressor import missing

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_gedi_sparse.settings import GediSettings


def make_predictor(run: Run, settings: GediSettings, registry: Registry) -> Callable[[dict], dict]:
    """Return the callable of ``Task.predictor``."""
    forward = Forward(run, settings, registry)

    def predict(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        image, bands = np.asarray(batch.get("image")), forward.bands
        if image.ndim not in (3, 4) or image.shape[-3] != bands or image.dtype.kind not in "fiu":
            raise ZooError(f"predict: 'image' must be ([B,] {bands}, H, W) numbers, got {image.dtype} {image.shape}")
        out = forward(image.astype(np.float32).reshape(-1, *image.shape[-3:]))
        maps = forward.finish(out.swapaxes(0, 1)).swapaxes(0, 1)
        maps = maps if image.ndim == 4 else maps[0]
        return {name: maps[..., i, :, :] for i, name in enumerate(forward.names)}

    return predict


def infer(run: Run, settings: GediSettings, registry: Registry, source: Path, dest: Path) -> list[Path]:
    """Map a raster, or every raster of a folder, into ``dest``; see ``Task.infer``.

    All headers are checked before the first map is begun. A file that turns out damaged in the middle ends the work
    with its name, or is left out and reported where ``infer.on_unreadable`` says so; maps already written stay.
    """
    forward = Forward(run, settings, registry)
    rasters, problems = _rasters(source), []
    trained = member_runs(run, settings)[0].info().get("bands", [])
    chosen = {}
    for path in rasters:
        with _skipping(settings, problems), open_reader(path) as reader:
            chosen[path] = _bands(reader.info, settings, trained, forward.bands)
    written: list[Path] = []
    for path, numbers in chosen.items():
        with _skipping(settings, problems):
            written += _map(path, numbers, settings, forward, dest)
    if problems:
        (dest / "skipped.txt").write_text("\n".join(problems) + "\n")
        written.append(dest / "skipped.txt")
    if not written or (problems and len(problems) == len(rasters)):
        raise ZooError(f"{source}: no raster could be read; first: {problems[0]}")
    return written


class _skipping:  # noqa: N801 - used as a statement
    """Let a ZooError pass, or note it, as ``infer.on_unreadable`` says."""

    def __init__(self, settings: GediSettings, problems: list[str]):
        self._skip, self._problems = settings.infer.on_unreadable == "skip", problems

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, ZooError) and self._skip:
            self._problems.append(str(error))
            return True
        return False


class Forward:
    """Every draw of a run on one device, in one pass over the data.

    names: the maps that ``finish`` gives, see ``map_names``. bands: how many the network takes. draws: how many.
    factor: of all variances, as fitted on validation (1 where that is off or was not fitted, and ``fitted`` says why).
    """

    def __init__(self, run: Run, settings: GediSettings, registry: Registry):
        which = settings.infer.draws
        self._draws, self._loss, self._device = load_draws(run, settings, registry, which, "infer")
        self._members = settings.infer.member_maps
        self.bands = self._draws[0].model.input_mean.numel()
        self.draws = [draw.name for draw in self._draws]
        self.names = map_names(self._loss.trains_variance, len(self._draws))
        self.factor, self.fitted = variance_factor(run, settings)
        self.outputs = len(self._moments) + (len(self._draws) if self._members else 0)

    @property
    def _moments(self) -> tuple[str, ...]:
        aleatoric = ("aleatoric",) if self._loss.trains_variance else ()
        return ("mean", *aleatoric, *(("epistemic",) if len(self._draws) > 1 else ()))

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Bands (B, C, H, W), NaN = missing -> (B, outputs, H, W) float32: mean, variances, then the draws' means.

        Variances are what windows may blend: a blend of them is the variance of the mixture's parts.
        """
        kept: list[torch.Tensor] = []
        with torch.inference_mode():
            bands = torch.from_numpy(image).to(self._device)
            mean, aleatoric, epistemic = predict_moments(
                self._draws, self._loss, bands, kept if self._members else None
            )
            parts = [mean] + [v * self.factor for v in (aleatoric,) if v is not None]
            parts += [epistemic * self.factor] if len(self._draws) > 1 else []
            stacked = torch.where(missing(bands), torch.nan, torch.cat([*parts, *kept], dim=1))
        return stacked.float().cpu().numpy()

    def check_values(self, image: np.ndarray, path: Path) -> None:
        """Raise ZooError where most bands (B, C, H, W) lie far outside what the run was trained on.

        Reflectance times 10,000 into a network trained on 0..1 would give a map that looks like one and is none.
        """
        model = self._draws[0].model
        mean, std = (b.flatten().cpu().numpy() for b in (model.input_mean, model.input_std))
        if not mean.any():  # bands go in as they are: what was usual in training is not known
            return
        valid = np.isfinite(image).any(axis=(0, 2, 3))
        median = np.where(valid, np.nanmedian(np.where(valid[:, None, None], image, 0), axis=(0, 2, 3)), mean)
        far = np.abs(median - mean) > 100 * std
        if 2 * far.sum() > far.size:
            i = int(far.argmax())
            raise ZooError(
                f"{path}: values are not in the units of the training data: input {i + 1} has median {median[i]:.4g}, "
                f"trained on {mean[i]:.4g} +- {std[i]:.4g}; scale the raster in the same way"
            )

    def finish(self, rows: np.ndarray) -> np.ndarray:
        """Mean and variances (outputs, ...) -> the maps (names and draws, ...): standard deviations, the total last."""
        count = len(self._moments)
        spread = np.sqrt(np.maximum(rows[1:count], 0))
        if len(self.names) == count + 1:
            spread = np.concatenate([spread, np.sqrt(np.maximum(rows[1:count].sum(axis=0, keepdims=True), 0))])
        return np.concatenate([rows[:1], spread, rows[count:]]).astype(np.float32)


def map_names(trains_variance: bool, draws: int) -> tuple[str, ...]:
    """Names of the maps: mean, std where a variance is trained, and with several draws the parts that it is made of."""
    if draws == 1:
        return ("mean", "std") if trains_variance else ("mean",)
    return ("mean", "aleatoric_std", "epistemic_std", "std") if trains_variance else ("mean", "epistemic_std")


def variance_factor(run: Run, settings: GediSettings) -> tuple[float, str]:
    """The factor of variances, and where it comes from in words."""
    fitted = run.info().get("variance_scale")
    if not settings.infer.scale_variance:
        return 1.0, "off (infer.scale_variance)"
    if not fitted or fitted["factor"] is None:
        return 1.0, "not fitted (no variance, too few validation labels, or training has not ended)"
    return float(fitted["factor"]), f"fitted on {fitted['labels']} validation labels"


def _map(path: Path, numbers: tuple[int, ...], settings: GediSettings, forward: Forward, dest: Path) -> list[Path]:
    unit = settings.data.unit
    files = [dest / f"{path.stem}_{name}.tif" for name in forward.names]
    what = "canopy height" if unit == "m" else "above-ground biomass density"
    tags = {"SOURCE": path.name, "QUANTITY": what, "UNIT": unit, "DRAWS": str(len(forward.draws))}
    tags |= {"VARIANCE_FACTOR": f"{forward.factor:.6g} {forward.fitted}"}
    layers = [(file, [Band(f"{what} {name}", unit)]) for file, name in zip(files, forward.names)]
    if settings.infer.member_maps:
        layers.append((dest / f"{path.stem}_members.tif", [Band(f"{what} {name}", unit) for name in forward.draws]))
    tiling = Tiling(settings.infer.window, settings.infer.stride, settings.infer.batch_size)
    seen = False

    def predict(image: np.ndarray) -> np.ndarray:
        nonlocal seen
        if not seen:
            forward.check_values(image, path)
            seen = True
        return forward(image)

    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(path))
        mask = RowMask(reader.info.grid, settings.infer.mask, str(path))
        writer = stack.enter_context(BandFiles(layers, reader.info.grid, tags))
        bar = stack.enter_context(progress_bar(path.name, None, "windows", settings.runtime.quiet))
        predict_raster(
            reader,
            writer,
            predict,
            tiling,
            numbers,
            outputs=forward.outputs,
            finish=lambda rows: mask.hide(forward.finish(rows)),
            progress=lambda done, total: bar.update(done, f"of {total}"),
        )
    if settings.infer.picture:
        files.append(draw_map(files, forward.names, unit, dest / f"{path.stem}.png"))
    return files + [layer[0] for layer in layers[len(forward.names) :]]


class BandFiles:
    """A writer like ``CogWriter`` that shares the bands among files: one map, one layer in QGIS."""

    def __init__(self, layers: list[tuple[Path, list[Band]]], grid: Grid, tags: dict[str, str]):
        self.grid, self.bands = grid, [band for _, bands in layers for band in bands]
        self._writers = [CogWriter(file, grid, bands, tags=tags) for file, bands in layers]

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
        """Add rows (bands, n, width), each file its bands."""
        first = 0
        for writer in self._writers:
            count = len(writer.bands)
            writer.write_rows(row, values[first : first + count])
            first += count


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
