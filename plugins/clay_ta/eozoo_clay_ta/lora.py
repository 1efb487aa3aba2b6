"""Low-rank updates (Hu et al. 2021, arXiv:2106.09685) of the attention of a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LoraLinear(nn.Linear):
    """A linear layer whose weight stays, plus a trained product of two thin matrices, at first zero.

    The weight keeps its name, so that published state dicts fit before and after.
    """

    def __init__(self, base: nn.Linear, rank: int):
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in)`` -> ``(..., out)``."""
        return super().forward(x) + (x @ self.lora_a.T) @ self.lora_b.T


def add_lora(encoder: nn.Module, rank: int) -> None:
    """Replace the projections of every attention of a Clay encoder in place."""
    for attention, _ in encoder.transformer.layers:
        attention.to_qkv = LoraLinear(attention.to_qkv, rank)
        attention.to_out = LoraLinear(attention.to_out, rank)
