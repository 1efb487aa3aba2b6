"""The verb evaluate: scores of the model and of what one would say without it, tables, pictures, one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.score.metrics import RegressionMetrics
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.report import Picture, Table, Text, write_report

from eozoo_clay_ta.chunks import PatchStore
from eozoo_clay_ta.climatology import Climatology
from eozoo_clay_ta.encoder_weights import encoder_label
from eozoo_clay_ta.map_scores import compare_maps
from eozoo_clay_ta.parts import loss_sums, make_loss
from eozoo_clay_ta.pictures import station_picture
from eozoo_clay_ta.prepare.index import OBSERVATIONS
from eozoo_clay_ta.sample_schema import read_json
from eozoo_clay_ta.static import class_name
from eozoo_clay_ta.training import EVALUATION_BATCH, load_model

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry, Scores

    from eozoo_clay_ta.model import TaModel
    from eozoo_clay_ta.settings import ClaySettings

REFERENCES = ("climatology", "persistence")


def evaluate(run: Run, settings: ClaySettings, split: str, registry: Registry | None = None) -> Scores:
    """Score best.pt on the chunks of ``split``; files go to ``run.path / eval_SPLIT``."""
    store = PatchStore(Path(settings.runtime.data_dir), split)
    model = load_model(run, settings, "eval", registry)
    norm = model.normalisation()
    z_scores, labels = predict_all(model, store, settings)
    loss, count = loss_sums(make_loss(settings.model.loss, registry), z_scores, labels)
    truth = labels * norm.ta_std + norm.ta_mean
    predicted = {"model": z_scores * norm.ta_std + norm.ta_mean} | references(run, settings, store, norm.ta_mean)
    scores = {name: score(values, truth, norm.ta_std) for name, values in predicted.items()}
    scores["model"] |= {"loss": float(loss) / int(count)}
    add_skill(scores, predicted, truth)
    maps = compare_maps(run, settings, split)
    if maps:
        scores["maps"] = maps
    _write(run, settings, store, predicted, truth, scores, split)
    return scores


def predict_all(model: TaModel, store: PatchStore, settings: ClaySettings) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true z-scores ``(N,)`` float64 of all samples, on the device of the settings."""
    import torch
    from eozoo_core.run.progress import progress_bar
    from eozoo_core.train.launch import resolve_device, set_threads

    set_threads(settings.runtime)
    device = resolve_device(settings.runtime.device)
    model.to(device)
    z_scores = np.empty(len(store))
    labels = np.empty(len(store))
    with torch.inference_mode(), progress_bar("evaluate", len(store), "samples", settings.runtime.quiet) as bar:
        for start in range(0, len(store), EVALUATION_BATCH):
            part = np.arange(start, min(start + EVALUATION_BATCH, len(store)))
            batch = store.batch(part)
            labels[part] = batch.pop("y").double().numpy()
            z_scores[part] = model({k: v.to(device) for k, v in batch.items()}).double().cpu().numpy()
            bar.update(part[-1] + 1)
    return z_scores, labels


def references(run: Run, settings: ClaySettings, store: PatchStore, ta_mean: float) -> dict[str, np.ndarray]:
    """Return what stands beside the model, degC ``(N,)``, NaN where it has nothing to say.

    mean: of training; climatology: harmonics fitted on training; persistence: the station 24 hours earlier, from the
    observations beside the index (left out, with a line that says so, where they are not there).
    """
    meta = store.meta()
    found = {"mean": np.full(len(store), ta_mean)}
    found["climatology"] = Climatology.from_state(read_json(run.path / "climatology.json"))(meta)
    file = Path(settings.runtime.index_dir) / OBSERVATIONS
    if not file.exists():
        print_message(f"no persistence: {file} is not there (runtime.index_dir)")
        return found
    found["persistence"] = persistence(read_observations(file), meta)
    return found


def read_observations(file: Path) -> dict[tuple[np.datetime64, int], float]:
    """Return (time, station) -> degC. Raises ZooError where a line cannot be read."""
    known = {}
    for number, line in enumerate(file.read_text().splitlines()[1:], 2):
        try:
            time, stn, ta = line.split(",")
            known[np.datetime64(time, "m"), int(stn)] = float(ta)
        except ValueError:
            raise ZooError(
                f"{file} line {number}: expected time, station and temperature, found {line[:60]!r}"
            ) from None
    return known


def persistence(known: dict[tuple[np.datetime64, int], float], meta: list[tuple]) -> np.ndarray:
    """Return the temperature of the same station 24 hours earlier ``(N,)``, NaN where it was not measured."""
    day = np.timedelta64(24, "h")
    return np.array([known.get((np.datetime64(m[0], "m") - day, m[1]), np.nan) for m in meta])


