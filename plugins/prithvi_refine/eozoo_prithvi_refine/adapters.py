"""From a plain encoder to one that is trained cheaply: frozen in 8 or 4 bit, with LoRA adapters, or partly unfrozen."""

from __future__ import annotations

import logging

from eozoo_core.errors import ZooError
from torch import nn

from eozoo_prithvi_refine.encoder import PrithviEncoder
from eozoo_prithvi_refine.frozen import freeze_linear
from eozoo_prithvi_refine.settings import ModelSettings
from eozoo_prithvi_refine.shapes import store_shapes

TARGETS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # never the patch embedding, whose name also ends in proj


def adapt(encoder: PrithviEncoder, settings: ModelSettings) -> None:
    """Quantise, add adapters, and leave trainable what ``settings`` says; in place, on the CPU.

    Blocks to be unfrozen are never quantised: 8-bit numbers have no gradient. Adding adapters freezes everything else.
    An encoder of shapes alone stays one: its frozen layers get the shapes that quantised ones have.
    """
    # It logs an optional accelerator that is not installed.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    shapes = next(encoder.parameters()).is_meta
    kind = "none" if shapes else settings.quantization
    trained = train_own(encoder, settings)
    if settings.freeze_base:
        for block in encoder.blocks[: len(encoder.blocks) - len(trained)]:
            freeze(block, kind)
    if settings.use_lora:
        _add_lora(encoder, settings, kind)
        train_own(encoder, settings)
    if shapes:
        store_shapes(encoder, settings.quantization)
    encoder.checkpointing = settings.gradient_checkpointing


def train_own(encoder: PrithviEncoder, settings: ModelSettings) -> list[nn.Module]:
    """Leave trainable which of the encoder's own weights ``settings`` says; return the blocks that are unfrozen.

    Adapters stay trainable. Raises ZooError for more blocks than the encoder has.
    """
    depth, last = len(encoder.blocks), settings.unfreeze_last_n_blocks
    if last > depth:
        raise ZooError(f"model.unfreeze_last_n_blocks {last}: {settings.encoder} has {depth} blocks")
    for name, weight in encoder.named_parameters():
        if "lora_" not in name:
            weight.requires_grad_(not settings.freeze_base)
    trained = list(encoder.blocks[depth - last :])
    for block in trained:
        block.requires_grad_(True)
    return trained


def freeze(block: nn.Module, kind: str) -> None:
    """Replace the block's linear layers by frozen ones of 8 bit, 4 bit (nf4) or their own numbers ("none")."""
    for target in TARGETS:
        parent, _, name = target.rpartition(".")
        owner = block.get_submodule(parent)
        setattr(owner, name, freeze_linear(getattr(owner, name), kind))


def merge(encoder: PrithviEncoder) -> None:
    """Fold the adapters into the weights they adapt, for a file of plain weights. Only where nothing is quantised."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(encoder.get_submodule(parent), child, layer.get_base_layer())


def _add_lora(encoder: PrithviEncoder, settings: ModelSettings, kind: str) -> None:
    """Insert adapters in place; names stay ``blocks.i.attn.qkv.base_layer`` and ``...lora_A.default``."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        bias="none",
        target_modules=list(TARGETS),
    )
    # Without this peft takes a quantised layer for a plain one; with it, it knows how to merge.
    encoder.is_loaded_in_8bit = kind == "int8"
    encoder.is_loaded_in_4bit = kind == "nf4"
    inject_adapter_in_model(config, encoder)
