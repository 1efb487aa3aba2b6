"""The loss: a sum over what has a target, and how many that are; the caller divides."""

from __future__ import annotations

from collections.abc import Callable

import torch


def my_task_loss() -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Squared error, in the squared unit of the target."""
    return squared_error


def squared_error(prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (sum, count) over the values of ``target``, of the prediction's shape, that are not NaN."""
    there = torch.isfinite(target)
    # NaN leaves before the arithmetic: its gradient would be 0 x NaN = NaN afterwards.
    error = torch.where(there, prediction.float() - torch.where(there, target.float(), 0.0), 0.0)
    return error.square().sum(), there.sum()
