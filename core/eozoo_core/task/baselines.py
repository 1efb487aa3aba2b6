"""Simple predictors of any task: what a model must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eozoo_core.spec import Port
from eozoo_core.task.survey import Survey

Arrays = dict[str, np.ndarray]
Baseline = Callable[[Arrays], Arrays]


def training_mean(outputs: Sequence[Port], survey: Survey) -> dict[str, Baseline]:
    """Return "training mean": the mean label in every pixel, for each output of moments; none without a label.

    Where such an output has a deviation, that of the labels.
    """
    label, roles = survey.label, [port.role for port in outputs if port.spread == "moments"]
    if label is None or not roles:
        return {}
    deviations = [port.role for port in outputs if port.of in roles and port.spread == "deviation" and label.std > 0]
    return {"training mean": constant(dict.fromkeys(roles, label.mean) | dict.fromkeys(deviations, label.std))}


def simplest(outputs: Sequence[Port], survey: Survey) -> dict[str, Baseline]:
    """Return `training_mean`, and `most_frequent` where an output is a class and the survey has ``counts`` of them."""
    counts, port = getattr(survey, "counts", ()), next((p for p in outputs if p.spread == "class"), None)
    if not counts or port is None:
        return training_mean(outputs, survey)
    return training_mean(outputs, survey) | most_frequent(counts, [code for code, _ in port.legend], port.role)


def most_frequent(counts: Sequence[int], codes: Sequence[int] = (), role: str = "class") -> dict[str, Baseline]:
    """Return "most frequent class": everywhere the code (none given: the index) of the largest of ``counts``."""
    most = int(np.argmax(counts))
    return {"most frequent class": constant({role: float(codes[most] if codes else most)})}


def constant(values: dict[str, float | np.ndarray]) -> Baseline:
    """Return a predictor of the same for every sample, by output: a number, or an array that fits the target."""
    return lambda batch: {
        role: np.broadcast_to(np.asarray(value, np.float32), batch["target"].shape) for role, value in values.items()
    }


def first_input(inputs: Sequence[Port], batch: Arrays) -> np.ndarray | None:
    """Return the first input as (B, F, H, W) or, without rows and columns, (B, F); None where the batch lacks it."""
    axes, values = inputs[0].axes.split(), batch.get(inputs[0].role)
    if values is None or values.dtype.kind != "f" or values.ndim != len(axes) or axes[0] != "B":
        return None
    if not {"H", "W"} <= set(axes):
        return values.reshape(len(values), -1)
    moved = np.moveaxis(values, (axes.index("H"), axes.index("W")), (-2, -1))
    return moved.reshape(len(values), -1, *moved.shape[-2:])
