"""prithvi_refine: time and memory of a training step at 120 x 120 px, batch 1, with discriminator; and of inference.

Each row runs in a process of its own. ``resident`` is the peak above that of the imports (on a GPU: allocated), beside
what ``train --dry-run`` predicts; ``step`` is what forward and backward allocate at most, by torch's own record, beside
its prediction. ``python -m benchmarks.bench_prithvi 100 300 600`` measures those sizes (random weights; the 600M takes
3 GB); with ``write`` they go to ``benchmarks/results/prithvi_speed.json``; on a GPU also the batch of best throughput.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.__main__ import _cpu
from benchmarks.tools import in_process

PLAIN, EIGHT, FOUR = ({"quantization": kind} for kind in ("none", "int8", "nf4"))
BF16, CHECKPOINTED, FROZEN = {"precision": "bf16-mixed"}, {"gradient_checkpointing": True}, {"use_lora": False}
ROWS = {
    "fp32": PLAIN,
    "bf16": PLAIN | BF16,
    "bf16, no LoRA": PLAIN | BF16 | FROZEN,
    "bf16, checkpointing": PLAIN | BF16 | CHECKPOINTED,
    "8 bit, fp32": EIGHT,
    "8 bit, bf16": EIGHT | BF16,
    "8 bit, bf16, no LoRA": EIGHT | BF16 | FROZEN,
    "8 bit, bf16, checkpointing": EIGHT | BF16 | CHECKPOINTED,
    "4 bit, bf16": FOUR | BF16,
    "4 bit, bf16, no LoRA": FOUR | BF16 | FROZEN,
    "4 bit, bf16, checkpointing": FOUR | BF16 | CHECKPOINTED,
}
SIZES = ("tiny", "100", "300", "600")
RESULTS = Path(__file__).with_name("results") / "prithvi_speed.json"
STEPS = 3
BATCHED = 4


def main() -> None:
    """Print the table; the document's figures stand below it."""
    named = [a for a in sys.argv[1:] if a in SIZES]
    print(f"{'':34s} samples/s  tiles/s by 1 and {BATCHED}   resident MB predicted   step MB predicted")
    found: dict[str, Any] = {"machine": f"{_cpu()}, one thread", "tile": 120, "batch": 1, "rows": {}}
    for size in named or SIZES[:1]:
        for name, changes in ROWS.items():
            row = _row({"encoder": f"prithvi_eo_v2_{size}", **changes})
            found["rows"].setdefault(size, {})[name] = row
            print(
                f"{size:5s}{name:29s} {row['samples_per_s']:9.2f} {row['tiles_per_s_by_1']:10.2f} "
                f"{row['tiles_per_s_by_4']:9.2f}  {row['resident_mb']:11.0f} {row['resident_mb_predicted']:9.0f} "
                f"{row['step_mb']:9.0f} {row['step_mb_predicted']:9.0f}",
                flush=True,
            )
            if row["device"] == "cuda":
                found["machine"] = row["machine"]
    if "write" in sys.argv[1:]:
        before = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(found | {"rows": before | found["rows"]}, indent=1) + "\n")
    if found["machine"].startswith("NVIDIA"):
        _batches()
    print("document: 50-80 samples/s on RTX 3060 / 4060 Ti, 8-10 GB for training (its own benchmark timed a stand-in)")


def _row(changes: dict[str, Any]) -> dict[str, Any]:
    return json.loads(in_process("benchmarks.bench_prithvi", json.dumps(changes)).splitlines()[-1])


def _batches() -> None:
    for batch in (1, 2, 4, 8, 16, 32, 64):
        row = _row({"encoder": "prithvi_eo_v2_600", **EIGHT, **BF16, "batch": batch})
        print(
            f"600M int8 bf16, batch {batch:3d}: {row['samples_per_s']:8.1f} samples/s, {row['resident_mb']:.0f} MB",
            flush=True,
        )


