"""What is fitted on the validation split when training has ended: the factor of all variances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from eozoo_core.task.contract import Contract
from eozoo_core.task.data import tensors
from eozoo_core.task.evaluate import combined
from eozoo_core.task.predict import open_draws
from eozoo_core.task.spread import present

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.survey import Fitted

FEWEST = 20  # validation labels below which no factor is fitted


def fit_variance(task: Contract, run: Run) -> Fitted | None:
    """Fit the factor of all variances that makes mean((error / std)^2) one; the default of ``Task.fitted``.

    One number for all members together: it cannot overfit much, and keeps the order of certain and uncertain pixels.
    None where no output is a deviation of the first one or nothing is kept for validation; a factor of None where
    validation has too few labels.
    """
    if not task.validates:
        return None
    outputs = task.ports(task.Survey()).outputs
    std = next((port for port in outputs if port.spread == "deviation" and port.of == outputs[0].role), None)
    if std is None:
        return None
    draws, data = open_draws(task, run, "eval", every=True), task.data("val")
    squares = [np.empty(0)]
    for i in range(len(data)):
        batch = data.items([i])
        given = tensors(batch, draws.device)
        with torch.inference_mode():
            shown = present(combined([draw.predict(given) for draw in draws.systems.values()], outputs), outputs)
        mean, deviation = (shown[name].numpy() for name in (std.of, std.role))
        target = batch["target"].reshape(mean.shape)
        labelled = np.isfinite(target)
        squares.append(((mean[labelled] - target[labelled]) / deviation[labelled]) ** 2)
    found = np.concatenate(squares)
    return task.Fitted(variance_factor=float(found.mean()) if len(found) >= FEWEST else None, labels=len(found))
