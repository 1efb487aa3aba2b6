"""Device, precision and processes: from settings to a launched Lightning Fabric."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.cores import usable_cores
from eozoo_core.run.progress import print_message
from eozoo_core.train.job import ends_with_first
from eozoo_core.train.loggers import require_loggers
from eozoo_core.train.precision import slow_precision, step_plugin, training_precision

if TYPE_CHECKING:
    import numpy as np
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.settings import RuntimeSettings

_MALLOC = {-3: 2**25, -1: 2**27}  # M_MMAP_THRESHOLD (glibc allows no more) and M_TRIM_THRESHOLD, see mallopt(3)


def launch(run: Run) -> Fabric:
    """Start ``runtime.devices`` x ``runtime.nodes`` processes, seed them alike, and return this process's Fabric.

    Records device and precision in the run. Raises ZooError for a device that is not there, a precision that it does
    not have, a batch that the processes cannot share equally, and a torchrun of another number of processes.
    """
    with without_torchmetrics():
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
        from lightning_fabric.utilities.seed import seed_everything

    train, runtime = run.settings.train, run.settings.runtime
    device = resolve_device(runtime.device)
    world = runtime.devices * runtime.nodes
    started = int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else world
    if started != world:
        raise ZooError(f"torchrun started {started} processes and runtime.devices x runtime.nodes is {world}; set both")
    if train.batch_size % world:
        raise ZooError(
            f"train.batch_size {train.batch_size} cannot be shared by {world} processes; use a multiple of {world}"
        )
    set_threads(runtime)
    kind, _, index = device.partition(":")
    if world > 1 and index:
        raise ZooError(
            f"runtime.device {device!r} names one device and runtime.devices x nodes is {world}; use {kind!r}"
        )
    precision = training_precision(run, device)
    plugin = step_plugin(precision, kind)
    # Gloo beside NCCL: sums and counts travel between the CPUs and never make a GPU wait.
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    fabric = Fabric(
        accelerator=kind,
        devices=[int(index)] if index else runtime.devices,
        num_nodes=runtime.nodes,
        strategy=DDPStrategy(process_group_backend=backend) if world > 1 else "auto",
        # As an object: by its name Fabric would print a line about it at every start.
        plugins=[plugin] if plugin else [],
    )
    if fabric.is_global_zero:
        require_loggers(runtime)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # a banner of seven lines
    with ends_with_first():
        fabric.launch()
    atexit.register(_end_others, getattr(fabric.strategy.launcher, "procs", []))
    fabric.barrier()  # what the first process prepared in the run is there for the others
    seed_everything(train.seed, verbose=False)
    run.note("device", f"{fabric.device} x {world}" if world > 1 else str(fabric.device))
    _agree_on(precision, fabric)
    run.note("precision", precision)
    if not runtime.quiet and (line := slow_precision(precision, device)):
        print_message(line)
    return fabric


def _end_others(processes: list[subprocess.Popen]) -> None:
    """End the processes that this one started, where it ends before them: they would wait for it for ever."""
    for process in processes:
        if process.poll() is None:
            process.terminate()


@contextmanager
def without_torchmetrics() -> Iterator[None]:
    """Import Fabric without torchmetrics, which it imports only to read its version.

    With torchmetrics come torchvision, scipy and transformers: nine tenths of the time that Fabric takes to import. A
    module of the same version stands in for it meanwhile; nothing is changed where it is imported already.
    """
    stand_in = ModuleType("torchmetrics")
    try:
        stand_in.__version__ = version("torchmetrics")
    except PackageNotFoundError:
        yield
        return
    used = sys.modules.setdefault("torchmetrics", stand_in)
    try:
        yield
    finally:
        if used is stand_in:
            del sys.modules["torchmetrics"]


def resolve_device(name: str) -> str:
    """Turn "auto" into cuda, mps or cpu, and check that any other device exists. Raises ZooError."""
    import torch

    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if found[kind])
    kind, _, index = name.partition(":")
    if kind not in found or (index and not (kind == "cuda" and index.isdigit())):
        raise ZooError(f"runtime.device {name!r}: use auto, cpu, mps, cuda or cuda:N")
    if not found[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise ZooError(f"runtime.device {name!r} is not on this machine; use 'auto' or one of: {_present(found)}")
    return name


def count_gpus(name: str) -> int:
    """Return the GPUs that processes may take turns at where ``runtime.device`` leaves the choice; 0 without CUDA."""
    import torch

    return torch.cuda.device_count() if name in ("auto", "cuda") and torch.cuda.is_available() else 0


def set_threads(runtime: RuntimeSettings) -> None:
    """Limit torch's CPU threads to ``runtime.threads``, or else to the cores that this process may use."""
    import torch

    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    elif "OMP_NUM_THREADS" not in os.environ and usable_cores() < torch.get_num_threads():
        torch.set_num_threads(usable_cores())  # torch counts those of the machine, and more threads wait for each other


def keep_freed_memory() -> None:
    """Have glibc keep blocks up to 32 MiB that were freed, 128 MiB in all: a tenth less time for maps of small rasters.

    By default every image's arrays go back to the system, and come again a page at a time. For whole processes, so a
    command calls it; nothing happens without glibc, or where the environment says how (MALLOC_...).
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(AttributeError, OSError, TypeError):  # another C library
        for option, value in _MALLOC.items():
            ctypes.CDLL(None).mallopt(option, value)


def loader_workers(runtime: RuntimeSettings, device: str) -> int:
    """How many loader processes: as set, else none on a CPU (it has better work), up to 8 beside each GPU."""
    if runtime.workers is not None:
        return runtime.workers
    return min(8, max(1, usable_cores() // runtime.devices)) if device.startswith("cuda") else 0


def all_reduce_sums(fabric: Fabric, sums: np.ndarray) -> np.ndarray:
    """Add float64 arrays of one shape over all processes, on the CPU; the same array back with one process."""
    import torch

    if fabric.world_size == 1:
        return sums
    total = torch.as_tensor(sums, dtype=torch.float64, device="cpu").clone()
    torch.distributed.all_reduce(total)
    return total.numpy()


def _agree_on(precision: str, fabric: Fabric) -> None:
    """Raise ZooError where "auto" became another precision in another process of the job."""
    import numpy as np

    mixed = all_reduce_sums(fabric, np.array([float(precision != "fp32")]))[0]
    if mixed not in (0, fabric.world_size):
        raise ZooError("train.precision 'auto' differs between the devices of this job; set it to fp32 or bf16-mixed")


def _present(found: dict[str, bool]) -> str:
    return ", ".join(kind for kind, there in found.items() if there)
