"""prithvi_refine: time and memory of a training step at 120 x 120 px, batch 1, with discriminator.

Each row runs in a process of its own: samples per second, peak memory above that of the imports (resident on a CPU,
allocated on a GPU), and what ``train --dry-run`` predicts. ``python -m benchmarks.bench_prithvi 600`` adds
the 600M model with random weights, int8 and LoRA (a few minutes and 6 GB); on a GPU also the batch size of best
throughput.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import threading
import time

from benchmarks.tools import in_process

BASELINE = {"encoder": "prithvi_eo_v2_tiny", "quantization": "none"}
ROWS = {
    "tiny fp32": {},
    "tiny int8": {"quantization": "int8"},
    "tiny nf4": {"quantization": "nf4"},
    "tiny bf16": {"precision": "bf16-mixed"},
    "tiny int8 no LoRA": {"quantization": "int8", "use_lora": False},
    "tiny int8 checkpointing": {"quantization": "int8", "gradient_checkpointing": True},
    "tiny no discriminator": {"adversarial_weight": 0},
}
LARGE = {
    "600M int8 LoRA fp32": {"encoder": "prithvi_eo_v2_600", "quantization": "int8"},
    "600M int8 LoRA bf16 ckpt": {
        "encoder": "prithvi_eo_v2_600",
        "quantization": "int8",
        "precision": "bf16-mixed",
        "gradient_checkpointing": True,
    },
}
STEPS = 3


def main() -> None:
    """Print the table; the document's figures stand below it."""
    large = sys.argv[-1] == "600"
    rows = {**ROWS, **(LARGE if large else {})}
    print(f"{'':26s} samples/s  vs fp32   peak MB  predicted MB")
    first = None
    for name, changes in rows.items():
        found = json.loads(in_process("benchmarks.bench_prithvi", json.dumps({**BASELINE, **changes})).splitlines()[-1])
        first = first or found["rate"]
        ratio = f"{found['rate'] / first:6.2f}x" if name.startswith("tiny") else "       "
        print(
            f"{name:26s} {found['rate']:9.2f}  {ratio} {found['peak'] / 1e6:9.0f} {found['predicted'] / 1e6:13.0f}",
            flush=True,
        )
    if found["device"] == "cuda":
        _batches()
    print("document: 50-80 samples/s on RTX 3060 / 4060 Ti, 8-10 GB for training (its own benchmark timed a stand-in)")


def _batches() -> None:
    for batch in (1, 2, 4, 8, 16, 32, 64):
        changes = {"encoder": "prithvi_eo_v2_600", "quantization": "int8", "precision": "bf16-mixed", "batch": batch}
        found = json.loads(in_process("benchmarks.bench_prithvi", json.dumps(changes)).splitlines()[-1])
        print(
            f"600M int8 bf16, batch {batch:3d}: {found['rate']:8.1f} samples/s, {found['peak'] / 1e9:.2f} GB",
            flush=True,
        )


def child(changes: dict) -> None:
    """Measure one configuration and print it as JSON."""
    import torch
    from eozoo_prithvi_refine.adapt import adapt
    from eozoo_prithvi_refine.encoder import build_encoder
    from eozoo_prithvi_refine.planning import step_memory
    from eozoo_prithvi_refine.refiner import PrithviRefiner
    from eozoo_prithvi_refine.settings import ModelSettings, PrithviSettings, PrithviTrainSettings
    from lightning_fabric import Fabric

    batch, precision = changes.pop("batch", 1), changes.pop("precision", "fp32")
    train = PrithviTrainSettings(precision=precision, adversarial_weight=changes.pop("adversarial_weight", 0.05))
    settings = PrithviSettings(model=ModelSettings(**changes), train=train)
    cuda = torch.cuda.is_available()
    fabric = Fabric(accelerator="cuda" if cuda else "cpu", devices=1, precision=_fabric_precision(precision))
    import bitsandbytes  # noqa: F401 - counted among the imports
    import peft  # noqa: F401

    watch = Peak(cuda)
    torch.manual_seed(0)
    encoder = build_encoder(settings.model.encoder)
    adapt(encoder, settings.model)
    refiner = PrithviRefiner(settings.model, encoder)
    watch.forget()  # quantising passes through the unquantised weights; a run does that once
    step, batches = _step(fabric, settings, refiner, batch)
    clock = time.perf_counter if cuda else time.thread_time  # one thread's own time: others may use the machine
    times = []
    for i in range(1 + STEPS):
        started = clock()
        step(batches, i)
        if cuda:
            torch.cuda.synchronize()
        times.append(clock() - started)
    predicted = step_memory(settings.model, settings.train, 120, batch)
    rate = batch / statistics.median(times[1:])
    print(json.dumps({"rate": rate, "peak": watch.peak(), "predicted": predicted, "device": "cuda" if cuda else "cpu"}))


def _step(fabric, settings, refiner, batch):
    import torch
    from eozoo.registry import Registry
    from eozoo_core.optim import make_optimizer
    from eozoo_prithvi_refine.training import Adversary, Step, make_criterion

    model, optimizer = fabric.setup(refiner, make_optimizer(refiner.parameters(), settings.train))
    adversary = Adversary(fabric, settings) if settings.train.adversarial_weight else None
    criterion = make_criterion(settings, Registry.discover())
    image = 0.3 * torch.rand(batch, 4, 120, 120)
    codes = {"month": torch.full((batch,), 6), "biome": torch.full((batch,), 4)}
    sample = {"image": image, "target": 0.3 * torch.rand(batch, 4, 120, 120), **codes}
    micro = fabric.to_device(sample) | {"count": batch}
    return Step(fabric, settings, {"model": model, "optimizer": optimizer}, criterion, adversary, refiner), [micro]


class Peak:
    """Peak memory since the start or the last ``forget``: resident size sampled every 5 ms, or the GPU's own count."""

    def __init__(self, cuda: bool):
        self._cuda, self._base, self._top = cuda, _resident(), 0
        if not cuda:
            threading.Thread(target=self._sample, daemon=True).start()

    def forget(self) -> None:
        """Begin anew."""
        import gc

        gc.collect()
        _trim()
        self._top = 0
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the bytes above the imports."""
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated()
        return max(self._top, _resident()) - self._base

    def _sample(self) -> None:
        while True:
            self._top = max(self._top, _resident())
            time.sleep(0.005)


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - read two hundred times a second
        return int(file.read().split()[1]) * resource.getpagesize()


def _trim() -> None:
    """Give freed memory back to the system, so that resident memory is what is in use (glibc only)."""
    import ctypes

    ctypes.CDLL(None).malloc_trim(0)


def _fabric_precision(name: str) -> str:
    return {"fp32": "32-true", "bf16-mixed": "bf16-mixed", "fp16-mixed": "16-mixed"}[name]


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        child(json.loads(sys.argv[1]))
    else:
        main()
