"""Simple predictors of any task: what a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eozoo_core.spec import Port
from eozoo_core.task.survey import Survey

Arrays = dict[str, np.ndarray]
Baseline = Callable[[Arrays], Arrays]


def training_mean(outputs: Sequence[Port], survey: Survey) -> dict[str, Baseline]:
    """Return "training mean": the mean label in every pixel, for each output of moments; none without a label."""
    roles = [port.role for port in outputs if port.spread == "moments"]
    if survey.label is None or not roles:
        return {}
    return {"training mean": constant(dict.fromkeys(roles, survey.label.mean))}


def constant(values: dict[str, float]) -> Baseline:
    """Return a predictor of the same number for every element of the target, by output."""
    return lambda batch: {role: np.full_like(batch["target"], np.float32(value)) for role, value in values.items()}
