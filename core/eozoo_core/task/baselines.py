"""Simple predictors of any task: what a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eozoo_core.spec import Port
    from eozoo_core.task.survey import Survey

Arrays = dict[str, np.ndarray]


def training_mean(outputs: Sequence[Port], survey: Survey) -> dict[str, Callable[[Arrays], Arrays]]:
    """Return "training mean": the mean label in every pixel, for each output of moments; none without a label."""
    roles = [port.role for port in outputs if port.spread == "moments"]
    if survey.label is None or not roles:
        return {}
    mean = np.float32(survey.label.mean)
    return {"training mean": lambda batch: {role: np.full_like(batch["target"], mean) for role in roles}}
