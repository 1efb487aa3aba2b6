"""Worker processes for preparation: they end with the process that started them, and say nothing of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from eozoo_core.signals import held_back, ignore_in_worker

T = TypeVar("T")
R = TypeVar("R")


def map_in_workers(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """Yield ``function`` of every item in order, in at most so many processes; in this one where one is enough.

    In a process of its own a ZooError must be returned, not raised: it would lose its class on the way.
    """
    if min(workers, len(items)) < 2:
        yield from map(function, items)
        return
    with worker_processes(min(workers, len(items))) as pool:
        yield from pool.map(function, items)


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of ``count`` fresh processes. Where the block fails or is stopped, their work is dropped at once."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=ignore_in_worker)
    try:
        with held_back():  # a worker that is still starting would die of a signal, and say so at length
            for _ in range(count):  # each starts a process: none is free yet
                pool.submit(int)
        yield pool
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise
    pool.shutdown()
