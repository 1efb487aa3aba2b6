"""One layer of a transformer encoder, quick in training on a CPU: there, dropout takes a third of torch's own.

Torch draws one number per element to drop, and computes attention with dropout in a general way that checks for masks.
Here four elements share a draw, and attention does what this network needs. In evaluation, on GPUs and in mixed
precision torch's layer is called. Parameters and their names are torch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_STEPS = 2**16  # of a draw of 16 bits: a probability of 0.1 is 0.100006


class EncoderLayer(nn.TransformerEncoderLayer):
    """Post-norm, ReLU: ``(B, L, D)`` -> the same shape."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float):
        super().__init__(width, heads, feedforward, dropout, batch_first=True)

    def _sa_block(self, x: torch.Tensor, *masks: Any, **rest: Any) -> torch.Tensor:
        attention = self.self_attn
        if not self._quick(x) or any(mask is not None for mask in masks):
            return super()._sa_block(x, *masks, **rest)
        both = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        q, k, v = both.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        share = torch.softmax(q * attention.head_dim**-0.5 @ k.transpose(2, 3), dim=3)
        found = share * kept(share, self.dropout1.p) @ v
        found = F.linear(found.transpose(1, 2).flatten(2), attention.out_proj.weight, attention.out_proj.bias)
        return found * kept(found, self.dropout1.p)

    def _ff_block(self, x: torch.Tensor) -> torch.Tensor:
        if not self._quick(x):
            return super()._ff_block(x)
        hidden = self.linear1(x)
        with torch.no_grad():
            factor = kept(hidden, self.dropout1.p).mul_(hidden > 0)
        found = self.linear2(hidden * factor)
        return found * kept(found, self.dropout1.p)

    def _quick(self, x: torch.Tensor) -> bool:
        plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return plain and self.training and self.dropout1.p > 0


def kept(like: torch.Tensor, dropped: float) -> torch.Tensor:
    """Draw factors shaped as ``like``: 0 with probability ``dropped`` (to 1 / 65536), else one that keeps the mean."""
    steps = min(round(dropped * _STEPS), _STEPS - 1)
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    found = torch.empty(like.shape)
    torch.ge(draws[: like.numel()].view(like.shape), steps - _STEPS // 2, out=found)
    return found.mul_(_STEPS / (_STEPS - steps))
