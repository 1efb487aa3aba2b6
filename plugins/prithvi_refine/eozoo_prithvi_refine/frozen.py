"""Linear layers whose weights are never trained: plain, 8 bit or 4 bit numbers, cast for one product at a time.

Arithmetic is in the type of the input (that of mixed precision, where it is on): weights are stored small, activations
are not rounded. So a result does not depend on what else is in the batch, is the same in training and in use and on
every device, and backward needs the stored numbers alone: neither the input nor a cast copy is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# dtype to compute in -> stored weight (out, in), and what its rows are to be multiplied with (out,), None = nothing
Stored = Callable[[torch.dtype], tuple[torch.Tensor, torch.Tensor | None]]
# On a CPU weights are cast by pieces of this size: they stay in the processor's cache and leave no holes in the heap.
_PIECE_BYTES = 4 * 2**20


def frozen_product(x: torch.Tensor, stored: Stored, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``x (..., in)`` times the weight plus the bias, ``(..., out)``; gradients reach ``x`` only."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    y = _Product.apply(x, stored) if x.requires_grad and torch.is_grad_enabled() else _multiply(x, *stored(x.dtype))
    return y if bias is None else y + bias.to(y.dtype)


def stored_int8(codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, Any]:
    """Return ``codes (out, in)`` int8, whose rows count ``scale (out,)`` each, for a product in ``dtype``.

    Whole numbers up to 127 are exact in every type, so the scale is left for the product; only float16 could overflow.
    """
    return (codes.to(dtype).mul_(scale.to(dtype)[:, None]), None) if dtype == torch.float16 else (codes, scale)


class _Product(torch.autograd.Function):
    """The product, whose weights are cast anew in backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, stored: Stored) -> torch.Tensor:
        ctx.stored = stored
        return _multiply(x, *stored(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        weight, scale = ctx.stored(gradient.dtype)
        rows = gradient if scale is None else (gradient * scale).to(gradient.dtype)
        total, start = 0.0, 0
        for piece in _pieces(weight, gradient.dtype):  # summed in float32 at least, as one long product would be
            total = total + (rows[..., start : start + len(piece)] @ piece).float()
            start += len(piece)
        return total.to(gradient.dtype), None


def _multiply(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    parts = [F.linear(x, piece) for piece in _pieces(weight, x.dtype)]
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    return y if scale is None else (y * scale).to(y.dtype)


def _pieces(weight: torch.Tensor, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """Cast ``weight`` by pieces of whole rows: one on a GPU and where nothing is to be cast."""
    whole = weight.dtype == dtype or weight.device.type != "cpu"
    rows = len(weight) if whole else max(1, _PIECE_BYTES // (dtype.itemsize * weight.shape[1]))
    return (piece.to(dtype) for piece in weight.split(rows))


class PlainLinear(nn.Linear):
    """As it is; under mixed precision no cast copy of the weight is kept for backward."""

    def stored(self, dtype: torch.dtype) -> tuple[torch.Tensor, None]:
        """Return the weight."""
        return self.weight.detach(), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return frozen_product(x, self.stored, self.bias)


def freeze_linear(plain: nn.Linear, kind: str) -> nn.Module:
    """Return a frozen layer that stands for ``plain``: "int8" (a scale per row, as LLM.int8(), arXiv:2208.07339),
    "nf4" (4 bit, blocks of 64, arXiv:2305.14314) or "none". On the CPU.
    """
    make = {"int8": _int8, "nf4": _nf4, "none": _plain}[kind]
    layer = make(plain)
    layer.bias = None if plain.bias is None else nn.Parameter(plain.bias.data, requires_grad=False)
    return layer.train(plain.training)


def _plain(plain: nn.Linear) -> nn.Module:
    layer = PlainLinear(plain.in_features, plain.out_features, device="meta")
    layer.weight = nn.Parameter(plain.weight.data, requires_grad=False)
    return layer


def _int8(plain: nn.Linear) -> nn.Module:
    layer = _quantised_classes()[0](plain.in_features, plain.out_features, has_fp16_weights=False, device="meta")
    layer.weight = type(layer.weight)(plain.weight.data, requires_grad=False, has_fp16_weights=False)
    layer.bias = None
    layer = layer.to("cpu")  # this quantises
    layer.register_buffer("scale", layer.weight.SCB.float() / 127, persistent=False)
    return layer


def _nf4(plain: nn.Linear) -> nn.Module:
    layer = _quantised_classes()[1](plain.in_features, plain.out_features, quant_type="nf4", device="meta")
    options = {"compress_statistics": True, "quant_type": "nf4", "module": layer}
    layer.weight = type(layer.weight)(plain.weight.data, requires_grad=False, **options)
    layer.bias = None
    return layer.to("cpu")  # this quantises


@cache
def _quantised_classes() -> tuple[Any, Any]:
    """Return bitsandbytes' layers, by which adapters know them, with the product above.

    Their own forward rounds activations to 8 bit by what is in the batch, keeps the input for backward (also where it
    is to be recomputed), computes in float32 under mixed precision, and casts the frozen bias for good.
    """
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    class Int8Linear(Linear8bitLt):
        def stored(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
            return stored_int8(self.weight.data, self.scale, dtype)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return frozen_product(x, self.stored, self.bias)

    class Nf4Linear(Linear4bit):
        def stored(self, dtype: torch.dtype) -> tuple[torch.Tensor, None]:
            state = copy(self.weight.quant_state)
            state.dtype = dtype
            return dequantize_4bit(self.weight.data, state), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return frozen_product(x, self.stored, self.bias)

    return Int8Linear, Nf4Linear
