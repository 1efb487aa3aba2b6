"""Small helpers of the measurements."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median wall seconds of ``work()`` after one warm-up."""
    work()
    return statistics.median(_timed(work) for _ in range(repeats))


def cpu_seconds(command: Sequence[str], repeats: int = 9, warm: bool = True) -> float:
    """Return the median CPU seconds (user + system) of a whole process, after one warm-up if ``warm``."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    if warm:
        once()
    return statistics.median(once() for _ in range(repeats))


def in_process(module: str, *arguments: str) -> str:
    """Run ``python -m module arguments`` in a process of its own and return what it printed."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
