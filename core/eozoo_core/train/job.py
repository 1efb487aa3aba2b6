"""Several processes of one training: none goes on without the others, or waits for them for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGTERM

from eozoo_core.errors import Interrupted, ZooError
from eozoo_core.run.rank import is_first_process

_STARTED_BY = "EOZOO_STARTED_BY"  # in the environment of processes that the first one starts: its number
_LOOK = 0.5  # seconds between looks
_LONGEST = 120  # characters of a library's words


@contextmanager
def ends_with_first() -> Iterator[None]:
    """Start the other processes of a job inside: each ends when the first, that started it, is gone, even if killed."""
    first = os.environ.pop(_STARTED_BY, None)
    if first is not None:
        threading.Thread(target=_watch, args=(int(first),), name="eozoo first process", daemon=True).start()
        yield
        return
    os.environ[_STARTED_BY] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_STARTED_BY, None)


@contextmanager
def losing_others() -> Iterator[None]:
    """Say in one line, once, that another process of the job ended while this one waited for it."""
    import torch

    try:
        yield
    except RuntimeError as error:
        words = " ".join(str(error).split())
        if not isinstance(error, torch.distributed.DistError) and not any(x in words for x in ("gloo", "NCCL")):
            raise
        if not is_first_process():
            raise Interrupted("another process ended", SIGTERM) from error
        raise ZooError(
            f"another process of this job ended, or cannot be reached ({words[:_LONGEST]}); what it said, if anything, "
            "stands above; the same command goes on"
        ) from error


def _watch(first: int) -> None:
    while os.getppid() == first:
        time.sleep(_LOOK)
    os._exit(1)  # the main thread may wait in a library, where no exception reaches it
