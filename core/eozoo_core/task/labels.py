"""What a run predicts wherever a split has a label: scores of all predictors, and how true the uncertainty is.

For tasks that predict a mean and, where they can, its deviation. Labels are kept in memory, at most ``MOST``: of more
every second, fourth ... is kept for pictures and for what is said of the uncertainty. Scores are of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import apply
from eozoo_core.score.calibration import clustered_intervals, judge
from eozoo_core.task.contract import Contract, Scores
from eozoo_core.task.evaluate import Evaluation, combined
from eozoo_core.task.predict import load_fitted, open_draws
from eozoo_core.task.scores import RegressionScores
from eozoo_core.task.spread import ALEATORIC, EPISTEMIC

if TYPE_CHECKING:
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.run.directory import Run
    from eozoo_core.task.data import Data
    from eozoo_core.task.survey import Fitted

MOST = 4_000_000


@dataclass(frozen=True)
class Labels:
    """Predictions at all labels of a split, in the order of samples and within them of rows; unit and unit^2.

    targets (n,); means, variances (draws, n), as every draw predicted them; mean, aleatoric, epistemic (n,) float64, of
    all together; sample (n,) its number; x, y (n,) where the pixel lies, NaN = not known. variances and aleatoric None:
    no output is a deviation; epistemic None: one draw.
    """

    targets: np.ndarray
    means: np.ndarray
    variances: np.ndarray | None
    mean: np.ndarray
    aleatoric: np.ndarray | None
    epistemic: np.ndarray | None
    sample: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Prediction - target."""
        return self.mean - self.targets

    @property
    def total(self) -> np.ndarray | None:
        """Variance of the prediction as predicted, not scaled."""
        if self.aleatoric is None:
            return None
        return self.aleatoric if self.epistemic is None else self.aleatoric + self.epistemic

    def judge(self, fitted: Fitted, kind: str) -> dict[str, dict[str, Any] | None]:
        """Return what ``calibration.judge`` says of the model as it is and with variances scaled, and its intervals.

        ``kind``: gaussian or laplace. None where there is no deviation, nothing was fitted, or samples are too few.
        """
        scale = {"factor": fitted.variance_factor, "labels": fitted.labels, "split": "val"} if fitted.labels else None
        std, model, scaled = None if self.total is None else np.sqrt(self.total), None, None
        if std is not None:
            model = judge(self.error, std, kind)
            if fitted.variance_factor is not None:
                scaled = judge(self.error, std * fitted.variance_factor**0.5, kind)
        intervals = clustered_intervals(self.error, std, self.sample, kind)
        return {"model": model, "scaled": scaled, "variance_scale": scale, "intervals_95": intervals}


@dataclass(frozen=True)
class Evaluated:
    """Predictions at labels, what ``Labels.judge`` says of them, and by predictor its scores and those by stratum."""

    labels: Labels
    judged: dict[str, Any]
    scores: Scores
    strata: dict[str, list[dict[str, Any]]]


def evaluate_labels(task: Contract, run: Run, split: str, kind: str = "gaussian") -> Evaluated:
    """Score all predictors of ``run`` on ``split``; ``kind``: the distribution that a single draw predicts.

    The scores of the model also hold crps, mean_std and coverage_90 where a deviation is predicted.
    """
    evaluation, labels = collect(task, run, task.data(split))
    scores = evaluation.compute()
    judged = labels.judge(load_fitted(run, task), kind if len(labels.means) == 1 else "gaussian")
    if (found := judged["model"]) is not None:
        ninety = next(c["observed"] for c in found["coverage"] if c["expected"] == 0.9)
        scores["model"] |= {"crps": found["crps"], "mean_std": found["mean_std"], "coverage_90": ninety}
    known = {name: metrics for name, metrics in evaluation.metrics.items() if isinstance(metrics, RegressionScores)}
    return Evaluated(labels, judged, scores, {name: metrics.strata() for name, metrics in known.items()})


def collect(task: Contract, run: Run, data: Data) -> tuple[Evaluation, Labels]:
    """Score all predictors of ``run`` over ``data``, and keep what is predicted where there is a label.

    Of several outputs the first that is a mean. Raises ZooError where there is no label.
    """
    draws, kept = open_draws(task, run, "eval"), 1
    evaluation, samples = Evaluation(task, draws.systems, draws.survey, run=run), []
    ports = next(iter(draws.systems.values())).outputs
    role = next(port.role for port in ports if port.spread == "moments")
    std = next((port.role for port in ports if port.spread == "deviation" and port.of == role), "")
    for i in range(len(data)):
        batch = data.items([i])
        found = evaluation.add(batch, draws.device)
        together, target = combined(found, ports), batch["target"].ravel()
        where = np.flatnonzero(np.isfinite(target))

        def at(values: Any, where: np.ndarray = where) -> np.ndarray | None:
            return None if values is None else values.cpu().numpy().ravel()[where]

        spread = [at(one[std]).astype(np.float64) ** 2 for one in found] if std else []
        columns = [target[where], np.stack([at(one[role]) for one in found]), np.stack(spread) if spread else None]
        columns += [at(together.get(name)) for name in (role, f"{role}.{ALEATORIC}", f"{role}.{EPISTEMIC}")]
        columns += [np.full(len(where), i), *_places(data.grid(i), where)]
        samples.append(_thinned(columns, kept))
        while sum(len(one[0]) for one in samples) > MOST:
            kept, samples = 2 * kept, [_thinned(one, 2) for one in samples]
    joined = [None if parts[0] is None else np.concatenate(parts, axis=-1) for parts in zip(*samples, strict=True)]
    if not joined[0].size:
        raise ZooError(
            f"{data.name(0)}: no {data.what} here has a label where the input has data; nothing can be scored"
        )
    return evaluation, Labels(*joined)


def _thinned(columns: list[np.ndarray | None], step: int) -> list[np.ndarray | None]:
    """Keep every ``step``-th label, along the last axis."""
    return columns if step == 1 else [None if c is None else c[..., ::step].copy() for c in columns]


def _places(grid: Grid | None, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of the centres of pixels ``where`` (n,) of a raster, NaN where nobody knows them."""
    if grid is None or grid.transform is None:
        return np.full(len(where), np.nan), np.full(len(where), np.nan)
    row, col = np.divmod(where, grid.width)
    return apply(grid.transform, col + 0.5, row + 0.5)
