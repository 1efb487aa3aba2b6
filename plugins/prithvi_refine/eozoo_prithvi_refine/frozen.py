"""Linear layers whose weights are never trained: plain, 8 bit or 4 bit numbers, cast for one product at a time.

Arithmetic is in the type of the input (that of mixed precision, where it is on): weights are stored small, activations
are not rounded. So a result does not depend on what else is in the batch, is the same in training and in use and on
every device, and backward needs the stored numbers alone: neither the input nor a cast copy is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from functools import cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

# On a CPU weights are cast by pieces of this size: they stay in the processor's cache, and leave small holes in the
# heap. Of whole ones, each made and freed between activations that stay, a large model's heap grew by a gigabyte.
_PIECE_BYTES = 4 * 2**20


class Frozen(Protocol):
    """What a product needs of a layer."""

    in_features: int
    out_features: int
    bias: torch.Tensor | None

    def stored(self, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], torch.Tensor | None]:
        """Return the weight (out, in) in ``dtype`` by pieces of whole rows, and factors of its rows (out,) or None."""


def frozen_product(x: torch.Tensor, layer: Frozen) -> torch.Tensor:
    """Return ``x (..., in)`` times the layer's weight plus its bias, ``(..., out)``; gradients reach ``x`` only."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    y = _Product.apply(x, layer) if x.requires_grad and torch.is_grad_enabled() else _multiply(x, layer)
    return y if layer.bias is None else y + layer.bias.to(y.dtype)


def stored_int8(codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], Any]:
    """Return ``codes (out, in)`` int8, whose rows count ``scale (out,)`` each, for a product in ``dtype``.

    Whole numbers up to 127 are exact in every type, so the scale is left for the product; only float16 could overflow.
    """
    if dtype == torch.float16:
        return [codes.to(dtype).mul_(scale.to(dtype)[:, None])], None
    return (piece.to(dtype) for piece in codes.split(piece_rows(codes, dtype))), scale


def piece_rows(weight: torch.Tensor, dtype: torch.dtype, cols: int | None = None) -> int:
    """Return how many rows of ``weight (out, in)`` are cast at once: all on a GPU and where nothing is to be cast."""
    if weight.dtype == dtype or not in_pieces(weight.device):
        return len(weight)
    return max(1, _PIECE_BYTES // (dtype.itemsize * (cols or weight.shape[1])))


def in_pieces(device: torch.device) -> bool:
    """Whether weights are cast piece by piece on a device: on a GPU one product is faster, and needs no sum."""
    return device.type == "cpu"


class _Product(torch.autograd.Function):
    """The product, whose weights are cast anew in backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layer: Frozen) -> torch.Tensor:
        ctx.layer = layer
        return _multiply(x, layer)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        pieces, scale = ctx.layer.stored(gradient.dtype)
        rows = gradient if scale is None else (gradient * scale).to(gradient.dtype)
        if not in_pieces(gradient.device):
            (piece,) = pieces
            return rows @ piece, None
        # Made before the pieces, and summed in float32 at least, as one long product would be.
        total = gradient.new_zeros(*gradient.shape[:-1], ctx.layer.in_features, dtype=torch.float32)
        first = 0
        for piece in pieces:
            total += rows[..., first : first + len(piece)] @ piece
            first += len(piece)
            del piece
        return total.to(gradient.dtype), None


def _multiply(x: torch.Tensor, layer: Frozen) -> torch.Tensor:
    pieces, scale = layer.stored(x.dtype)
    if not in_pieces(x.device):
        (piece,) = pieces
        y = F.linear(x, piece)
        return y if scale is None else (y * scale).to(y.dtype)
    y = x.new_empty(*x.shape[:-1], layer.out_features)  # before the pieces, whose place in the heap is then used again
    first = 0
    for piece in pieces:
        y[..., first : first + len(piece)] = F.linear(x, piece)
        first += len(piece)
        del piece
    return y if scale is None else (y * scale).to(y.dtype)


class PlainLinear(nn.Linear):
    """As it is; under mixed precision no cast copy of the weight is kept for backward."""

    def stored(self, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], None]:
        """Return the weight."""
        weight = self.weight.detach()
        return (piece.to(dtype) for piece in weight.split(piece_rows(weight, dtype))), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return frozen_product(x, self)


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
    layer.weight.CB = None  # the same numbers once more, which would stay behind when the layer moves to a GPU
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
    from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    class Int8Linear(Linear8bitLt):
        def stored(self, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], torch.Tensor | None]:
            return stored_int8(self.weight.data, self.scale, dtype)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return frozen_product(x, self)

    class Nf4Linear(Linear4bit):
        def stored(self, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], None]:
            return self._dequantised(dtype), None

        def _dequantised(self, dtype: torch.dtype) -> Iterator[torch.Tensor]:
            whole, cols, codes = self.weight.quant_state, self.in_features, self.weight.data
            absmax = dequantize_blockwise(whole.absmax, whole.state2).float() + whole.offset
            aligned = cols % whole.blocksize == 0  # else a block lies in two rows
            rows = piece_rows(codes, dtype, cols) if aligned else self.out_features
            for first in range(0, self.out_features, rows):
                last = min(first + rows, self.out_features)
                part = copy(whole)
                part.dtype, part.shape, part.nested, part.state2, part.offset = (
                    dtype,
                    (last - first, cols),
                    False,
                    None,
                    None,
                )
                part.absmax = absmax[first * cols // part.blocksize : -(-last * cols // part.blocksize)]
                yield dequantize_4bit(codes[first * cols // 2 : -(-last * cols // 2)], part)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return frozen_product(x, self)

    return Int8Linear, Nf4Linear
