"""Frozen layers of which only the shapes are known: what they take in memory and what a step on them does."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from eozoo_prithvi_refine.frozen import PlainLinear, frozen_product, piece_rows, stored_int8


def store_shapes(network: torch.nn.Module, kind: str) -> None:
    """Give frozen linear layers of shapes alone the bytes that ``model.quantization`` gives them; in place."""
    if kind == "none":
        return
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PlainLinear):
                with torch.device("meta"):
                    setattr(module, name, _Shape(child, kind))


class _Shape(torch.nn.Module):
    """A frozen linear layer of 8 or 4 bit as ``frozen`` makes it, of which only the shape is known."""

    def __init__(self, plain: PlainLinear, kind: str):
        super().__init__()
        self.out_features, self.in_features = rows, cols = plain.weight.shape
        self.kind, self.bias = kind, plain.bias
        if kind == "int8":
            self.register_buffer("codes", torch.empty(rows, cols, dtype=torch.int8))
            self.register_buffer("scale", torch.empty(2, rows))  # ours, and the one that bitsandbytes keeps
            return
        blocks = -(-rows * cols // 64)
        self.register_buffer("codes", torch.empty(-(-rows * cols // 2), dtype=torch.uint8))
        self.register_buffer("absmax", torch.empty(blocks, dtype=torch.uint8))
        self.register_buffer("absmax_of_absmax", torch.empty(-(-blocks // 256) + 256 + 16))  # and two code tables

    def stored(self, dtype: torch.dtype) -> tuple[Iterable[torch.Tensor], torch.Tensor | None]:
        """Return what the real layer returns."""
        if self.kind == "int8":
            return stored_int8(self.codes, self.scale[0], dtype)
        rows, cols = self.out_features, self.in_features
        most = piece_rows(self.codes, dtype, cols) if self.codes.device.type == "cpu" else rows
        sizes = [min(most, rows - first) for first in range(0, rows, most)]
        return (torch.empty(size, cols, dtype=dtype) for size in sizes), None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        return frozen_product(x, self)
