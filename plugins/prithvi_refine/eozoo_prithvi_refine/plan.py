"""What ``train --dry-run`` prints: tiles, parameters, steps, and the memory that a step will take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.task import Network, Plan, Port
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.memory import StepMemory, step_memory
from eozoo_core.train.schedule import plan_steps

from eozoo_prithvi_refine.adapters import adapt
from eozoo_prithvi_refine.discriminator import PatchDiscriminator, patch_weight
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.frozen import PlainLinear, frozen_product, piece_rows, stored_int8
from eozoo_prithvi_refine.losses import least_squares
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.scoring import Criterion, valid_pixels
from eozoo_prithvi_refine.settings import BANDS, ModelSettings
from eozoo_prithvi_refine.training import make_criterion, splits_of

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_prithvi_refine.settings import PrithviSettings


def plan(settings: PrithviSettings, registry: Registry) -> Plan:
    """Look at data and model without training; nothing large is built."""
    splits = splits_of(settings)
    train = settings.train
    batch = min(train.batch_size, len(splits["train"]))
    times = plan_steps(train, len(splits["train"]))
    model = skeleton(settings.model)
    judge = PatchDiscriminator() if train.adversarial_weight > 0 else torch.nn.Identity()
    device = resolve_device(settings.runtime.device)
    memory = memory_of(settings, make_criterion(settings, registry), batch, device)
    notes = [
        f"base: {settings.model.encoder}, {settings.model.quantization}, weights {settings.model.weights or 'random'}"
    ]
    if settings.runtime.stage1_dir is None:
        notes.append("input: the target, degraded (runtime.stage1_dir is not given)")
    data = {name: f"{len(tiles)} tiles" for name, tiles in splits.items()}
    return Plan.of(data, [model, judge], times, memory, notes)


def describe(model: ModelSettings, units: dict[str, str], run: Run | None) -> Network:
    """Return what the refiner takes and gives, ``units`` of every output; see ``Task.network``."""
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


def memory_of(settings: PrithviSettings, criterion: Criterion, batch: int, device: str) -> StepMemory | None:
    """Return the memory of a step on ``batch`` tiles of ``data.tile_size``: generator, losses and discriminator."""
    size, weight = settings.data.tile_size, settings.train.adversarial_weight
    network = as_stored(skeleton(settings.model), settings.model.quantization)
    network.head.guards = lambda _: device.startswith("cuda")  # there the head is computed again in backward
    judge = [PatchDiscriminator().to("meta")] if weight > 0 else []

    def work(networks: list[Any]) -> None:
        refiner, judge = networks[0], networks[1] if len(networks) > 1 else None
        codes = torch.empty(batch, dtype=torch.long)
        pairs = torch.empty(batch, 2)
        image, target = (torch.empty(batch, 4, size, size) for _ in range(2))
        refined, _ = refiner(image, codes, codes, pairs, pairs)
        valid = valid_pixels(image, target)
        loss, _ = criterion(refined, image, target, valid)
        if judge is not None:
            judge.requires_grad_(False)
            scores = judge(torch.where(valid[:, None], refined.float(), 0.0))
            judge.requires_grad_(True)
            loss = loss + weight * least_squares(scores, 1.0, patch_weight(valid, scores))
        loss.sum().backward()
        if judge is not None:
            made = judge(torch.cat([target, refined.detach()]))
            least_squares(made, 0.0, torch.ones_like(made)).sum().backward()

    return step_memory([network, *judge], work, settings.train, device)


def skeleton(model: ModelSettings) -> PrithviRefiner:
    """Build the model on the meta device, unquantised: shapes without numbers."""
    plain = model.model_copy(update={"quantization": "none"})
    with torch.device("meta"):
        encoder = None if model.encoder == "none" else build_encoder(model.encoder)
        if encoder is not None:
            adapt(encoder, plain)
        return PrithviRefiner(plain, encoder)


def as_stored(refiner: PrithviRefiner, kind: str) -> PrithviRefiner:
    """Give a skeleton's frozen linear layers the bytes that ``model.quantization`` gives them; in place."""
    if kind != "none":
        for module in list(refiner.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, PlainLinear):
                    with torch.device("meta"):
                        setattr(module, name, _Shape(child, kind))
    return refiner


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
