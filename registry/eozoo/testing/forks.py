"""Other processes that try what this one does, or do it at the same time."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eozoo_core import Run

_SECONDS = 120  # a process that maps the sample for longer maps for ever


@contextmanager
def second_trainers(start: Callable[[], Any], told: list[str]) -> Iterator[None]:
    """Let another process call ``start`` after each of the first two checkpoints; ``told`` gets what it answers."""
    from unittest.mock import patch

    from eozoo_core import Run

    save = Run.save

    def watched(run: Run, which: str, content: dict[str, Any]) -> None:
        save(run, which, content)
        if len(told) < 2 and hasattr(os, "fork"):
            ((_, text),) = at_once(start)
            told.append(text)

    with patch.object(Run, "save", watched):
        yield


def at_once(*works: Callable[[], Any]) -> list[tuple[int, str]]:
    """Call each in a forked process; return exit codes and what it returned, or raised, as text."""
    started = []
    for work in works:
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            _end(work, writer)
        os.close(writer)
        started.append((pid, reader))
    found, end = [], time.monotonic() + _SECONDS
    for pid, reader in started:
        while not (done := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < end:
            time.sleep(0.002)
        if not done[0]:
            os.kill(pid, signal.SIGKILL)
            done = os.waitpid(pid, 0)
        with os.fdopen(reader) as told:
            found.append((os.waitstatus_to_exitcode(done[1]), told.read()))
    return found


def killed(work: Callable[[], Any]) -> None:
    """Call ``work`` in a forked process that is killed when it is about to give the first file its name."""

    def die(event: str, args: tuple[Any, ...]) -> None:
        if event == "os.rename":
            os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.addaudithook(die)
        work()

    if hasattr(os, "fork"):
        at_once(watched)


def _end(work: Callable[[], Any], writer: int) -> None:
    """End this forked process with ``work``: nothing of the one that was forked may run again."""
    code, text = 1, ""
    try:
        import torch

        torch.set_num_threads(1)  # OpenMP's threads were not forked; who waits for them waits for ever
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        text, code = str(work()), 0
    except BaseException as error:
        text = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    finally:
        os.write(writer, text.encode()[:4000])
        os._exit(code)
