"""What workers have in common: items go to them, outcomes come back; and what a worker does with an item.

A worker that dies loses nothing but time: its item goes to another. What a function does for an item must therefore
leave the same when it is done twice.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import Any, Generic, TypeVar
from uuid import uuid4

from eozoo_core.errors import ZooError

T = TypeVar("T")
R = TypeVar("R")

DEATHS = 3  # of workers, at one item, before the item is given up
_TURN = threading.RLock()  # one item at a time in a process, in however many threads Dask asks


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of an item. ``number``: its place in the list; ``error``: what the user has to repair, or None."""

    number: int
    value: R | None
    error: ZooError | None
    seconds: float


@dataclass
class Task:
    """An item on its way. ``call``: of `Pool.outcomes`, a name of its own; ``deaths``: of workers, at this item.

    kept: the name under which a worker keeps the function.
    """

    call: str
    kept: str
    number: int
    function: Callable[[Any], Any]
    item: Any
    deaths: int = 0
    folder: str = field(default_factory=os.getcwd)  # where relative paths begin

    def given_up(self) -> Outcome:
        """Return the outcome of an item at which ``DEATHS`` workers died."""
        return Outcome(self.number, None, ZooError(
            f"{name_of(self.item, self.number)}: {DEATHS} workers were killed at it, for want of memory perhaps; take "
            "fewer workers, or smaller windows"
        ), 0.0)  # fmt: skip


class Pool(ABC):
    """Workers. ``size``: how many items are worked on at the same time."""

    size: int
    _last: tuple[Any, str] = (None, "")  # the last function, and the name under which workers keep it

    @abstractmethod
    def begin(self, task: Task) -> None:
        """Give an item to a worker."""

    @abstractmethod
    def ended(self) -> list[Outcome]:
        """Wait until at least one item is done; return those that are. A bug in a worker is raised here."""

    def outcomes(self, function: Callable[[T], R], items: Iterable[T], ordered: bool = False) -> Iterator[Outcome[R]]:
        """Yield what becomes of every item, as they come or in their order; items are taken as workers become free.

        ``function`` and items are pickled and small: names, not content. A worker keeps the function until
        another one comes, so an object with ``__call__`` may load what it needs once, in a ``cached_property``. A
        ZooError that it raises is an outcome; any other exception is raised here, with the worker's traceback.

        Raises ZooError where a worker does not have the current folder.
        """
        if self._last[0] is not function:
            self._last = (function, uuid4().hex)
        kept = self._last[1]
        coming, waiting, call = enumerate(items), 0, uuid4().hex
        ready: dict[int, Outcome] = {}
        for due in count():
            while not (due in ready if ordered else ready):
                while waiting < self.size and waiting + len(ready) < 2 * self.size:
                    number, item = next(coming, (-1, None))
                    if number < 0:
                        break
                    self.begin(Task(call, kept, number, function, item))
                    waiting += 1
                if not waiting:
                    return
                found = self.ended()
                waiting -= len(found)
                ready |= {outcome.number: outcome for outcome in found}
            yield ready.pop(due if ordered else next(iter(ready)))

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield ``function`` of every item, in their order. Raises the first ZooError; see `outcomes`."""
        for outcome in self.outcomes(function, items, ordered=True):
            if outcome.error is not None:
                raise outcome.error
            yield outcome.value


class Here(Pool):
    """This process, one item at a time."""

    size = 1

    def begin(self, task: Task) -> None:
        """Keep the item for `ended`."""
        self._task = task

    def ended(self) -> list[Outcome]:
        """Do it."""
        return [work(self._task)]


def work(task: Task) -> Outcome:
    """Do an item, in whichever process this is."""
    with _TURN:
        begun = time.perf_counter()
        value, error = None, None
        try:
            value = task.function(task.item)
        except ZooError as raised:
            error = ZooError(str(raised))  # a subclass may not come through pickle
        return Outcome(task.number, value, error, time.perf_counter() - begun)


def work_elsewhere(task: Task) -> Outcome:
    """Do an item in a process that it was sent to, with the function that came with the first one.

    Raises ZooError where the folder of the command is not there.
    """
    task.function = _kept(task.kept).setdefault("function", task.function)
    with _TURN:
        if not os.path.isdir(task.folder):  # noqa: PTH112 - a name of another machine
            raise ZooError(f"{task.folder}: is not there on {platform.node()}, where a worker runs; share that folder")
        with chdir(task.folder):
            return work(task)


@lru_cache(1)
def _kept(name: str) -> dict[str, Callable]:
    return {}


def name_of(item: Any, number: int) -> str:
    """Return what to call an item in a message: its path, that of its first part, or its number."""
    while isinstance(item, tuple | list) and item:
        item = item[0]
    item = getattr(item, "path", item)
    return str(item) if isinstance(item, str | os.PathLike) else f"item {number + 1}"
