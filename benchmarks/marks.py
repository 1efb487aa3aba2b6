"""What a command is doing: a line in a file for every phase, checkpoint and write, for who watches it from outside."""

from __future__ import annotations

import io
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

PHASES = ("start", "statistics", "training", "validation", "checkpoint", "evaluation", "inference")
_CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")


@dataclass(frozen=True)
class Kill:
    """When a process kills itself: in the stretch ``stretch`` (from 0) of ``phase``, with ``sign``.

    That is at its write number ``write`` (from 1), or ``after`` so many seconds.
    """

    phase: str
    stretch: int
    sign: int
    write: int = 0
    after: float = 0.0


@dataclass(frozen=True)
class Marks:
    """What a process wrote down. steps: of checkpoints; killed: the phase in which it killed itself.

    stretches: phase, seconds, writes, in the order of time; a phase goes on after one within it as a new stretch.
    """

    stretches: list[tuple[str, float, int]]
    steps: list[int]
    killed: str | None

    @classmethod
    def read(cls, file: Path, seconds: float = 0.0) -> Marks:
        """Read what is there so far; ``seconds``: when the process ended, since it began."""
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        starts = [n for n, (kind, *_) in enumerate(lines) if kind == "phase"]
        stretches = []
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            begun, until = float(lines[start][1]), float(lines[end][1]) if end < len(lines) else seconds
            writes = sum(kind == "write" for kind, *_ in lines[start:end])
            stretches.append((lines[start][2], until - begun, writes))
        steps = [int(what) for kind, _, what in lines if kind == "step"]
        killed = [what for kind, _, what in lines if kind == "kill"]
        return cls(stretches, steps, killed[0] if killed else None)

    def phases(self) -> set[str]:
        """Return the phases that there were."""
        return {phase for phase, *_ in self.stretches}

    def draw(self, phase: str, sign: int, early: bool, draw: random.Random) -> Kill:
        """Draw a moment of a phase: at a write, or at any time. ``early``: of its first half, where less is left."""
        found = [stretch for stretch in self.stretches if stretch[0] == phase]
        number = draw.randrange(max(1, len(found) // 2) if early else len(found))
        _, seconds, writes = found[number]
        if writes and draw.random() < 0.5:
            return Kill(phase, number, sign, write=draw.randint(1, writes))
        return Kill(phase, number, sign, after=draw.uniform(0, 0.9 * seconds))


def marking(file: Path, task: str, begun: float, kill: Kill | None = None) -> Callable[[], None]:
    """Return what a forked process calls first."""

    def settle() -> None:
        handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

        def note(kind: str, what: Any) -> None:
            os.write(handle, f"{kind} {time.monotonic() - begun:.6f} {what}\n".encode())

        marker = _Marker(note, kill)
        _name_phases(task, marker)
        _count_writes(marker)
        marker.enter("start")

    return settle


class _Marker:
    """Notes phases and writes, and sends this process the signal when it is due."""

    def __init__(self, note: Callable[[str, Any], None], kill: Kill | None):
        self.note, self.kill, self.me = note, kill, os.getpid()
        self.phase, self.stretch, self.writes = "", -1, 0

    def enter(self, phase: str) -> None:
        """Begin a stretch of a phase."""
        self.phase, self.writes = phase, 0
        self.note("phase", phase)
        if self.kill and phase == self.kill.phase:
            self.stretch += 1
            if self._is_due() and not self.kill.write:
                timer = threading.Timer(self.kill.after, self._send)
                timer.daemon = True
                timer.start()

    def write(self, what: str) -> None:
        """Note a write."""
        self.writes += 1
        self.note("write", what)
        if self.kill and self.phase == self.kill.phase and self._is_due() and self.writes == self.kill.write:
            self._send()

    def _is_due(self) -> bool:
        return self.stretch == self.kill.stretch

    def _send(self) -> None:
        self.note("kill", self.phase)
        os.kill(self.me, self.kill.sign)


def _name_phases(task: str, marker: _Marker) -> None:
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
            marker.enter(phase)
            try:
                result = work(*arguments, **options)
            finally:
                inside.pop()
                marker.enter(inside[-1])
            if phase == "checkpoint":
                marker.note("step", arguments[2]["step"])
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


def _count_writes(marker: _Marker) -> None:
    """Count changes of folders, and files before they are opened for writing and when they are open, still empty."""

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            if not (args[2] or 0) & (os.O_WRONLY | os.O_RDWR) or str(args[0]) == os.devnull:
                return
        elif event not in _CHANGES:
            return
        if os.getpid() == marker.me:
            marker.write(event)

    def opened(work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def marked(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            result = work(file, mode, *arguments, **options)
            if set(mode) & set("wax+") and os.getpid() == marker.me and str(file) != os.devnull:
                marker.write("opened")
            return result

        return marked

    sys.addaudithook(watch)
    io.open, os.fdopen = opened(io.open), opened(os.fdopen)
