"""The verb evaluate: scores of the model and of what one would say without it, tables, pictures, one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.run.parsed import read_text
from eozoo_core.run.progress import print_message, progress_bar
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.report import Picture, Table, Text, write_report
from eozoo_core.task.beside import files_beside
from eozoo_core.task.data import in_groups, tensors
from eozoo_core.task.evaluate import kept_of
from eozoo_core.task.predict import open_draws
from eozoo_core.task.references import kept_baselines

from eozoo_clay_ta.encoder import encoder_label
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.map_scores import compare_maps
from eozoo_clay_ta.maps import static_of
from eozoo_clay_ta.pictures import station_picture
from eozoo_clay_ta.prepare.index import OBSERVATIONS
from eozoo_clay_ta.scores import add_skill, score
from eozoo_clay_ta.static import class_name

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Scores
    from eozoo_core.task.contract import Contract
    from eozoo_core.task.predict import Draws

    from eozoo_clay_ta.data import Samples
    from eozoo_clay_ta.settings import ClaySettings
    from eozoo_clay_ta.survey import ClaySurvey


def evaluate(task: Contract, run: Run, split: str) -> Scores:
    """Score best.pt on the chunks of ``split``; files go to ``run.path / eval_SPLIT``.

    "model" is the mean of all draws; where there are several, each follows by its name.
    """
    draws, data = open_draws(task, run, "eval"), task.data(split)
    norm, settings = draws.survey.normalisation(), task.settings
    each, labels = predict_all(draws, kept_of(run, draws, data), settings.runtime.quiet), data.labels(norm)
    z_scores = {"model": np.mean(list(each.values()), axis=0)} | (each if len(each) > 1 else {})
    truth = labels * norm.ta_std + norm.ta_mean
    predicted = {name: z * norm.ta_std + norm.ta_mean for name, z in z_scores.items()}
    in_degrees = "time7" not in data.item(0)
    predicted |= references(draws.survey, settings, data)
    for name, baseline in kept_baselines(task, run, draws.survey).items():
        said = [baseline(data.items(group))["ta"] for group in in_groups(data, range(len(data)))]
        scale, zero = (1, 0) if in_degrees else (norm.ta_std, norm.ta_mean)
        predicted[name] = np.concatenate(said).astype(np.float64) * scale + zero
    scores = {name: score(values, truth, norm.ta_std) for name, values in predicted.items()}
    loss = task.loss(draws.survey)
    for name, z in z_scores.items():
        total, count = loss.of(torch.from_numpy(z), torch.from_numpy(labels))["loss"]
        scores[name] |= {"loss": float(total) / int(count)}
    add_skill(scores, predicted, truth)
    maps = compare_maps(settings, split)
    if maps:
        scores["maps"] = maps
    land = _land(draws.folder, KoGrid(**settings.data.grid.model_dump()))
    _write(task, run, data, predicted["model"], truth, scores, split, land)
    return scores


def _land(folder: Path, grid: KoGrid) -> np.ndarray:
    """The land mask that a run keeps; without one (samples of another plugin) all is land, and no coast is drawn."""
    if not any(file.name.startswith("static_") for file in files_beside(folder)):
        return np.ones((grid.height, grid.width))
    return np.nan_to_num(static_of(folder, 0, grid).lsmask)


def predict_all(draws: Draws, data: Samples, quiet: bool) -> dict[str, np.ndarray]:
    """Return draw -> z-scores ``(N,)`` float64 of all samples."""
    found = {name: np.empty(len(data)) for name in draws.systems}
    with torch.inference_mode(), progress_bar("evaluate", len(data), "samples", quiet) as bar:
        for part in in_groups(data, range(len(data))):
            batch = tensors(data.items(part), draws.device)
            for name, system in draws.systems.items():
                found[name][part.start : part.stop] = system.predict(batch)["z"].double().cpu().numpy()
            bar.update(part.stop)
    return found


def references(survey: ClaySurvey, settings: ClaySettings, data: Samples) -> dict[str, np.ndarray]:
    """Return what stands beside the model, degC ``(N,)``, NaN where it has nothing to say.

    mean: of training; climatology: harmonics fitted on training; persistence: the station 24 hours earlier, from the
    observations beside the index (left out, with a line that says so, where they are not there).
    """
    meta = data.meta()
    found = {"mean": np.full(len(data), survey.label.mean), "climatology": survey.climatology.fit()(meta)}
    file = Path(settings.runtime.index_dir) / OBSERVATIONS
    if not file.exists():
        print_message(f"no persistence: {file} is not there (runtime.index_dir)")
        return found
    found["persistence"] = persistence(read_observations(file), meta)
    return found


def read_observations(file: Path) -> dict[tuple[np.datetime64, int], float]:
    """Return (time, station) -> degC. Raises ZooError where a line cannot be read."""
    known = {}
    for number, line in enumerate(read_text(file).splitlines()[1:], 2):
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


def strata(data: Samples, base: int) -> dict[str, np.ndarray]:
    """Return what the tables are made by: an array of labels ``(N,)`` for station, hour, month and land cover."""
    meta = data.meta()
    return {
        "station": np.array([f"{m[1]}" for m in meta]),
        "hour (UTC)": np.array([m[0][11:13] for m in meta]),
        "month": np.array([m[0][5:7] for m in meta]),
        "land cover": np.array([class_name(int(c), base) for c in data.classes()]),
    }


def _write(
    task: Contract,
    run: Run,
    data: Samples,
    values: np.ndarray,
    truth: np.ndarray,
    scores: Scores,
    split: str,
    land: np.ndarray,
) -> None:
    folder, label = run.path / f"eval_{split}", encoder_label(run, task.settings)
    ta_std = scores["model"]["rmse_K"] / max(scores["model"]["rmse_norm"], 1e-12)
    base = task.settings.data.landcover_base
    tables = {
        by: {v: score(values[names == v], truth[names == v], ta_std) for v in np.unique(names).tolist()}
        for by, names in strata(data, base).items()
    }
    run.write_json(f"eval_{split}/tables.json", {"encoder": label, "scores": scores, "tables": tables})
    density_scatter(truth, values, folder / "scatter.png", "degC", f"{split}: {label}")
    picture = _error_map(land, data, values - truth, folder / "bias_map.png", f"{split}: {label}")
    sections = {
        "Scores": [Text(f"Encoder: {label}.", note=True), _score_table(scores)],
        "Predictions against stations": [Picture(folder / "scatter.png", "each sample of the split")],
        "Where": [Picture(picture, "mean error of each station")],
    }
    sections |= {f"By {by}": [_stratum_table(by, rows)] for by, rows in tables.items()}
    title = f"{run.task}: {split} split of {run.path.name}"
    write_report(folder / "report.html", title, sections)


def _error_map(land: np.ndarray, data: Samples, error: np.ndarray, path: Path, title: str) -> Path:
    places = np.array([m[1:] for m in data.meta()])
    places, which = np.unique(places, axis=0, return_inverse=True)
    which = which.ravel()
    bias = np.bincount(which, error) / np.bincount(which)
    return station_picture(land, places[:, 1], places[:, 2], bias, path, title)


def _score_table(scores: Scores) -> Table:
    metrics = list(dict.fromkeys(m for values in scores.values() for m in values))
    rows = [[m, *(f"{v[m]:.4g}" if m in v else "" for v in scores.values())] for m in metrics]
    return Table(["", *scores], rows)


def _stratum_table(by: str, rows: dict[str, dict[str, float]]) -> Table:
    columns = ("n", "rmse_K", "mae_K", "bias_K", "r2")
    cells = [[name, *(f"{v[c]:.4g}" if c in v else "" for c in columns)] for name, v in rows.items()]
    return Table([by, *columns], cells)
