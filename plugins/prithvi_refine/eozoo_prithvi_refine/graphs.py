"""A trained run as one network of plain weights, for ``eozoo export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core.task import Graph
from torch import nn

from eozoo_prithvi_refine.assemble import load_model
from eozoo_prithvi_refine.demo.landscape import landscape
from eozoo_prithvi_refine.positions import resize_table
from eozoo_prithvi_refine.settings import BANDS, BIOMES

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_prithvi_refine.encoder import PrithviEncoder
    from eozoo_prithvi_refine.refiner import PrithviRefiner
    from eozoo_prithvi_refine.settings import PrithviSettings

# Largest difference from predict, as a share of the largest value, where the run computes in 16 bit. Quantised layers
# compute with the numbers that the graph gets, and so make no difference.


class Whole(nn.Module):
    """Raw reflectance, month and biome to what ``predict`` gives, NaN where any of them is missing."""

    def __init__(self, refiner: PrithviRefiner):
        super().__init__()
        self.refiner = refiner

    def forward(
        self, image: torch.Tensor, month: torch.Tensor, biome: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``image (B, 4, H, W)``, ``month (B,)``, ``biome (B,)``, NaN = missing -> refined and features."""
        unknown = ~(torch.isfinite(month) & torch.isfinite(biome))
        codes = [torch.where(unknown, 1.0, code).round().long() for code in (month, biome)]
        refined, features = self.refiner(image, *codes)
        hidden = ~torch.isfinite(image).all(dim=1, keepdim=True) | unknown[:, None, None, None]
        return torch.where(hidden, torch.nan, refined), torch.where(hidden, torch.nan, features)


def make_graph(run: Run, settings: PrithviSettings) -> Graph:
    """Return best.pt with its adapters folded in and its 8- or 4-bit layers as plain float32 weights.

    It takes no time and place: those of a ``_tl`` run count as not known.
    """
    refiner, _ = load_model(run, settings, None, "cpu")
    side = settings.infer.window
    if refiner.encoder is not None:
        make_plain(refiner.encoder)
        fix_size(refiner.encoder, side)
    inputs = {
        "opt_v1": np.stack([landscape(7 + i, side, side, 6, 4) for i in range(2)]),
        "month": np.array([6.0, 1.0], "float32"),
        "biome": np.array([4.0, 8.0], "float32"),
    }
    return Graph(
        Whole(refiner),
        inputs,
        ("refined", "features"),
        axes={"opt_v1": ("batch", "", "", ""), "month": ("batch",), "biome": ("batch",)},
        about={
            "opt_v1": f"bands {', '.join(BANDS)} (blue, green, red, near infrared), reflectance 0..1; NaN = missing",
            "month": "1..12, whole numbers; NaN = not known",
            "biome": f"0..{BIOMES - 1}, whole numbers; NaN = not known",
        },
    )


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
