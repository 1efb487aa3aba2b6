"""``train --profile``: a PyTorch profiler trace of a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run

WAIT, WARMUP, ACTIVE = 1, 1, 5


class _Off:
    def step(self) -> None:
        """Do nothing."""


@contextmanager
def profiler(run: Run, fabric: Fabric) -> Iterator[Any]:
    """Record steps 3 to 7 of this call into RUN/profile/trace.json where ``runtime.profile`` asks for it.

    The file opens in chrome://tracing or Perfetto; profile/summary.txt lists the slowest operations.
    """
    if not run.settings.runtime.profile or not fabric.is_global_zero:
        yield _Off()
        return
    import torch.profiler as torch_profiler

    folder = run.path / "profile"
    folder.mkdir(exist_ok=True)

    def write(result: Any) -> None:
        result.export_chrome_trace(str(folder / "trace.json"))
        run.write_text("profile/summary.txt", result.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))

    activities = [torch_profiler.ProfilerActivity.CPU]
    if fabric.device.type == "cuda":
        activities.append(torch_profiler.ProfilerActivity.CUDA)
    schedule = torch_profiler.schedule(wait=WAIT, warmup=WARMUP, active=ACTIVE, repeat=1)
    with torch_profiler.profile(activities=activities, schedule=schedule, on_trace_ready=write) as active:
        yield active