def score(predicted: np.ndarray, truth: np.ndarray, ta_std: float) -> dict[str, float]:
    """Return rmse_K, mse, mae, bias (prediction - truth), all in K, r2, and rmse_norm = rmse_K / TA_std; over n."""
    metrics = RegressionMetrics()
    metrics.update(predicted, truth)
    found = metrics.compute()
    if not found["n"]:
        return {"n": 0.0}
    values = {"rmse_K": found["rmse"], "rmse_norm": found["rmse"] / ta_std, "mse_K2": found["rmse"] ** 2}
    values |= {"mae_K": found["mae"], "bias_K": found["bias"], "r2": found["r2"], "n": float(found["n"])}
    return {name: value for name, value in values.items() if value is not None}


def add_skill(scores: Scores, predicted: dict[str, np.ndarray], truth: np.ndarray) -> None:
    """Add 1 - MSE / MSE of each reference to the model's scores, over the samples that both have."""
    for name in REFERENCES:
        if name not in predicted:
            continue
        both = np.isfinite(predicted[name])
        of_reference = np.mean((predicted[name][both] - truth[both]) ** 2) if both.any() else 0.0
        if of_reference > 0:
            of_model = np.mean((predicted["model"][both] - truth[both]) ** 2)
            scores["model"][f"skill_{name}"] = float(1 - of_model / of_reference)


def strata(store: PatchStore, base: int) -> dict[str, np.ndarray]:
    """Return what the tables are made by: an array of labels ``(N,)`` for station, hour, month and land cover."""
    meta = store.meta()
    classes = np.concatenate([c.tensors["landcover_onehot"].numpy().argmax(axis=1) for c in store.chunks])
    return {
        "station": np.array([f"{m[1]}" for m in meta]),
        "hour (UTC)": np.array([m[0][11:13] for m in meta]),
        "month": np.array([m[0][5:7] for m in meta]),
        "land cover": np.array([class_name(int(c), base) for c in classes]),
    }


def _write(
    run: Run,
    settings: ClaySettings,
    store: PatchStore,
    predicted: dict[str, np.ndarray],
    truth: np.ndarray,
    scores: Scores,
    split: str,
) -> None:
    folder, label = run.path / f"eval_{split}", encoder_label(run)
    folder.mkdir(parents=True, exist_ok=True)
    values = predicted["model"]
    ta_std = scores["model"]["rmse_K"] / max(scores["model"]["rmse_norm"], 1e-12)
    base = settings.data.landcover_base
    tables = {
        by: {v: score(values[names == v], truth[names == v], ta_std) for v in np.unique(names).tolist()}
        for by, names in strata(store, base).items()
    }
    run.write_json(f"eval_{split}/tables.json", {"encoder": label, "scores": scores, "tables": tables})
    density_scatter(truth, values, folder / "scatter.png", "degC", f"{split}: {label}")
    picture = _error_map(run, store, values - truth, folder / "bias_map.png", f"{split}: {label}")
    sections = {
        "Scores": [Text(f"Encoder: {label}.", note=True), _score_table(scores)],
        "Predictions against stations": [Picture(folder / "scatter.png", "each sample of the split")],
        "Where": [Picture(picture, "mean error of each station")],
    }
    sections |= {f"By {by}": [_stratum_table(by, rows)] for by, rows in tables.items()}
    title = f"{run.task}: {split} split of {run.path.name}"
    write_report(folder / "report.html", title, sections)


def _error_map(run: Run, store: PatchStore, error: np.ndarray, path: Path, title: str) -> Path:
    from eozoo_core.raster.read import RasterReader
    from eozoo_core.raster.tiles import Window

    places = np.array([m[1:] for m in store.meta()])
    places, which = np.unique(places, axis=0, return_inverse=True)
    which = which.ravel()
    bias = np.bincount(which, error) / np.bincount(which)
    with RasterReader(sorted(run.path.glob("static_????.tif"))[0]) as reader:
        grid = reader.info.grid
        mask = reader.read(Window(0, 0, grid.height, grid.width), reader.info.select(["lsmask"]))[0]
    return station_picture(np.nan_to_num(mask), places[:, 1], places[:, 2], bias, path, title)


def _score_table(scores: Scores) -> Table:
    metrics = list(dict.fromkeys(m for values in scores.values() for m in values))
    rows = [[m, *(f"{v[m]:.4g}" if m in v else "" for v in scores.values())] for m in metrics]
    return Table(["", *scores], rows)


def _stratum_table(by: str, rows: dict[str, dict[str, float]]) -> Table:
    columns = ("n", "rmse_K", "mae_K", "bias_K", "r2")
    cells = [[name, *(f"{v[c]:.4g}" if c in v else "" for c in columns)] for name, v in rows.items()]
    return Table([by, *columns], cells)