def child(changes: dict) -> None:
    """Measure one configuration and print it as JSON."""
    import torch
    from eozoo.registry import Registry
    from eozoo.testing.watch import allocated_by
    from eozoo_prithvi_refine.encoder import build_encoder
    from eozoo_prithvi_refine.settings import ModelSettings, PrithviSettings, PrithviTrainSettings
    from eozoo_prithvi_refine.system import RefineSystem
    from eozoo_prithvi_refine.task import PrithviRefine
    from lightning_fabric import Fabric

    torch.set_num_threads(1)
    batch, precision = changes.pop("batch", 1), changes.pop("precision", "fp32")
    train = PrithviTrainSettings(precision=precision, accumulate=1, batch_size=batch)
    task = PrithviRefine(PrithviSettings(model=ModelSettings(**changes), train=train), Registry.discover())
    cuda = torch.cuda.is_available()
    device = "cuda" if cuda else "cpu"
    fabric = Fabric(accelerator=device, devices=1, precision=_fabric_precision(precision))
    import bitsandbytes  # noqa: F401 - counted among the imports
    import peft  # noqa: F401

    watch = Peak(cuda)
    torch.manual_seed(0)
    system = RefineSystem(task.settings.model, build_encoder(task.settings.model.encoder))
    system.adapt()
    watch.forget()  # the plain weights were passed through; a run does that once
    step, batches = _step(fabric, task, system, batch)
    seconds = _seconds(lambda: step(batches, 0), cuda)
    peak, allocated = watch.peak(), allocated_by(lambda: step(batches, 0)) if not cuda else 0
    plan = _plan(task, batch)
    system.eval()
    print(
        json.dumps(
            {
                "samples_per_s": round(batch / seconds, 3),
                "tiles_per_s_by_1": round(1 / _inference(fabric, system, batches[0], 1, cuda), 3),
                "tiles_per_s_by_4": round(BATCHED / _inference(fabric, system, batches[0], BATCHED, cuda), 3),
                "resident_mb": round(peak / 1e6),
                "resident_mb_predicted": round(plan.memory_bytes / 1e6),
                "step_mb": round(allocated / 1e6, 1),
                "step_mb_predicted": round(plan.memory_parts["gradients and activations"] / 1e6, 1),
                "device": device,
                "machine": torch.cuda.get_device_name() if cuda else "",
            }
        )
    )


def _seconds(work: Any, cuda: bool) -> float:
    """Median of a few repeats after one to warm up; on a CPU one thread's own time: others may use the machine."""
    import torch

    clock, times = time.perf_counter if cuda else time.thread_time, []
    for _ in range(1 + STEPS):
        started = clock()
        work()
        if cuda:
            torch.cuda.synchronize()
        times.append(clock() - started)
    return statistics.median(times[1:])


def _inference(fabric: Any, system: Any, sample: dict, count: int, cuda: bool) -> float:
    import torch

    arrays = {n: v[:1].expand(count, *v.shape[1:]).contiguous() for n, v in sample.items() if hasattr(v, "shape")}
    with torch.no_grad(), fabric.autocast():
        return _seconds(lambda: system.raw(system.stage(arrays)), cuda)


def _step(fabric: Any, task: Any, system: Any, batch: int) -> tuple[Any, list[dict]]:
    import torch
    from eozoo_core import Run
    from eozoo_core.task.train import Trainer

    survey, run = task.Survey(), Run(Path(), "prithvi_refine", task.settings)
    trainer = Trainer(run, fabric, system, task.loss(survey), survey, None)
    task.optimizers(trainer)
    image = 0.3 * torch.rand(batch, 4, 120, 120)
    codes = {"month": torch.full((batch,), 6.0), "biome": torch.full((batch,), 4.0)}
    codes |= {name: torch.full((batch, 2), torch.nan) for name in ("time", "location")}
    sample = {"opt_v1": image, "target": 0.3 * torch.rand(batch, 4, 120, 120), **codes}
    micro = fabric.to_device(sample) | {"count": batch}
    return task.step(trainer), [micro]


def _plan(task: Any, batch: int) -> Any:
    """What ``train --dry-run`` says of such a step: it wants tiles, of which it reads shapes."""
    from eozoo_core import Run
    from eozoo_prithvi_refine.demo.landscape import write_world

    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder), size=120, train=batch, held_out=1)
        runtime = task.settings.runtime.model_copy(update={"data_dir": world.data_dir})
        settings = task.settings.model_copy(update={"runtime": runtime})
        return type(task)(settings, task.registry).plan(Run(Path(folder), "prithvi_refine", settings))


class Peak:
    """Peak memory since the start or the last ``forget``: resident size sampled every 5 ms, or the GPU's own count."""

    def __init__(self, cuda: bool):
        self._cuda, self._base, self._top = cuda, _resident(), 0
        self._lock = threading.Lock()
        if not cuda:
            threading.Thread(target=self._sample, daemon=True).start()

    def forget(self) -> None:
        """Begin anew."""
        import gc

        gc.collect()
        _trim()
        with self._lock:
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
            with self._lock:  # else a size from before ``forget`` could be kept after it
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
