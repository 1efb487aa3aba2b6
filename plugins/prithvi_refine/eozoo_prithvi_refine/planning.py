"""What ``train --dry-run`` prints: tiles, parameters, steps, and the memory that a step will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from eozoo_core.memory import saved_activations
from eozoo_core.position import Timetable
from eozoo_core.task import Network, Plan, Port

from eozoo_prithvi_refine.adapt import TARGETS, adapt
from eozoo_prithvi_refine.discriminator import PatchDiscriminator
from eozoo_prithvi_refine.encoder import PrithviEncoder, build_encoder
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import BANDS, ModelSettings
from eozoo_prithvi_refine.training import splits_of

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_prithvi_refine.settings import PrithviSettings, PrithviTrainSettings
    from eozoo_prithvi_refine.task import PrithviRefine

# Bytes per weight: int8 has one scale a row beside it, nf4 half a byte and doubly quantised scales of 64 weights.
_BYTES = {"int8": 1.0, "nf4": 0.5 + 0.127 / 8, "none": 4.0}


def plan(settings: PrithviSettings) -> Plan:
    """Look at data and model without training; nothing large is built."""
    splits = splits_of(settings)
    train = settings.train
    batch = min(train.batch_size, len(splits["train"]))
    times = Timetable(len(splits["train"]) // batch, train)
    model = skeleton(settings.model)
    judge = PatchDiscriminator() if train.adversarial_weight > 0 else torch.nn.Identity()
    both = [*model.parameters(), *judge.parameters()]
    notes = [
        f"base: {settings.model.encoder}, {settings.model.quantization}, weights {settings.runtime.weights or 'random'}"
    ]
    if settings.runtime.stage1_dir is None:
        notes.append("input: the target, degraded (runtime.stage1_dir is not given)")
    return Plan(
        data={name: f"{len(tiles)} tiles" for name, tiles in splits.items()},
        parameters=sum(p.numel() for p in both),
        trainable=sum(p.numel() for p in both if p.requires_grad),
        steps_per_epoch=times.per_epoch,
        total_steps=times.total,
        memory_bytes=step_memory(settings.model, train, settings.data.tile_size, batch),
        notes=tuple(notes),
    )


def describe(task: PrithviRefine, run: Run | None) -> Network:
    """Return what the refiner takes and gives; see ``Task.network``."""
    model, units = task.settings.model, task.outputs()
    network = skeleton(model)
    statistics = [tuple((values.flatten()).tolist()) for values in _input_statistics()]
    weights = None if run is None else run.info().get("weights")
    return Network(
        architecture="ConvNeXt head" if model.encoder == "none" else f"{model.encoder} with a ConvNeXt head",
        parameters=sum(p.numel() for p in network.parameters()),
        inputs=(
            Port("opt_v1", "B 4 H W", "reflectance 0..1", BANDS, *statistics),
            Port("month", "B", "1..12", dtype="int64"),
            Port("biome", "B", "0..16", dtype="int64"),
        ),
        outputs=(
            Port("refined", "B 4 H W", units["refined"], BANDS),
            Port("features", f"B {model.head_width} H W", units["features"]),
        ),
        pretrained=None if weights is None or weights.startswith("random") else weights,
    )


def _input_statistics() -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the four bands in reflectance 0..1, as the refiner holds them."""
    bare = PrithviRefiner(ModelSettings(encoder="none"), None)
    return bare.mean, bare.std


def step_memory(model: ModelSettings, train: PrithviTrainSettings, size: int, batch: int) -> int:
    """Return the bytes of weights, gradients, optimiser and saved activations of a step on ``batch`` tiles of ``size``.

    Shapes are followed on torch's meta device through the unquantised model; frozen linear layers are then counted at
    their quantised size. Under mixed precision activations count half; the discriminator's are left out (it is small
    and works after the generator's are freed). Workspace of the libraries comes on top.
    """
    network = skeleton(model).train()
    weights = sum(p.numel() * 4 for p in network.parameters()) + sum(b.numel() * 4 for b in network.buffers())
    if network.encoder is not None and model.quantization != "none":
        weights -= round(_quantised_weights(network.encoder, model) * (4 - _BYTES[model.quantization]))
    trained = sum(p.numel() * 4 for p in network.parameters() if p.requires_grad)
    if train.adversarial_weight > 0:
        judge = sum(p.numel() * 4 for p in PatchDiscriminator().parameters())
        weights, trained = weights + judge, trained + judge
    codes = torch.zeros(batch, dtype=torch.long)
    activations = saved_activations(network, (torch.zeros(batch, 4, size, size), codes, codes))
    if train.precision != "fp32":
        activations //= 2
    states = {"adam": 2, "adamw": 2, "sgd": 1 if train.momentum else 0}[train.optimizer]
    return weights + trained * (1 + states) + activations


def skeleton(model: ModelSettings) -> PrithviRefiner:
    """Build the model on the meta device, unquantised: shapes without numbers."""
    plain = model.model_copy(update={"quantization": "none"})
    with torch.device("meta"):
        encoder = None if model.encoder == "none" else build_encoder(model.encoder)
        if encoder is not None:
            adapt(encoder, plain)
        return PrithviRefiner(plain, encoder)


def _quantised_weights(encoder: PrithviEncoder, model: ModelSettings) -> int:
    """How many weights are stored quantised: the linear layers of the blocks that are not unfrozen."""
    dim, blocks = encoder.variant.embed_dim, len(encoder.blocks) - model.unfreeze_last_n_blocks
    per_block = {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 4, "mlp.fc2": 4}
    return blocks * sum(per_block[t] for t in TARGETS) * dim * dim
