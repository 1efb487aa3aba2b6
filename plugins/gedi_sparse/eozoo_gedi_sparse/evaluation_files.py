"""What evaluation leaves in ``eval_SPLIT/``: the document's files, pictures, and one page that a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.run.checkpoint import write_atomic
from eozoo_core.score.calibration_plots import draw_calibration, draw_most_certain, draw_residuals
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.report import Picture, Table, Text, score_table, write_report

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Scores

    from eozoo_gedi_sparse.labels import Labels
    from eozoo_gedi_sparse.settings import GediSettings

Judged = dict[str, Any]  # see `evaluation.judge_all`


def write_files(
    run: Run,
    settings: GediSettings,
    split: str,
    labels: Labels,
    judged: Judged,
    results: Scores,
    strata: dict[str, list[dict]],
) -> None:
    """Write everything; ``results`` and ``strata`` by predictor."""
    folder = run.path / f"eval_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    _write_arrays(folder, labels)
    run.write_json(f"eval_{split}/{split}_results.json", documented_names(results["model"]))
    run.write_text(f"eval_{split}/results.txt", _results_text(results, settings.data.unit))
    run.write_json(f"eval_{split}/strata.json", strata)
    run.write_json(f"eval_{split}/uncertainty.json", judged)
    unit, draws = settings.data.unit, len(labels.means)
    what = f"{draws} draws combined" if draws > 1 else "one network"
    count = f"{len(labels.targets):,} labels in {len(np.unique(labels.patch))} patches"
    sections: dict[str, list[Any]] = {
        "Scores": [
            Text(f"{count}; {what}; unit {unit}. bias = mean(prediction - target)."),
            score_table(results),
            Text(_interval_text(judged["intervals_95"], unit)),
        ],
        "By stratum of the target": [_stratum_table(strata["model"], unit)],
    }
    if judged["model"] is not None:
        sections["Uncertainty"] = [Text(_scale_text(judged)), _coverage_table(judged)]
    sections["Pictures"] = _draw(folder, f"{run.path.name}, {split} split", settings, labels, judged)
    write_report(folder / "report.html", f"{run.path.name}: {split} split", sections)


def documented_names(scores: dict[str, float]) -> dict[str, float]:
    """The document's names of metrics beside ours."""
    theirs = {
        "RMSE": "rmse",
        "MAE": "mae",
        "ME": "bias",
        "gaussian_nll": "gaussian_nll",
        "laplacian_nll": "laplace_nll",
    }
    named = {name: scores[key] for name, key in theirs.items() if key in scores}
    return {"MSE": scores["rmse"] ** 2, **named, **{k: v for k, v in scores.items() if k not in theirs.values()}}


def _write_arrays(folder: Path, labels: Labels) -> None:
    arrays = {"predictions": labels.mean, "targets": labels.targets, "variances": labels.total}
    if labels.epistemic is not None:
        arrays |= {"pred_means": labels.means, "pred_var": labels.variances, "epistemic_std": labels.epistemic**0.5}
        if labels.aleatoric is not None:
            arrays |= {"aleatoric_std": labels.aleatoric**0.5, "predictive_std": labels.total**0.5}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items() if values is not None}
    for name, values in {**arrays, "patch": labels.patch, "x": labels.x, "y": labels.y}.items():
        write_atomic(folder / f"{name}.npy", lambda file, values=values: np.save(file, values))


def _draw(folder: Path, title: str, settings: GediSettings, labels: Labels, judged: Judged) -> list[Picture]:
    unit = settings.data.unit
    limits = (0.0, settings.eval.scatter_max) if settings.eval.scatter_max else None
    density_scatter(labels.targets, labels.mean, folder / "confusion.png", unit, title, limits)
    captions = {"confusion": "Predictions over targets. On the line: right."}
    if judged["model"] is not None:
        draw_calibration(judged["model"], judged["scaled"], unit, folder / "calibration.png")
        draw_most_certain(judged["model"], unit, folder / "most_certain.png")
        captions |= {
            "calibration": "Left: does the error grow as predicted? Right: do the intervals hold what they promise?",
            "most_certain": "RMSE of the most certain pixels: falling to the left means that the uncertainty tells "
            "good from bad.",
        }
    if np.isfinite(labels.x).any():
        draw_residuals(labels.x, labels.y, labels.error, unit, folder / "residuals.png")
        captions["residuals"] = "Prediction - target in space. Patches of one colour are errors that neighbours share."
    return [Picture(folder / f"{name}.png", caption) for name, caption in captions.items()]


def _interval_text(intervals: dict[str, list[float]] | None, unit: str) -> str:
    if intervals is None:
        return "No intervals: fewer than 6 patches hold labels, too few places to resample."
    parts = [f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in intervals.items()]
    return f"95 % intervals, whole patches resampled: {'; '.join(parts)} ({unit}, coverage as a share)."


def _stratum_table(rows: list[dict], unit: str) -> Table:
    def text(value: Any) -> str:
        return "" if value is None else f"{value:.4g}"

    cells = [
        [f"{r['from']:g} to {r['to']:g}" if r["to"] is not None else f"{r['from']:g} and more", r["n"]]
        + [text(r[key]) for key in ("rmse", "mae", "bias")]
        for r in rows
    ]
    return Table([f"target, {unit}", "labels", "RMSE", "MAE", "bias"], cells)


def _scale_text(judged: Judged) -> str:
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


def _coverage_table(judged: Judged) -> Table:
    both, rows = [judged["model"], judged["scaled"]], []
    for i, entry in enumerate(judged["model"]["coverage"]):
        observed = [f"{found['coverage'][i]['observed']:.1%}" if found else "" for found in both]
        rows.append([f"{entry['expected']:.1%}", *observed])
    return Table(["expected share inside", "observed", "observed, variances scaled"], rows)


def _results_text(results: Scores, unit: str) -> str:
    lines = [f"unit {unit}"]
    for name, values in results.items():
        lines += ["", name, *(f"  {metric:24s} {value:.6g}" for metric, value in values.items())]
    return "\n".join(lines) + "\n"
