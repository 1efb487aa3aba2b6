"""Losses of values over what is labelled, and the one place that says what the log-scale channel means.

A loss is a callable ``(mean, log_scale, target) -> (sum, count)`` of arrays of one shape (B, ...), pixels or rows:

- mean in the target's unit; log_scale None or ignored where ``trains_variance`` is False;
- target, NaN or infinite = no label; such an element adds nothing and gets a gradient of exactly 0;
- sum: 0-d float32, carries the gradient; count: 0-d int64, labelled elements. The caller divides, after it has added up
  micro-batches and processes; a count of 0 means: skip the step.

Nothing waits for the device: no boolean indexing, no ``.item()``. All arithmetic is float32 whatever comes in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo_core.task.contract import Contract

# Bounds of a log-variance, in log unit^2. exp(-5) = 0.0067 m or Mg/ha: no GEDI product is that exact, and a smaller
# variance lets a single pixel's 1 / variance outweigh thousands. exp(7) = 1097: above the largest biomass density in
# Mg/ha and far above any tree, so nothing real is cut off, and exp stays finite in float32.
LOG_VARIANCE_RANGE = (-10.0, 14.0)


class _Clamp(torch.autograd.Function):
    """Clamp whose gradient passes inside the range and, outside, where it leads back in.

    A plain clamp has no gradient outside: a head that once overshot would stay there for ever.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, low: float, high: float) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.range = (low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (x,) = ctx.saved_tensors
        low, high = ctx.range
        # A step goes against the gradient: below the range a negative one leads up, above it a positive one down.
        stuck = ((x < low) & (grad > 0)) | ((x > high) & (grad < 0))
        return grad.masked_fill(stuck, 0.0), None, None


def clamp_log_scale(log_scale: torch.Tensor, power: int = 2) -> torch.Tensor:
    """Clamp the raw log-scale channel, in float32: training, evaluation and maps all read it through this.

    power: 2 = log-variance, log unit^2, clamped to LOG_VARIANCE_RANGE; 1 = log b, log unit, clamped to half of that.
    """
    low, high = (bound * power / 2 for bound in LOG_VARIANCE_RANGE)
    return _Clamp.apply(log_scale.float(), low, high)


class LabelLoss:
    """A loss over labelled elements; subclasses give the loss of each.

    trains_variance: whether log_scale is used; where False no standard deviation exists and none may be written.
    scale_power:     the unit of the log-scale: log unit^2 (2) or log unit (1).
    """

    trains_variance = False
    scale_power = 2

    def __call__(
        self, mean: torch.Tensor, log_scale: torch.Tensor | None, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (sum, count) over what is labelled; shapes and meaning at the top of this module."""
        if self.trains_variance and log_scale is None:
            raise ValueError(f"{type(self).__name__} needs a log-scale: build the network with outputs=2")
        if mean.shape != target.shape:
            raise ValueError(f"prediction {tuple(mean.shape)} and target {tuple(target.shape)} must be of one shape")
        labelled = torch.isfinite(target)
        # What is not labelled leaves before the arithmetic: its gradient would be 0 x NaN = NaN afterwards.
        error = torch.where(labelled, mean.float() - torch.where(labelled, target.float(), 0.0), 0.0)
        if self.trains_variance:
            log_scale = clamp_log_scale(torch.where(labelled, log_scale.float(), 0.0), self.scale_power)
        pixels = self.pixelwise(error, log_scale)
        return torch.where(labelled, pixels, 0.0).sum(), labelled.sum()

    def pixelwise(self, error: torch.Tensor, log_scale: torch.Tensor | None) -> torch.Tensor:
        """Loss of every element from its error (prediction - target) and clamped log-scale, same shape."""
        raise NotImplementedError

    def std(self, log_scale: torch.Tensor) -> torch.Tensor:
        """Standard deviation in the target's unit, float32, from the raw log-scale channel."""
        raise ValueError(f"{type(self).__name__} trains no variance: it has no standard deviation")


class MeanLoss(LabelLoss):
    """Another plugin's loss, (mean, target) -> (sum, count) over what is labelled; trains no variance.

    Raises ZooError for one that is not called with two arrays: how it scales a log_scale is not known here.
    """

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]):
        try:
            inspect.signature(loss).bind(None, None)
        except TypeError:
            raise ZooError("model.loss.name: a loss of another plugin must take mean and target, no more") from None
        self._loss = loss

    def __call__(
        self, mean: torch.Tensor, log_scale: torch.Tensor | None, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (sum, count) over what is labelled."""
        return self._loss(mean, target)


def called(loss: LabelLoss) -> Callable[[dict, dict], dict[str, tuple]]:
    """Return ``loss`` as a task calls it, f(raw, batch) -> sums, with the squared error of the mean beside it."""

    def sums(raw: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, tuple]:
        mean, target = raw["mean"], batch["target"]
        total, count = loss(mean, raw.get("log_scale"), target)
        squares = torch.where(torch.isfinite(target), mean.detach() - target.nan_to_num(), 0.0).square().sum()
        return {"loss": (total, count), "mse": (squares, count)}

    return sums


def label_loss(task: Contract) -> LabelLoss:
    """Return the loss that ``model.loss`` of the settings names, of whichever plugin."""
    loss = task.build("loss", task.settings.model.loss)
    return loss if isinstance(loss, LabelLoss) else MeanLoss(loss)
