"""What a run predicts at the labels of a split, and how that is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import apply
from eozoo_core.task.evaluate import Evaluation, combined
from eozoo_core.task.predict import open_draws
from eozoo_core.task.scores import RegressionScores

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task.contract import Contract

    from eozoo_gedi_sparse.data import Patches


class LabelScores(RegressionScores):
    """Scores of "mean" and "std" over labelled pixels, in the order of the report."""

    KEPT = ("n", "rmse", "mae", "bias", "r2", "relative_rmse_percent", "gaussian_nll", "laplace_nll")


@dataclass(frozen=True)
class Labels:
    """Predictions at all labels of a split, in the order of patches and within them of rows; unit and unit^2.

    targets (n,); means, variances (draws, n), as every draw predicted them; mean, aleatoric, epistemic (n,) float64, of
    all together; patch (n,) number of the patch; x, y (n,) where the pixel lies, NaN = not known. variances and
    aleatoric None: the loss trains no variance; epistemic None: one draw.
    """

    targets: np.ndarray
    means: np.ndarray
    variances: np.ndarray | None
    mean: np.ndarray
    aleatoric: np.ndarray | None
    epistemic: np.ndarray | None
    patch: np.ndarray
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


def collect(task: Contract, run: Run, data: Patches) -> tuple[Evaluation, Labels]:
    """Score all predictors of ``run`` over ``data``, and keep what is predicted where there is a label.

    Raises ZooError where there is none.
    """
    draws = open_draws(task, run, "eval")
    evaluation, patches = Evaluation(task, draws.systems, draws.survey), []
    ports = next(iter(draws.systems.values())).outputs
    for i in range(len(data)):
        batch = data.items([i])
        found = evaluation.add(batch, draws.device)
        together, target = combined(found, ports), batch["target"][0, 0]
        row, col = np.nonzero(np.isfinite(target))

        def at(values: Any, row: np.ndarray = row, col: np.ndarray = col) -> np.ndarray | None:
            return None if values is None else values[0].cpu().numpy()[row, col]

        transform = data.grid(i).transform
        place = (np.full(len(row), np.nan),) * 2 if transform is None else apply(transform, col + 0.5, row + 0.5)
        spread = [at(one["std"]).astype(np.float64) ** 2 for one in found if "std" in one]
        columns = [target[row, col], np.stack([at(one["mean"]) for one in found]), np.stack(spread) if spread else None]
        columns += [at(together.get(name)) for name in ("mean", "mean.aleatoric", "mean.epistemic")]
        patches.append([*columns, np.full(len(row), i), *place])
    joined = [None if parts[0] is None else np.concatenate(parts, axis=-1) for parts in zip(*patches, strict=True)]
    if not joined[0].size:
        raise ZooError(f"{data.pair(0).label.parent}: no label where the input has data; nothing can be scored")
    return evaluation, Labels(*joined)
