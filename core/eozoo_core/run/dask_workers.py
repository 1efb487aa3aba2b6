"""The workers of a Dask cluster that somebody started elsewhere, with `dask scheduler` and `dask worker`, say."""

from __future__ import annotations

import logging
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import read_json
from eozoo_core.run.pool import Outcome, Pool, Task, work_elsewhere
from eozoo_core.run.progress import print_message

if TYPE_CHECKING:
    from distributed import Client, Future

_PATIENCE = 10.0  # seconds for a scheduler to answer
_LOOK = 2.0  # seconds between looks at the cluster
_QUIET = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado.application")


@contextmanager
def open_dask(address: str, needs: Sequence[str] = ()) -> Iterator[Pool]:
    """Yield the workers of a scheduler; see `workers.open_workers`."""
    if find_spec("distributed") is None:
        raise ZooError(f"--dask {address}: needs Dask; pip install 'eozoo[dask]'")
    with _quietly():
        client = _connect(address)
        try:
            pool = _Dask(client, address, ("eozoo", *needs))
            pool.wait_for_workers()
            pool.require_same()
            pool.tell_threads()
            with client.as_current():  # Dask's wait asks for it
                yield pool
        except BaseException:
            _forsake(client)
            raise
        client.close()


class _Dask(Pool):
    """Items as tasks of Dask, which gives those of a dead worker to another. More are sent than are worked on.

    Dask gives up a task that was with several workers when they died, be it that another one killed them. Such an item
    is tried once more, alone, when the others are done.
    """

    def __init__(self, client: Client, address: str, needs: Sequence[str]):
        self._client, self._address, self._needs = client, address, needs
        self._busy: dict[Future, Task] = {}
        self._suspects: list[Task] = []
        self._seen, self._looked = 1, 0.0

    @property
    def size(self) -> int:
        """Two items for each worker there is now: they may come and go."""
        if time.monotonic() > self._looked + _LOOK:
            self._seen, self._looked = len(self._threads()), time.monotonic()
        return 2 * max(1, self._seen)

    def begin(self, task: Task) -> None:
        with self._answering():
            key = f"eozoo-{task.call}-{task.number}-{task.deaths}"
            self._busy[self._client.submit(work_elsewhere, task, key=key, pure=False)] = task

    def ended(self) -> list[Outcome]:
        from distributed import wait

        found: list[Outcome] = []
        while not found:
            if not self._busy:
                self.begin(self._suspects.pop())
            with self._answering():
                try:
                    done = wait(list(self._busy), timeout=_LOOK, return_when="FIRST_COMPLETED").done
                except TimeoutError:
                    self.wait_for_workers()
                    continue
            for future in done:
                found += self._outcomes(future)
        return found

    def wait_for_workers(self) -> None:
        """Wait while the cluster has no worker, and say so once: a batch system may yet start them."""
        told = False
        while not self._threads():
            if not told:
                print_message(f"--dask {self._address}: has no worker; waiting for one (dask worker ...)")
            told = True
            time.sleep(_LOOK / 4)

    def tell_threads(self) -> None:
        """Say so where a worker has threads that will wait for each other."""
        if many := [worker for worker, threads in self._threads().items() if threads > 1]:
            print_message(
                f"--dask {self._address}: worker {many[0]} has several threads and does one item at a time; start more "
                "workers, with --nthreads 1"
            )

    def require_same(self) -> None:
        """Raise ZooError for a worker without a distribution, or with another version than here."""
        here = versions_of(self._needs)
        with self._answering():
            # As code, not by its name: eozoo may not be there.
            found = self._client.run(_as_code(versions_of), self._needs)
        for worker, there in sorted(found.items()):
            for name, wanted in here.items():
                if (has := there[name]) != wanted:
                    raise ZooError(
                        f"--dask {self._address}: worker {worker} has {f'{name} {has}' if has else f'no {name}'}, this "
                        f"command {name} {wanted}; install the same there and start it again"
                    )

    def _threads(self) -> dict[str, int]:
        """How many threads each worker has."""
        with self._answering():
            if self._client.status != "running":
                raise OSError(f"client is {self._client.status}")
            return self._client.nthreads()

    def _outcomes(self, future: Future) -> list[Outcome]:
        from distributed import KilledWorker

        task = self._busy.pop(future)
        try:
            with self._answering():
                return [future.result()]
        except KilledWorker:
            if task.deaths:
                return [task.given_up()]
            task.deaths = 1
            self._suspects.append(task)
            return []
        except ImportError:
            self.require_same()  # a worker that came later
            raise

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn what Dask raises where the scheduler is gone into one line."""
        from distributed import CancelledError

        try:
            yield
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self._client.status == "running":
                raise
            raise ZooError(
                f"--dask {self._address}: the scheduler is gone; start it again, and the same command goes on"
            ) from error


def versions_of(names: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of Python and of distributions, None of one that is not installed."""
    found: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _as_code(function: Callable) -> Callable:
    """Return a function that is pickled with its code."""
    import types

    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__module__ = "__main__"
    return copy


def _connect(address: str) -> Client:
    from distributed import Client

    remedy = "give its address, tcp://HOST:8786, or the file that it wrote"
    told = read_json(Path(address), remedy=remedy) if Path(address).is_file() else {"address": address}
    found = told.get("address") if isinstance(told, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"[a-z]+://.+:\d+", found):
        raise ZooError(f"--dask {address}: is no scheduler; {remedy}")
    try:
        return Client(found, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ZooError(f"--dask {address}: no scheduler answers ({reason}); {remedy}") from None


def _forsake(client: Client) -> None:
    """Drop the work, without waiting for a scheduler that may be gone."""
    from distributed import CancelledError

    try:
        client.close(timeout=1)  # its futures go with it
    except (OSError, CancelledError):
        return


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Dask's own log of lost connections from the terminal; what matters is raised."""
    import distributed  # noqa: F401 - it sets the levels of its loggers

    loggers = [logging.getLogger(name) for name in _QUIET]
    before = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
