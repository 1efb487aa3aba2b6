"""Stages of benchmarks.gpu that train: each system by its own verb, quantised steps, the fallback, the loaders."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from eozoo.registry import Registry
from eozoo_core.run.directory import Run
from eozoo_core.train.precision import is_fast, resolve_precision

from benchmarks.gpu_rates import Tell, seconds_of
from benchmarks.gpu_world import World, difference, watched

# Of a step of the 600M in 8 bit, on an RTX 3060 or 4060 Ti.
DOCUMENTED = {"samples_per_s": [50, 80], "memory_gb": [8, 10]}
# Beside the demo's: every part that has a state, small.
_CHANGES = {
    "gedi_sparse": ("train.batch_size=4",),
    "barlow_twins": ("train.batch_size=64", "data.augment.mixup=0.5"),
    "clay_ta": ("train.batch_size=64", "model.encoder=clay_micro", "model.lora_rank=4"),
    "prithvi_refine": ("train.batch_size=4", "train.adversarial_weight=0.05", "train.validate_every=1"),
}
_LOADED = {
    "gedi_sparse": ("train.batch_size=16", "data.crops_per_patch=64", "data.crop=96", "model.options.width=64"),
    "barlow_twins": ("train.batch_size=128",),
    "clay_ta": ("train.batch_size=128", "model.encoder=clay_small", "model.lora_rank=4"),
}


def train(device: str, tiny: bool, tell: Tell, name: str) -> None:
    """Train the system ``name`` on its demo's data in every precision: twice alike, and once killed and continued.

    Tells the best validation loss, seconds, the peak of memory beside what ``--dry-run`` predicts, and the largest
    difference of any weight from the first training: of the second one ("again") and of the continued one ("resumed").
    Deterministic algorithms are asked for. Raises ValueError where the continued one differs and the second does not.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    steps, differs = 7 if tiny else 24, []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), name, device, tiny)
        for precision in [kind for kind in ("fp32", "bf16-mixed", "fp16-mixed") if is_fast(kind, device)]:
            changes = (*_CHANGES[name], f"train.steps={steps}", f"train.precision={precision}")
            began = time.perf_counter()
            whole = world.run(f"{precision}-whole", changes)
            told, memory = {"seconds": round(time.perf_counter() - began, 2)}, world.memory(changes)
            again, resumed = world.run(f"{precision}-again", changes), world.killed(f"{precision}-killed", changes)
            told |= {"best_val": whole.load("best")["best_val"], "step": whole.load("current")["step"], **memory}
            told |= {"again": difference(whole, again), "resumed": difference(whole, resumed)}
            tell(**{precision: told})
            differs += [precision] if told["resumed"] > told["again"] else []
    if differs:
        raise ValueError(f"killed and continued differs from uninterrupted in {', '.join(differs)}")


def lora(device: str, tiny: bool, tell: Tell, kind: str) -> None:
    """Tell samples a second and peak memory of a step of Prithvi 600M in 8 or 4 bit with LoRA, at 120 px.

    Its weights are random: published ones are not brought along. Beside it stand the document's numbers. Also how far
    the frozen product is from that on the CPU, which must be what rounding explains.
    """
    from eozoo_core.task.train import Trainer
    from eozoo_core.train.launch import without_torchmetrics
    from eozoo_core.train.precision import step_plugin
    from eozoo_prithvi_refine.encoder import build_encoder
    from eozoo_prithvi_refine.frozen import freeze_linear
    from eozoo_prithvi_refine.settings import ModelSettings, PrithviSettings, PrithviTrainSettings
    from eozoo_prithvi_refine.system import RefineSystem
    from eozoo_prithvi_refine.task import PrithviRefine

    with without_torchmetrics():
        from lightning_fabric import Fabric
    place = torch.device(device)
    layer, x = freeze_linear(torch.nn.Linear(256, 320), kind), torch.randn(8, 256)
    here = layer(x)
    far = float((layer.to(place)(x.to(place)).cpu() - here).abs().max() / here.abs().max())
    tell(weights="random: none were given", document=DOCUMENTED, product_beside_cpu=float(f"{far:.2e}"))
    if far > 1e-4:
        raise ValueError(f"the frozen product is {far:.2e} from that on the CPU")
    name = "prithvi_eo_nano" if tiny else "prithvi_eo_v2_600"
    precision = resolve_precision("auto", device)
    plugin = step_plugin(precision, place.type)
    fabric = Fabric(accelerator=place.type, devices=1, plugins=[plugin] if plugin else [])
    settings = PrithviSettings(
        model=ModelSettings(encoder=name, quantization=kind),
        train=PrithviTrainSettings(precision=precision, accumulate=1, batch_size=1),
    )
    task, began = PrithviRefine(settings, Registry.discover()), time.perf_counter()
    system = RefineSystem(settings.model, build_encoder(name))
    system.adapt()
    tell(encoder=name, precision=precision, seconds_to_build=round(time.perf_counter() - began, 1))
    survey = task.Survey()
    trainer = Trainer(Run(Path(), "prithvi_refine", settings), fabric, system, task.loss(survey), survey, None)
    task.optimizers(trainer)
    step = task.step(trainer)
    for batch in (1, 2) if tiny else (1, 4, 16, 32):
        tiles = [fabric.to_device(_tiles(batch, 56 if tiny else 120)) | {"count": batch}]
        if place.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place)
        taken = seconds_of(lambda tiles=tiles: step(tiles, 0), place, 0.1 if tiny else 2.0)
        told = {"samples_per_s": round(batch / taken, 2)}
        if place.type == "cuda":
            told["memory_gb"] = round(torch.cuda.max_memory_allocated(place) / 1e9, 2)
        tell(**{f"batch_{batch}": told})


