"""``train --profile``: a PyTorch profiler trace of a few steps."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.run.writing import hidden_folder, publish

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run

WAIT, WARMUP, ACTIVE = 1, 1, 5


class _Off:
    def step(self) -> None:
        """Do nothing."""


def require_whole(file: Path) -> None:
    """Raise OSError where the end of a JSON object is missing: torch does not say that the disk is full."""
    if not file.exists() or not file.read_bytes().rstrip().endswith(b"}"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def profiler(run: Run, fabric: Fabric) -> Iterator[Any]:
    """Record steps 3 to 7 of this call into RUN/profile/trace.json where ``runtime.profile`` asks for it.

    The file opens in chrome://tracing or Perfetto; profile/summary.txt lists the slowest operations.
    """
    if not run.settings.runtime.profile or not fabric.is_global_zero:
        yield _Off()
        return
    import torch.profiler as torch_profiler

    def write(result: Any) -> None:
        """A full disk ends the profile, not the training."""
        trace = run.path / "profile" / "trace.json"
        try:
            with hidden_folder(trace) as work:
                result.export_chrome_trace(str(work / trace.name))
                require_whole(work / trace.name)
                publish(work / trace.name, trace)
            table = result.key_averages().table(sort_by="self_cpu_time_total", row_limit=30)
            run.write_text("profile/summary.txt", table)
        except ZooError as error:
            print_message(f"{error}; training goes on without a profile")

    activities = [torch_profiler.ProfilerActivity.CPU]
    if fabric.device.type == "cuda":
        activities.append(torch_profiler.ProfilerActivity.CUDA)
    schedule = torch_profiler.schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
    with torch_profiler.profile(activities=activities, schedule=schedule, on_trace_ready=write) as active:
        yield active
