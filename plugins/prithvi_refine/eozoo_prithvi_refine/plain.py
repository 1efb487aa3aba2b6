"""A trained encoder in plain float32 weights, for files that others read."""

from __future__ import annotations

import torch
from torch import nn

from eozoo_prithvi_refine.encoder import PrithviEncoder
from eozoo_prithvi_refine.positions import resize_table


def make_plain(encoder: PrithviEncoder) -> None:
    """Replace every adapted or quantised layer by a plain one of the same weights, in place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(encoder.named_modules()):
        adapted = isinstance(layer, BaseTunerLayer)
        base = layer.get_base_layer() if adapted else layer
        if not isinstance(base, nn.Linear) or ".base_layer" in name or "lora_" in name:
            continue
        plain = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None)
        with torch.no_grad():
            plain.weight.copy_(dequantised(base))
            if adapted:
                plain.weight += sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            if base.bias is not None:
                plain.bias.copy_(base.bias)
        parent, _, child = name.rpartition(".")
        setattr(encoder.get_submodule(parent), child, plain.eval())


def fix_size(encoder: PrithviEncoder, side: int) -> None:
    """Keep the position table that images of ``side`` px need, so that the graph need not interpolate it."""
    patches = -(-side // encoder.variant.patch)
    grid = (encoder.grid[0], patches, patches)
    encoder.pos_embed = resize_table(encoder.pos_embed, encoder.grid, grid)
    encoder.grid = grid


def dequantised(layer: nn.Linear) -> torch.Tensor:
    """The float32 weights (out, in) that a linear layer computes with, whatever it keeps them as."""
    weight = layer.weight
    if getattr(weight, "quant_state", None) is not None:
        if getattr(weight.quant_state, "packing_format_for_cpu", False):  # bitsandbytes does so at the first use
            raise ValueError("the layer has been used and its numbers are packed for the processor; load it anew")
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(weight.data, weight.quant_state).float()
    if weight.dtype != torch.int8:
        return weight.data.float()
    # bitsandbytes keeps the largest value of each row with the weight until the first forward pass, then in the state.
    largest = weight.SCB if weight.SCB is not None else layer.state.SCB
    return weight.data.float() * (largest.float() / 127)[:, None]
