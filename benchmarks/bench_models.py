"""Every registered model at its default options: time and memory of a forward pass and of a training step.

``python -m benchmarks models`` prints a table; with ``--write`` it writes benchmarks/results/models.json, which the
models' cards quote (a test compares). Each model runs in a process of its own with random weights and one thread:
CPU seconds, and peak resident memory above that of the imports, the model's weights included. A training step is
forward, sum of squares of all outputs, backward; no optimiser.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

from benchmarks.tools import in_process

RESULTS = Path(__file__).parent / "results" / "models.json"
# Shapes of the inputs in the order in which the model takes them; an integer is the largest value of a code.
SHAPES = {
    "btfm": [(256, 16, 11), (256, 16, 366)],
    "clay": [(32, 16, 24, 24), (32, 4), (32, 4), (1,), (16,)],
    "context_net": [(1, 14, 256, 256)],
    "galileo_nano": [(1, 12, 128, 128)] * 3,
    "forest": [(1, 4, 64, 64)],
    "gedi_unet": [(1, 14, 256, 256)],
    "timm_unet": [(1, 14, 256, 256)],
    "unet": [(1, 4, 256, 256)],
    "residual_cnn": [(1, 4, 256, 256)],
    "linear": [(262_144, 4)],
    "mlp": [(262_144, 4)],
    "patch_discriminator": [(1, 4, 120, 120)],
    "presto_series": [(1024, 16, 10), (1024, 16, 366)],
    "presto": [(1024, 48), (1024, 48)],
    "prithvi_dense": [(1, 14, 256, 256)],
    "prithvi_refiner": [(1, 4, 120, 120), (1, 12), (1, 16)],
    "prithvi_eo": [(1, 6, 224, 224)],
    "quantile_forest": [(1, 4, 64, 64)],
}
_YEAR = [(f"B{band}_{month}", "reflectance 0..1") for month in range(12) for band in (2, 3, 4, 8)]
OPTIONS = {"presto": {"columns": _YEAR}}
CODES = {"btfm": (1,), "presto_series": (1,), "prithvi_refiner": (1, 2)}  # inputs of whole numbers: (..., largest)
REPEATS = 3


def main() -> None:
    """Print the table; write it where asked."""
    from eozoo import list_models

    found = {}
    print(f"{'':24s} {'parameters':>11s}  input              forward s   MB   step s     MB")
    for name in list_models():
        if (prefix := prefix_of(name)) is None:
            continue
        row = json.loads(in_process("benchmarks.bench_models", name).splitlines()[-1])
        found[name] = row
        shape = " x ".join(map(str, SHAPES[prefix][0]))
        print(
            f"{name:24s} {row['parameters']:11,}  {shape:18s} {row['forward_s']:8.3f} {row['forward_mb']:5.0f} "
            f"{row['step_s']:8.3f} {row['step_mb']:6.0f}",
            flush=True,
        )
    if "--write" in sys.argv:
        from importlib.metadata import version

        from benchmarks.__main__ import _cpu

        machine = f"one thread of {_cpu()}, torch {version('torch')}, Python {platform.python_version()}"
        RESULTS.write_text(json.dumps({"machine": machine, "models": found}, indent=2) + "\n")
        print(RESULTS)


def child(name: str) -> None:
    """Measure one model and print it as JSON."""
    import torch
    from eozoo import create_model

    torch.set_num_threads(1)
    options = OPTIONS.get(name, {})
    with torch.device("meta"):
        create_model(name, **options)  # what it imports is not its own memory
    before = _resident()
    model, inputs = create_model(name, **options).eval(), inputs_of(name)
    parameters = sum(p.numel() for p in model.parameters())
    if hasattr(model, "solve"):  # a forest is as slow as its trees are deep: those of 500 labels
        rows = model.covariates(*inputs)[0].flatten(1).T[:500].numpy()
        model.solve(rows, rows[:, 0] + rows[:, 1] * rows[:, 2], torch.arange(500).numpy() // 100, 2)
    with torch.inference_mode():
        forward = _cpu_seconds(lambda: model(*inputs))
    forward_mb = _resident() - before
    model.train()
    step = _cpu_seconds(lambda: _step(model, inputs))
    row = {"input": list(inputs[0].shape), "parameters": parameters, "forward_s": forward, "forward_mb": forward_mb}
    print(json.dumps({**row, "step_s": step, "step_mb": _resident() - before}))


def _step(model, inputs) -> None:
    outputs = model(*inputs)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    sum(output.square().sum() for output in outputs).backward()
    model.zero_grad(set_to_none=True)


def inputs_of(name: str) -> list:
    import torch

    prefix = prefix_of(name)
    made = []
    for i, shape in enumerate(SHAPES[prefix]):
        if i in CODES.get(prefix, ()):
            made.append(torch.randint(1, shape[-1] + 1, shape[:-1]))
        else:
            made.append(torch.rand(shape) + 0.1)
    if prefix in ("presto", "galileo_nano"):
        made[-1] = torch.zeros_like(made[-1])  # nothing is missing
    if prefix == "clay":
        made[3] = torch.tensor(2000.0)  # m per pixel
        made[4] = torch.linspace(0.4, 13, 16)  # micrometres
    return made


def _cpu_seconds(work) -> float:
    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    once()
    return round(statistics.median(once() for _ in range(REPEATS)), 4)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def prefix_of(name: str) -> str | None:
    return next((prefix for prefix in SHAPES if name.startswith(prefix)), None)


if __name__ == "__main__":
    child(sys.argv[1])
