"""Ctrl-C, SIGTERM and SIGHUP: one behaviour in every phase of every verb.

While a verb runs, each of them raises `Stopped` where Python is: files that are being written go away, the command says
one line and ends. Within the training loop `Interrupt` turns the first into a request: finish the step, save, stop.

A signal that this process inherited as ignored (Ctrl-C of a job in the background, SIGHUP under nohup) stays ignored.
Importing this module installs nothing; only the command and the training loop do, and both restore what they found.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """The user or the system asked this process to end. ``number``: the signal."""

    def __init__(self, number: int = signal.SIGINT):
        super().__init__(number)
        self.number = number


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM and SIGHUP."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def name_of(number: int) -> str:
    """Return what people call a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


@contextmanager
def raising_stopped() -> Iterator[None]:
    """Context in which every signal of ``ASKED`` raises `Stopped` in the main thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        if _is_undisturbed(frame):
            _ask_again(number)
        else:
            raise Stopped(number)

    hook = sys.unraisablehook

    def again(unraisable: Any) -> None:
        """Python drops what is raised while it frees an object: ask once more as soon as that is done."""
        if isinstance(unraisable.exc_value, Stopped):
            _ask_again(unraisable.exc_value.number)
        else:
            hook(unraisable)

    before = _install(stop)
    sys.unraisablehook = again if before else hook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        _restore(before)


def undisturbed(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate what cleans up, so that it is done before `Stopped` is raised; it must take no time."""

    @wraps(work)
    def done_first(*args: P.args, **kwargs: P.kwargs) -> R:
        return work(*args, **kwargs)

    return done_first


class Interrupt:
    """Context in which the first signal only sets ``requested`` to its number; a second one acts at once."""

    def __init__(self) -> None:
        self.requested = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        self._before = _install(self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._put_back()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self._put_back()

    def _put_back(self) -> None:
        _restore(self._before)
        self._before = {}


@contextmanager
def held_back() -> Iterator[None]:
    """Context in which signals wait; processes that are started in it hold them back until `ignore_in_worker`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_in_worker() -> None:
    """Let a worker process leave Ctrl-C and SIGHUP to the process that started it; SIGTERM ends it in silence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)


def _is_undisturbed(frame: FrameType | None) -> bool:
    """Whether a frame, or one that called it, is that of an `undisturbed` function: all have the same code."""
    code = undisturbed(id).__code__
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def _ask_again(number: int) -> None:
    threading.Timer(0.01, signal.pthread_kill, [threading.main_thread().ident, number]).start()


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set ``handler`` where a signal is not ignored; return what was there. Other threads may set none in Python."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in ASKED if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set outside Python
