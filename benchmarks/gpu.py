"""What only a machine with an accelerator can tell, in one call of under eight minutes::

    python -m benchmarks.gpu                         # on a bare CUDA machine, in the root of a copy of this repository
    python -m benchmarks.gpu --only versions parity  # some stages; --list names all
    python -m benchmarks.gpu --device cpu --tiny     # the same code on a CPU in two minutes: its numbers mean nothing

The repository need not be installed: its packages are found beside this folder. What is used of others: torch (2.6 or
later, with CUDA), numpy, click, pluggy; timm for the encoders; for training also pydantic, lightning-fabric (comes with
lightning), rasterio, h5py, scipy, PyYAML, rich; peft and bitsandbytes for quantised encoders. A stage that lacks one
says so and is left out. Such a machine often has no package registry: bring what is missing as wheels. Where there is
one, for the machine's Python and platform,

    python -m pip download --no-deps --only-binary=:all: --python-version 3.12 \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 -d wheels pydantic pydantic-core \
        annotated-types typing-inspection rasterio affine attrs click-plugins cligj pyparsing

(pydantic-core in the very version that pydantic names), and there, in front of the call,

    python -m pip install --no-index --no-deps --target /tmp/site wheels/*.whl; export PYTHONPATH=/tmp/site

Together they are below 60 MB. bitsandbytes alone is nearly as large: where no more can travel at once, bring it in a
second call, with pydantic and without rasterio, for ``--only lora_int8 lora_nf4``.

Every stage runs in a process of its own, so that none can spoil another, not by an error of CUDA either. When it is
done, a JSON line is printed: {"stage", "ok", "seconds", "numbers", "error"}. ok is null where it was left out. A stage
over its budget is ended and says what it had found. The exit code is 1 where any stage failed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 465.0  # seconds of all stages
COMMAND = ("-m", "benchmarks.gpu")
_TRAINS = ("pydantic", "lightning_fabric", "rasterio", "h5py", "scipy", "yaml")
_ADAPTS = ("pydantic", "lightning_fabric", "timm", "peft", "bitsandbytes")


class Stage(NamedTuple):
    """``work``: "module:function", called with (device, tiny, tell) and ``words``; ``seconds``: its budget."""

    work: str
    seconds: float
    needs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


STAGES = {
    "versions": Stage("gpu_rates:versions", 40),
    "parity": Stage("gpu_rates:parity", 80, ("timm",)),
    "unet_maps": Stage("gpu_rates:unet_maps", 40),
    "clay_maps": Stage("gpu_rates:clay_maps", 40),
    "embeddings": Stage("gpu_rates:embeddings", 30),
    "lora_int8": Stage("gpu_training:lora", 60, _ADAPTS, ("int8",)),
    "lora_nf4": Stage("gpu_training:lora", 60, _ADAPTS, ("nf4",)),
    "out_of_memory": Stage("gpu_training:out_of_memory", 45, ("pydantic",)),
    "train_gedi_sparse": Stage("gpu_training:train", 50, _TRAINS, ("gedi_sparse",)),
    "train_barlow_twins": Stage("gpu_training:train", 50, _TRAINS, ("barlow_twins",)),
    "train_clay_ta": Stage("gpu_training:train", 60, _TRAINS, ("clay_ta",)),
    "train_prithvi_refine": Stage("gpu_training:train", 60, (*_TRAINS, "timm", "peft"), ("prithvi_refine",)),
    "loaders": Stage("gpu_training:loaders", 60, _TRAINS),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the stages and print a line of each; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="What only an accelerator can tell.")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:N or cpu")
    parser.add_argument("--tiny", action="store_true", help="the smallest sizes: a test of this script")
    parser.add_argument("--only", nargs="+", metavar="STAGE", choices=[*STAGES], default=[*STAGES], help="some stages")
    parser.add_argument("--list", action="store_true", help="name the stages and their budgets in seconds")
    parser.add_argument("--child", metavar="STAGE", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.list:
        print("\n".join(f"{name:22}{stage.seconds:4.0f} s" for name, stage in STAGES.items()))
        return 0
    if asked.child:
        return child(asked.child, asked.device, asked.tiny)
    failed, ends = False, time.monotonic() + (10 * TOTAL if asked.tiny else TOTAL)
    with environment() as env:
        for name in asked.only:
            line = measured(name, asked.device, asked.tiny, env, ends - time.monotonic())
            print(json.dumps(line), flush=True)
            failed |= line["ok"] is False
    return int(failed)


def measured(name: str, device: str, tiny: bool, env: dict[str, str], left: float) -> dict[str, Any]:
    """Run one stage in a process of its own, for its budget and for the seconds that are ``left`` at most."""
    line: dict[str, Any] = {"stage": name, "ok": None, "seconds": 0.0, "numbers": {}, "error": ""}
    if absent := [module for module in STAGES[name].needs if find_spec(module) is None]:
        return line | {"error": f"left out: this machine has no {', '.join(absent)}"}
    if left < 10:
        return line | {"error": "left out: the time of all stages is over"}
    command = [sys.executable, *COMMAND, "--child", name, "--device", device]
    command += ["--tiny"] if tiny else []
    began, budget = time.monotonic(), left if tiny else min(STAGES[name].seconds, left)
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=errors, start_new_session=True)
        try:
            code = process.wait(budget)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        said.seek(0)
        errors.seek(0)
        found = merged(said.read().splitlines())
        if code is None:
            found["error"] = f"over its budget of {budget:.0f} s; numbers are those found until then"
        elif code and not found["error"]:
            found["error"] = f"ended with code {code}: {' '.join(errors.read().split())[-600:]}"
    return line | {"ok": code == 0 and not found["error"], "seconds": round(time.monotonic() - began, 1), **found}


def merged(lines: Sequence[str]) -> dict[str, Any]:
    """Return numbers and error of what a stage printed; lines that are not its own are passed over."""
    numbers, error = {}, ""
    for line in lines:
        try:
            part = json.loads(line)
        except ValueError:
            continue
        if isinstance(part, dict):
            numbers |= part.get("numbers", {})
            error = part.get("error", error)
    return {"numbers": numbers, "error": error}


def child(name: str, device: str, tiny: bool) -> int:
    """Run one stage here, printing its numbers as they are found; return the exit code."""
    stage = STAGES[name]
    module, _, function = stage.work.partition(":")

    def tell(**numbers: Any) -> None:
        print(json.dumps({"numbers": numbers}), flush=True)

    try:
        work: Callable[..., None] = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        work(device, tiny, tell, *stage.words)
    except Exception as error:  # whatever it is, it is one stage's
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:600]
        print(json.dumps({"error": f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"}))
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def environment() -> Iterator[dict[str, str]]:
    """Yield the environment of the stages: this repository's packages first, known as if they were installed."""
    from tests.pins.both import environment as of_tree

    with tempfile.TemporaryDirectory(prefix="eozoo-gpu-") as folder:
        env = of_tree(ROOT, Path(folder) / "installed")
        known = [env["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]
        yield env | {
            "PYTHONPATH": os.pathsep.join(filter(None, known)),
            "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what makes cuBLAS give the same numbers twice
            "TMPDIR": folder,
        }


def _end(process: subprocess.Popen) -> None:
    """End a stage and the loader processes that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