def out_of_memory(device: str, tiny: bool, tell: Tell) -> None:
    """Fill the device's memory and see the head of prithvi_refine go on on the CPU, forward and backward.

    Tells how often it stepped in (2 are right: once forward, once backward) and how far outputs and gradients are from
    those with memory. On a CPU, which has no such end, the head is made to fail instead. Raises ValueError where it did
    not step in, or differs by more than 1e-3 of the largest value.
    """
    from eozoo_prithvi_refine.convnext import ConvNeXtHead
    from eozoo_prithvi_refine.fallback import Fallback

    torch.manual_seed(0)
    place, side = torch.device(device), 16 if tiny else 512
    guard = Fallback(ConvNeXtHead(24, 64, 4, 0.0)).to(place).train()
    torch.nn.init.normal_(guard.head.change.weight)  # it begins at zero
    guard.runs_on(torch.device("cuda"))
    x = torch.rand(4, 24, side, side, device=place, requires_grad=True)
    keep = guard.head.draw(4, place)
    wanted = _results(guard, x, keep)
    if (count := guard.take()) != 0:
        raise ValueError(f"the CPU stepped in {count} times while there was memory")
    tell(simulated=place.type != "cuda")
    outputs = sum(values.nbytes for values in wanted[:2])
    filled = _fill(place, 3 * outputs) if place.type == "cuda" else _failing(guard)
    found = _results(guard, x, keep)
    far = [float(((a - b).abs().max() / a.abs().max().clamp(min=1e-12)).cpu()) for a, b in zip(wanted, found)]
    steps = guard.take()
    tell(filled_gb=round(sum(part.nbytes for part in filled) / 1e9, 2), left_gb=round(3 * outputs / 1e9, 2),
         stepped_in=steps, largest_difference=float(f"{max(far):.2e}"))  # fmt: skip
    if steps != 2 or max(far) > 1e-3:
        raise ValueError(f"the CPU stepped in {steps} times and the largest difference is {max(far):.2e}")


def loaders(device: str, tiny: bool, tell: Tell) -> None:
    """Tell the loaders' share of a step: how much faster training is when one batch is given again and again.

    Seconds from step 5 to the last of an epoch, by the product's own training with the workers that it takes by
    itself. Goal: under 0.02. Loading and steps overlap, so the share is of what a step waits for.
    """
    place = torch.device(device)
    for name in ("barlow_twins",) if tiny else _LOADED:
        with tempfile.TemporaryDirectory() as folder:
            world = World(Path(folder), name, device, tiny)
            changes = (*(_CHANGES if tiny else _LOADED)[name], "train.epochs=1")
            taken = {}
            for kind in ("loaded", "given"):
                with watched(place, kind == "given") as stamps:
                    world.run(kind, changes, own_workers=True)
                first = min(5, len(stamps) // 2)
                taken[kind] = (stamps[-1] - stamps[first]) / (len(stamps) - 1 - first)
            share = max(0.0, 1 - taken["given"] / taken["loaded"])
            tell(**{name: {"share": round(share, 4), "steps": len(stamps),
                           **{f"ms_{kind}": round(1000 * value, 3) for kind, value in taken.items()}}})  # fmt: skip


def _tiles(count: int, side: int) -> dict[str, torch.Tensor]:
    image = {name: 0.3 * torch.rand(count, 4, side, side) for name in ("opt_v1", "target")}
    return image | {"month": torch.full((count,), 6.0), "biome": torch.full((count,), 4.0)}


def _results(guard: Any, x: torch.Tensor, keep: torch.Tensor) -> list[torch.Tensor]:
    """Outputs, and gradients of the input and of every parameter, on the CPU."""
    features, change = guard(x, keep)
    out = [features.detach().cpu(), change.detach().cpu()]
    wanted = [x, *guard.head.parameters()]
    found = torch.autograd.grad([features, change], wanted, [torch.ones_like(features), torch.ones_like(change)])
    return out + [gradient.cpu() for gradient in found]


def _fill(place: torch.device, leave: int) -> list[torch.Tensor]:
    """Take the device's memory in plain pieces until about ``leave`` bytes are free."""
    torch.cuda.empty_cache()
    held: list[torch.Tensor] = []
    for size in (1 << 30, 1 << 26, 1 << 23):
        while torch.cuda.mem_get_info(place)[0] > leave + size:
            held.append(torch.empty(size, dtype=torch.uint8, device=place))
    return held


def _failing(guard: Any) -> list[torch.Tensor]:
    def fail(x: torch.Tensor, keep: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("simulated")

    guard.on_device = fail
    return []
