"""The loss of the document: registered for every task."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error() -> SquaredError:
    """Squared error over values that have a label."""
    return SquaredError()


class SquaredError:
    """(mean, target) of one shape, NaN in the target = no label -> sum over the labelled, and their number."""

    def __call__(self, mean: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sum, count)."""
        labelled = torch.isfinite(target)
        error = torch.where(labelled, mean - torch.where(labelled, target, 0), 0)
        return error.square().sum(), labelled.sum()
