"""The network together with the scaling it was trained with: raw bands in, target units out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn


class SparseRegressor(nn.Module):
    """Scale raw bands, fill missing ones, run the network, and scale its output to the unit of the target.

    network:      (B, C, H, W) -> (B, 1 or 2, H, W), see ``networks``.
    input_mean, input_std: per band (C values), in the bands' own units; zeros and ones = bands go in as they are.
    target_mean, target_std: in the target's unit; (0, 1) = the network works in that unit itself.
    scale_power:  2 where channel 1 is a log-variance (log unit^2), 1 where it is log b (log unit).

    All of it lies in buffers, so one state dict carries what was trained and a strict load refuses another network.
    A standardised target starts at its training mean and variance with every initialisation, whatever the unit.
    A band or target with standard deviation 0 is only centred. Raises ValueError for statistics that are not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        input_mean: Sequence[float],
        input_std: Sequence[float],
        target_mean: float = 0.0,
        target_std: float = 1.0,
        scale_power: int = 2,
    ):
        super().__init__()
        self.network = network
        mean, std = _column(input_mean), _positive(_column(input_std))
        if mean.shape != std.shape:
            raise ValueError(f"{mean.numel()} means for {std.numel()} standard deviations")
        self.register_buffer("input_mean", mean)
        self.register_buffer("input_std", std)
        self.register_buffer("target_mean", torch.tensor(float(target_mean)))
        self.register_buffer("target_std", _positive(torch.tensor(float(target_std))))
        # log_scale of z -> log_scale of mean + std * z: the variance grows with std^2, b with std.
        shift = scale_power * math.log(float(self.target_std))
        self.register_buffer("log_scale_shift", torch.tensor(shift))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Predict every pixel, float32, also where bands are missing: who writes a map masks those (``missing``).

        image: (B, C, H, W) raw bands, NaN = missing; a missing band counts as its training mean (0 unscaled).
        Returns mean (B, 1, H, W) in the target's unit and the unclamped log-scale (B, 1, H, W), None without one.
        """
        scaled = (image.float() - self.input_mean) / self.input_std
        filled = torch.where(torch.isfinite(scaled), scaled, 0.0)
        # Channels-last: the convolutions are 1.2 to 1.6 times as fast ('python -m benchmarks training').
        raw = self.network(filled.contiguous(memory_format=torch.channels_last)).float()
        mean = self.target_mean + self.target_std * raw[:, :1]
        return mean, raw[:, 1:2] + self.log_scale_shift if raw.shape[1] > 1 else None


def missing(image: torch.Tensor) -> torch.Tensor:
    """True (B, 1, H, W) where any band of ``image`` (B, C, H, W) is NaN or infinite: no prediction belongs there."""
    return ~torch.isfinite(image).all(dim=1, keepdim=True)


def _column(values: Sequence[float]) -> torch.Tensor:
    column = torch.tensor([float(v) for v in values]).reshape(1, -1, 1, 1)
    if not torch.isfinite(column).all():
        raise ValueError(f"statistics must be finite, got {list(values)}")
    return column


def _positive(std: torch.Tensor) -> torch.Tensor:
    if not (torch.isfinite(std) & (std >= 0)).all():
        raise ValueError(f"standard deviations must be finite and not negative, got {std.flatten().tolist()}")
    return torch.where(std == 0, 1.0, std)
