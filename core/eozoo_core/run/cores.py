"""How many cores there are for this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU in a period, and the period


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by the quota of its container."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text(encoding="utf-8").split()
        found = min(found, max(1, int(quota) // int(period)))  # "max": no quota
    return found
