"""What a command is doing: a line in a file for every phase, checkpoint and write, for who watches it from outside."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

PHASES = ("start", "statistics", "training", "validation", "checkpoint", "evaluation", "inference")
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")


@dataclass(frozen=True)
class Marks:
    """What a process wrote down. phases: (seconds since it began, phase); steps: of checkpoints; writes: how many."""

    phases: list[tuple[float, str]]
    steps: list[int]
    writes: int

    @classmethod
    def read(cls, file: Path) -> Marks:
        """Read what is there so far."""
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        phases = [(float(when), what) for kind, when, what in lines if kind == "phase"]
        steps = [int(what) for kind, _, what in lines if kind == "step"]
        return cls(phases, steps, sum(kind == "write" for kind, *_ in lines))

    def moment(self, end: float, draw: random.Random) -> tuple[int, float]:
        """Draw a phase, and one time that the process was in it: which of ``phases``, and for how many seconds."""
        phase = draw.choice(sorted({what for _, what in self.phases}))
        number = draw.choice([n for n, (_, what) in enumerate(self.phases) if what == phase])
        edges = [when for when, _ in self.phases] + [end]
        return number, edges[number + 1] - edges[number]


def marking(file: Path, task: str, begun: float, kill: tuple[int, int] | None = None) -> Callable[[], None]:
    """Return what a forked process calls first. kill: (number of a write, signal that the process then gets)."""

    def settle() -> None:
        handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        def mark(kind: str, what: Any) -> None:
            os.write(handle, f"{kind} {time.monotonic() - begun:.6f} {what}\n".encode())

        mark("phase", "start")
        _name_phases(task, mark)
        _count_writes(mark, kill)

    return settle


def _name_phases(task: str, mark: Callable[[str, Any], None]) -> None:
    from eozoo.registry import Registry
    from eozoo_core import Run
    from eozoo_core.task import members
    from eozoo_core.task import train as training
    from eozoo_core.train.fit import _Loop

    inside = ["start"]

    def named(owner: Any, name: str, phase: str) -> None:
        work = getattr(owner, name)

        @wraps(work)
        def marked(*arguments: Any, **options: Any) -> Any:
            inside.append(phase)
            mark("phase", phase)
            try:
                result = work(*arguments, **options)
            finally:
                inside.pop()
                mark("phase", inside[-1])
            if phase == "checkpoint":
                mark("step", arguments[2]["step"])
            return result

        setattr(owner, name, marked)

    cls = Registry.discover().get("task", task)
    for owner, name, phase in (
        (members, "train", "statistics"),
        (training, "fit", "training"),
        (_Loop, "_validate", "validation"),
        (Run, "save", "checkpoint"),
        (cls, "score", "evaluation"),
        (cls, "infer", "inference"),
    ):
        named(owner, name, phase)


def _count_writes(mark: Callable[[str, Any], None], kill: tuple[int, int] | None) -> None:
    count, number, me = [0], kill or (0, 0), os.getpid()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR) or str(args[0]) == os.devnull:
                return
        elif event not in _CHANGES:
            return
        if os.getpid() != me:
            return
        count[0] += 1
        mark("write", event)
        if count[0] == number[0]:
            os.kill(me, number[1])

    sys.addaudithook(watch)
