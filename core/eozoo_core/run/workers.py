"""Items over workers: this process, processes of this machine, or a Dask cluster; one interface for all three."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for

from eozoo_core.run.cores import usable_cores
from eozoo_core.run.pool import DEATHS, Here, Outcome, Pool, Task, work_elsewhere
from eozoo_core.signals import held_back, ignore_in_worker

_SECONDS = 10  # for a process that was told to end


@contextmanager
def open_workers(workers: int = 1, dask: str | None = None, gpus: int = 0, needs: Sequence[str] = ()) -> Iterator[Pool]:
    """Yield the workers: this process, ``workers`` processes, or those of the Dask scheduler ``dask``.

    dask: the scheduler's address, tcp://HOST:PORT, or the file that it wrote (--scheduler-file).
    gpus: how many GPUs processes take turns at; 0 = they leave the choice to the function.
    needs: distributions that every Dask worker must have in the version of this process, eozoo aside.

    Where the block fails or is stopped, work is dropped: processes end at once, a Dask worker after its item. Raises
    ZooError, in one line, where no scheduler answers, and for a Dask worker that lacks something.
    """
    if dask:
        from eozoo_core.run.dask_workers import open_dask

        with open_dask(dask, needs) as pool:
            yield pool
    elif workers < 2:
        yield Here()
    else:
        processes = _Processes(workers, gpus)
        try:
            yield processes
        except BaseException:
            processes.end()
            raise
        processes.close()


class _Processes(Pool):
    """Fresh processes, each an executor of its own: one that dies breaks no other. They start when there is work."""

    def __init__(self, size: int, gpus: int):
        self.size, self._gpus = size, gpus
        self._free: list[ProcessPoolExecutor] = []
        self._busy: dict[Future, tuple[ProcessPoolExecutor, Task]] = {}
        self._gpu_of: dict[ProcessPoolExecutor, int] = {}

    def begin(self, task: Task) -> None:
        while True:
            executor = self._free.pop() if self._free else self._start()
            try:
                self._busy[executor.submit(work_elsewhere, task)] = executor, task
            except BrokenProcessPool:  # it died while it waited
                self._drop(executor)
                continue
            return

    def ended(self) -> list[Outcome]:
        found: list[Outcome] = []
        while not found:
            for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                executor, task = self._busy.pop(future)
                if not isinstance(future.exception(), BrokenProcessPool):
                    self._free.append(executor)  # also where its item was a bug: it is ended with the others
                    found.append(future.result())
                    continue
                self._drop(executor)
                task.deaths += 1
                if task.deaths < DEATHS:
                    self.begin(task)
                else:
                    found.append(task.given_up())
        return found

    def end(self) -> None:
        """Drop all work, and end the processes."""
        executors = self._executors()
        processes = [process for one in executors for process in list((one._processes or {}).values())]
        threads = [thread for one in executors if (thread := one._executor_manager_thread) is not None]
        for executor in executors:
            executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for thread in threads:  # else Python, when it ends, may write to a pipe that this thread is closing
            thread.join(_SECONDS)

    def close(self) -> None:
        """Let the processes finish."""
        for executor in self._executors():
            executor.shutdown()

    def _drop(self, executor: ProcessPoolExecutor) -> None:
        executor.shutdown(wait=False)
        self._gpu_of.pop(executor, None)

    def _executors(self) -> list[ProcessPoolExecutor]:
        return [*self._free, *(executor for executor, _ in self._busy.values())]

    def _start(self) -> ProcessPoolExecutor:
        used = list(self._gpu_of.values())
        gpu = min(range(self._gpus), key=used.count) if self._gpus else None
        threads = max(1, usable_cores() // self.size)
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(1, context, _prepare, (gpu, threads))
        if gpu is not None:
            self._gpu_of[executor] = gpu
        with held_back():  # a worker that is still starting would die of a signal, and say so at length
            executor.submit(int)
        return executor


def _prepare(gpu: int | None, threads: int) -> None:
    """Make a fresh process a worker: of one GPU, of its share of cores, and gone when its parent is."""
    ignore_in_worker()
    threading.Thread(target=_end_with_parent, name="eozoo parent", daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # before torch is imported
    if gpu is not None:
        seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[gpu % len(seen)] if seen else str(gpu)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)
