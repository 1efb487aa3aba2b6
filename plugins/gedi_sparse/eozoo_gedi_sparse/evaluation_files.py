"""What evaluation leaves in ``eval_SPLIT/``: the document's files, pictures, and one page that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.run.checkpoint import write_atomic
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.report import Picture, Table, Text, write_report

from eozoo_gedi_sparse.calibration import Collected
from eozoo_gedi_sparse.diagnostics import draw_calibration, draw_most_certain, draw_residuals

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_gedi_sparse.settings import GediSettings


@dataclass(frozen=True)
class Judged:
    """The model's predictions at the labels (n,), variances in unit^2, and what ``calibration.judge`` says of them.

    aleatoric None: the loss trains no variance; epistemic None: one draw. ``scaled``: with variances scaled.
    """

    mean: np.ndarray
    aleatoric: np.ndarray | None
    epistemic: np.ndarray | None
    uncertainty: dict[str, Any] | None
    scaled: dict[str, Any] | None
    variance_scale: dict[str, Any] | None
    intervals: dict[str, list[float]] | None

    @property
    def total(self) -> np.ndarray | None:
        """Variance of the prediction, unit^2, as predicted (not scaled)."""
        if self.aleatoric is None:
            return None
        return self.aleatoric if self.epistemic is None else self.aleatoric + self.epistemic


def write_files(
    run: Run,
    settings: GediSettings,
    split: str,
    collected: Collected,
    judged: Judged,
    results: dict[str, dict[str, float]],
    strata: dict[str, list[dict]],
) -> None:
    """Write everything; ``results`` and ``strata`` by predictor."""
    folder = run.path / f"eval_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    _write_arrays(folder, collected, judged)
    run.write_json(f"eval_{split}/{split}_results.json", documented_names(results["model"]))
    run.write_text(f"eval_{split}/results.txt", _results_text(results, settings.data.unit))
    run.write_json(f"eval_{split}/strata.json", strata)
    content = {"model": judged.uncertainty, "scaled": judged.scaled, "variance_scale": judged.variance_scale}
    run.write_json(f"eval_{split}/uncertainty.json", content | {"intervals_95": judged.intervals})
    pictures = _draw(folder, run, settings, split, collected, judged)
    sections = _sections(settings, collected, judged, results, strata, pictures)
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


def _write_arrays(folder: Path, collected: Collected, judged: Judged) -> None:
    arrays = {"predictions": judged.mean, "targets": collected.targets, "variances": judged.total}
    if judged.epistemic is not None:
        arrays |= {"pred_means": collected.means, "pred_var": collected.variances}
        arrays |= {"epistemic_std": judged.epistemic**0.5}
        if judged.aleatoric is not None:
            arrays |= {"aleatoric_std": judged.aleatoric**0.5, "predictive_std": judged.total**0.5}
    arrays |= {"patch": collected.patch, "x": collected.x, "y": collected.y}
    for name, values in arrays.items():
        if values is not None:
            kind = values.dtype if name in ("patch", "x", "y") else np.float32
            write_atomic(folder / f"{name}.npy", lambda file, v=values, k=kind: np.save(file, v.astype(k)))


def _draw(
    folder: Path, run: Run, settings: GediSettings, split: str, collected: Collected, judged: Judged
) -> list[Picture]:
    unit, title = settings.data.unit, f"{run.path.name}, {split} split"
    limits = (0.0, settings.eval.scatter_max) if settings.eval.scatter_max else None
    density_scatter(collected.targets, judged.mean, folder / "confusion.png", unit, title, limits)
    pictures = [Picture(folder / "confusion.png", "Predictions over targets. On the line: right.")]
    if judged.uncertainty is not None:
        draw_calibration(judged.uncertainty, judged.scaled, unit, folder / "calibration.png")
        caption = "Left: does the error grow as predicted? Right: do the intervals hold what they promise?"
        pictures.append(Picture(folder / "calibration.png", caption))
        draw_most_certain(judged.uncertainty, unit, folder / "most_certain.png")
        caption = "RMSE of the most certain pixels: falling to the left means that the uncertainty tells good from bad."
        pictures.append(Picture(folder / "most_certain.png", caption))
    if np.isfinite(collected.x).any():
        draw_residuals(collected.x, collected.y, judged.mean - collected.targets, unit, folder / "residuals.png")
        caption = "Prediction - target in space. Patches of one colour are errors that neighbours share."
        pictures.append(Picture(folder / "residuals.png", caption))
    return pictures


def _sections(
    settings: GediSettings,
    collected: Collected,
    judged: Judged,
    results: dict[str, dict[str, float]],
    strata: dict[str, list[dict]],
    pictures: list[Picture],
) -> dict[str, list[Any]]:
    unit, n, patches = settings.data.unit, len(collected.targets), len(np.unique(collected.patch))
    draws = len(collected.means)
    what = f"{draws} draws combined" if draws > 1 else "one network"
    sections: dict[str, list[Any]] = {
        "Scores": [
            Text(f"{n:,} labels in {patches} patches; {what}; unit {unit}. bias = mean(prediction - target)."),
            _score_table(results),
            Text(_interval_text(judged, unit)),
        ],
        "By stratum of the target": [_stratum_table(strata["model"], unit)],
    }
    if judged.uncertainty is not None:
        sections["Uncertainty"] = [Text(_scale_text(judged)), _coverage_table(judged)]
    return sections | {"Pictures": list(pictures)}


def _score_table(results: dict[str, dict[str, float]]) -> Table:
    metrics = list(dict.fromkeys(name for values in results.values() for name in values))
    rows = [[name, *(f"{v[name]:.4g}" if name in v else "" for v in results.values())] for name in metrics]
    return Table(["", *results], rows)


def _interval_text(judged: Judged, unit: str) -> str:
    if judged.intervals is None:
        return "No intervals: fewer than 6 patches hold labels, too few places to resample."
    parts = [f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in judged.intervals.items()]
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
    found, fitted = judged.uncertainty, judged.variance_scale
    text = (
        f"CRPS {found['crps']:.4g}. Sharpness: mean predicted standard deviation {found['mean_std']:.4g}. "
        f"Mean squared error / std: {found['mean_squared_z']:.3g} (1 = calibrated, above = too sure)."
    )
    if judged.scaled is None:
        why = "too few validation labels" if fitted else "training has not ended"
        return f"{text} No variance factor was fitted: {why}."
    return (
        f"{text} Post-hoc factor of all variances, fitted on {fitted['labels']} validation labels: "
        f"{fitted['factor']:.3g}; with it, CRPS {judged.scaled['crps']:.4g} and mean squared error / std "
        f"{judged.scaled['mean_squared_z']:.3g}."
    )


def _coverage_table(judged: Judged) -> Table:
    both = [judged.uncertainty, judged.scaled]
    rows = []
    for i, entry in enumerate(judged.uncertainty["coverage"]):
        observed = [f"{found['coverage'][i]['observed']:.1%}" if found else "" for found in both]
        rows.append([f"{entry['expected']:.1%}", *observed])
    return Table(["expected share inside", "observed", "observed, variances scaled"], rows)


def _results_text(results: dict[str, dict[str, float]], unit: str) -> str:
    lines = [f"unit {unit}"]
    for name, values in results.items():
        lines += ["", name, *(f"  {metric:24s} {value:.6g}" for metric, value in values.items())]
    return "\n".join(lines) + "\n"
