"""Commands of eozoo in forked processes, which have all imports, so that hundreds can be run, and killed."""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py  # noqa: F401 - for all children
import torch

SHIPPED = ("barlow_twins", "clay_ta", "gedi_sparse", "prithvi_refine")
_HEAVY = (
    "lightning_fabric", "matplotlib.figure", "rasterio", "torch.profiler", "torch.utils.tensorboard",
    "bitsandbytes", "peft", "sklearn.ensemble", "sklearn.linear_model", "timm",
)  # fmt: skip


def load(tasks: Sequence[str] = SHIPPED) -> None:
    """Import once what all commands need; one thread, for forked processes have no others."""
    from eozoo.cli import VERBS
    from eozoo.registry import Registry

    torch.set_num_threads(1)
    for verb in VERBS:
        importlib.import_module(f"eozoo.cli.{verb}")
    registry = Registry.discover()
    for task in tasks:
        registry.get("task", task)
    for name in _HEAVY:
        importlib.import_module(name)


@dataclass
class Running:
    """A command at work. ``seconds``: since it began; what it printed is in ``log``."""

    pid: int
    log: Path
    begun: float
    code: int | None = None

    @property
    def seconds(self) -> float:
        """Return how long it runs."""
        return time.monotonic() - self.begun

    def ended(self) -> bool:
        """Whether it has ended; ``code`` is then its exit code, or minus the number of a signal."""
        if self.code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code is not None

    def send(self, number: int) -> None:
        """Send it a signal."""
        if not self.ended():
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> tuple[int | None, str]:
        """Return exit code and words; None where it had to be killed because it did not end."""
        end, hung = time.monotonic() + seconds, False
        while not self.ended():
            if time.monotonic() > end:
                hung = True
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        return (None if hung else self.code), self.log.read_text(errors="replace")


def start(words: Sequence[str], log: Path, into: str = "", before: Callable[[], None] | None = None) -> Running:
    """Start ``eozoo WORDS``. into: a file for standard output; before: called in the process, before the command."""
    begun, child = time.monotonic(), os.fork()
    if not child:
        with log.open("w") as said:
            os.dup2(said.fileno(), 2)
            os.dup2(os.open(into, os.O_CREAT | os.O_WRONLY) if into else said.fileno(), 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, closefd=False)  # noqa: SIM115
        sys.argv = ["eozoo", *words]
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command has begun
        os._exit(_called(before))
    return Running(child, log, begun)


def _called(before: Callable[[], None] | None) -> int:
    from eozoo.cli import run

    code = 70
    try:
        if before is not None:
            before()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code
