"""What an evaluation of labels leaves in ``eval_SPLIT/``: numbers, pictures, and one page that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.score.calibration_plots import draw_calibration, draw_most_certain, draw_residuals
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.report import Picture, Table, Text, score_table, write_report
from eozoo_core.task.evaluate import survey_of
from eozoo_core.task.labels import evaluate_labels

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract, Scores
    from eozoo_core.task.label_loss import LabelLoss
    from eozoo_core.task.labels import Evaluated


def report_labels(task: Contract, run: Run, split: str, loss: LabelLoss) -> Scores:
    """Score all predictors of ``run`` over the labels of ``split``, and write what `write_label_report` writes.

    ``loss``: what the network was trained with, which says what distribution it predicts.
    """
    found = evaluate_labels(task, run, split, "laplace" if loss.scale_power == 1 else "gaussian")
    write_label_report(run, split, found, task.ports(survey_of(task, run)).outputs[0].unit, task.data(split).what)
    return found.scores


def write_label_report(
    run: Run, split: str, found: Evaluated, unit: str, what: str, limits: tuple[float, float] | None = None
) -> None:
    """Write strata.json, uncertainty.json, confusion.png, report.html and, where there is a deviation, its pictures.

    ``what``: the word for samples. ``limits``: of the scatter's axes, in ``unit``; None = by the data.
    """
    folder, labels, judged = run.path / f"eval_{split}", found.labels, found.judged
    run.write_json(f"eval_{split}/strata.json", found.strata)
    run.write_json(f"eval_{split}/uncertainty.json", judged)
    draws, count = len(labels.means), len(np.unique(labels.sample))
    how = f"{draws} draws combined" if draws > 1 else "one network"
    text = f"{len(labels.targets):,} labels in {count} {what}; {how}; unit {unit}. bias = mean(prediction - target)."
    intervals = Text(_interval_text(judged["intervals_95"], unit, what))
    sections: dict[str, list[Any]] = {"Scores": [Text(text), score_table(found.scores), intervals]}
    if found.strata.get("model"):
        sections["By stratum of the target"] = [_stratum_table(found.strata["model"], unit)]
    if judged["model"] is not None:
        sections["Uncertainty"] = [Text(_scale_text(judged)), _coverage_table(judged)]
    density_scatter(
        labels.targets, labels.mean, folder / "confusion.png", unit, f"{run.path.name}, {split} split", limits
    )
    sections["Pictures"] = [
        Picture(folder / "confusion.png", "Predictions over targets. On the line: right."),
        *_pictures(folder, found, unit, what),
    ]
    write_report(folder / "report.html", f"{run.path.name}: {split} split", sections)


def _pictures(folder: Path, found: Evaluated, unit: str, what: str) -> list[Picture]:
    labels, judged, captions = found.labels, found.judged, {}
    if judged["model"] is not None:
        draw_calibration(judged["model"], judged["scaled"], unit, folder / "calibration.png")
        draw_most_certain(judged["model"], unit, folder / "most_certain.png")
        captions = {
            "calibration": "Left: does the error grow as predicted? Right: do the intervals hold what they promise?",
            "most_certain": "RMSE of the most certain pixels: falling to the left means that the uncertainty tells "
            "good from bad.",
        }
    if np.isfinite(labels.x).any():
        draw_residuals(labels.x, labels.y, labels.error, unit, folder / "residuals.png")
        text = f"Prediction - target in space. {what.capitalize()} of one colour are errors that neighbours share."
        captions["residuals"] = text
    return [Picture(folder / f"{name}.png", caption) for name, caption in captions.items()]


def _interval_text(intervals: dict[str, list[float]] | None, unit: str, what: str) -> str:
    if intervals is None:
        return f"No intervals: fewer than 6 {what} hold labels, too few places to resample."
    parts = [f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in intervals.items()]
    return f"95 % intervals, whole {what} resampled: {'; '.join(parts)} ({unit}, coverage as a share)."


def _stratum_table(rows: list[dict[str, Any]], unit: str) -> Table:
    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}"

    cells = [
        [f"{r['from']:g} to {r['to']:g}" if r["to"] is not None else f"{r['from']:g} and more", r["n"]]
        + [text(r[key]) for key in ("rmse", "mae", "bias")]
        for r in rows
    ]
    return Table([f"target, {unit}", "labels", "RMSE", "MAE", "bias"], cells)


def _scale_text(judged: dict[str, Any]) -> str:
    found, scaled, fitted = judged["model"], judged["scaled"], judged["variance_scale"]
    text = (
        f"CRPS {found['crps']:.4g}. Sharpness: mean predicted standard deviation {found['mean_std']:.4g}. "
        f"Mean squared error / std: {found['mean_squared_z']:.3g} (1 = calibrated, above = too sure)."
    )
    if scaled is None:
        why = "too few validation labels" if fitted else "training has not ended"
        return f"{text} No variance factor was fitted: {why}."
    return (
        f"{text} Post-hoc factor of all variances, fitted on {fitted['labels']} validation labels: "
        f"{fitted['factor']:.3g}; with it, CRPS {scaled['crps']:.4g} and mean squared error / std "
        f"{scaled['mean_squared_z']:.3g}."
    )


def _coverage_table(judged: dict[str, Any]) -> Table:
    both, rows = [judged["model"], judged["scaled"]], []
    for i, entry in enumerate(judged["model"]["coverage"]):
        observed = [f"{found['coverage'][i]['observed']:.1%}" if found else "" for found in both]
        rows.append([f"{entry['expected']:.1%}", *observed])
    return Table(["expected share inside", "observed", "observed, variances scaled"], rows)
