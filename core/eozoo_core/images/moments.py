"""A network for images with the scaling it was trained with: bands in, mean and standard deviation out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from eozoo_core.images.system import IMAGE, staged_image
from eozoo_core.task.label_loss import LabelLoss
from eozoo_core.task.system import System, Tensors

if TYPE_CHECKING:
    from eozoo_core.task.data import Data


class MomentsSystem(System):
    """Scale raw bands, fill missing ones, run the network, and scale its output to the unit of the target.

    network:      (B, C, H, W) -> (B, 1 or 2, H, W): the mean and, where a variance is trained, the raw log-scale.
    loss:         says whether a variance is trained and what the log-scale channel means: log-variance (log unit^2)
                  where its ``scale_power`` is 2, log b (log unit) where it is 1.
    input_mean, input_std: per band (C values), in the bands' own units; zeros and ones = bands go in as they are.
    target_mean, target_std: in the target's unit; (0, 1) = the network works in that unit itself.
    takes:        what the network takes, see `eozoo_core.images.system.image_network`.

    All of it lies in buffers, so one state dict carries what was trained and a strict load refuses another network.
    A standardised target starts at its training mean and variance with every initialisation, whatever the unit.
    A band or target with standard deviation 0 is only centred. Raises ValueError for statistics that are not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: LabelLoss,
        input_mean: Sequence[float],
        input_std: Sequence[float],
        target_mean: float = 0.0,
        target_std: float = 1.0,
        takes: Sequence[str] = IMAGE,
    ):
        super().__init__()
        self.takes = tuple(takes)
        self.network, self._loss = network, loss
        self.receipt, self.multiple = str(getattr(network, "receipt", None) or ""), int(getattr(network, "multiple", 0))
        mean, std = _column(input_mean), _positive(_column(input_std))
        if mean.shape != std.shape:
            raise ValueError(f"{mean.numel()} means for {std.numel()} standard deviations")
        self.register_buffer("input_mean", mean)
        self.register_buffer("input_std", std)
        self.register_buffer("target_mean", torch.tensor(float(target_mean)))
        self.register_buffer("target_std", _positive(torch.tensor(float(target_std))))
        # log_scale of z -> log_scale of mean + std * z: the variance grows with std^2, b with std.
        spread = float(target_std) or 1.0
        self.register_buffer("log_scale_shift", torch.tensor(loss.scale_power * math.log(spread)))

    def stage(self, arrays: Tensors) -> Tensors:
        """Scale "image" (B, C, H, W); a missing band counts as its training mean (0 unscaled)."""
        return staged_image(arrays, self.input_mean, self.input_std, self.takes)

    def raw(self, staged: Tensors) -> Tensors:
        """Return "mean" (B, 1, H, W) in the target's unit and, where the network has one, the unclamped "log_scale"."""
        output = self.network(*(staged[role] for role in self.takes)).float()
        found = {"mean": self.target_mean + self.target_std * output[:, :1]}
        return found | ({"log_scale": output[:, 1:2] + self.log_scale_shift} if output.shape[1] > 1 else {})

    @property
    def solves(self) -> bool:
        """Whether the network finds its weights from all labels at once, by a method ``solve``."""
        return hasattr(self.network, "solve")

    def solve(self, data: Data) -> None:
        """Have such a network see the labels of the training split, as standardised as it would be trained on them."""
        from eozoo_core.images.trees import labelled_rows

        x, y, fold = labelled_rows(self, data)
        scaled = (y - self.target_mean.item()) / self.target_std.item()
        self.network.solve(x, scaled, fold, self._loss.scale_power)

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Return "mean" and, where a variance is trained, "std", each (B, H, W) in the target's unit."""
        found = {"mean": raw["mean"][:, 0]}
        return found | ({"std": self._loss.std(raw["log_scale"])[:, 0]} if self._loss.trains_variance else {})


def _column(values: Sequence[float]) -> torch.Tensor:
    column = torch.tensor([float(v) for v in values]).reshape(1, -1, 1, 1)
    if not torch.isfinite(column).all():
        raise ValueError(f"statistics must be finite, got {list(values)}")
    return column


def _positive(std: torch.Tensor) -> torch.Tensor:
    if not (torch.isfinite(std) & (std >= 0)).all():
        raise ValueError(f"standard deviations must be finite and not negative, got {std.flatten().tolist()}")
    return torch.where(std == 0, 1.0, std)
