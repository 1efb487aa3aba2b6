"""What the workers of `test_workers.py` do: they import it by name."""

import os
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eozoo_core.errors import NoSplit, ZooError


@dataclass(frozen=True)
class Job:
    """An item says what happens to its worker. ``folder``: where what happened is noted."""

    folder: Path

    @cached_property
    def loaded(self):
        with (self.folder / f"loaded_{os.getpid()}").open("a") as file:
            file.write("x")
        return os.getpid()

    def __call__(self, item):
        assert self.loaded == os.getpid()
        what, _, value = item.partition(" ")
        if what == "bad":
            raise NoSplit(f"{value}: is bad; mend it")
        if what == "bug":
            raise ValueError(value)
        if what == "wait":
            (self.folder / f"waits_{os.getpid()}").touch()
            time.sleep(600)
        if what == "kill" or (what == "once" and not (self.folder / "once").exists()):
            (self.folder / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{what} done"


def gpu_of(item):
    deadline = time.monotonic() + 30
    (Path(item) / str(os.getpid())).touch()
    while len(list(Path(item).iterdir())) < 2 and time.monotonic() < deadline:  # both workers have one
        time.sleep(0.01)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"]


def refuse(item):
    raise ZooError(f"{item}: no")
