"""The check of workers: scenes go to them as names, and their maps are those of one process."""

from __future__ import annotations

import pickle
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from eozoo_core.run.pool import Outcome, Pool, Task, work_elsewhere

from eozoo.testing.infer import mapped_sample
from eozoo.testing.shared_runs import Bench


class Packed(Pool):
    """Workers in this process: tasks and outcomes are pickled, and the last one that was given is done first."""

    size = 3

    def __init__(self) -> None:
        self._tasks: list[bytes] = []

    def begin(self, task: Task) -> None:
        """Pickle an item."""
        self._tasks.append(pickle.dumps(task))

    def ended(self) -> list[Outcome]:
        """Do the last one."""
        return [pickle.loads(pickle.dumps(work_elsewhere(pickle.loads(self._tasks.pop()))))]


def workers_change_no_bit(bench: Bench, folder: Path) -> None:
    """``infer`` over workers, which get scenes as ``find_scenes`` gives them and share the windows of a large one,
    makes what one process makes, to the bit."""
    from eozoo_core import Task

    if bench.task_class.infer is not Task.infer:
        return
    mapped = mapped_sample(bench)
    task, run = bench.open(mapped.run)
    with patch("eozoo_core.task.infer.open_workers", lambda *_: nullcontext(Packed())):
        try:
            found = task.infer(run, mapped.source, folder / "maps")
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise AssertionError(
                f"what find_scenes() gives does not go to workers ({error}): give names and numbers, and open files in "
                "open_scene()"
            ) from error
    one, two = ({Path(file).name: Path(file) for file in files} for files in (mapped.returned, found))
    assert one.keys() == two.keys(), f"over workers infer() makes {sorted(two)}, else {sorted(one)}"
    for name, file in one.items():
        assert _content(file) == _content(two[name]), (
            f"{name}: over workers it is another: let what a scene becomes depend on it, the run and the settings alone"
        )


def _content(file: Path) -> bytes:
    """What must be equal: pixels, or text; nothing of a picture or a work list, which has times."""
    from eozoo_core.raster.read import read_whole

    if file.suffix.lower() in (".tif", ".tiff"):
        return read_whole(file).tobytes()
    return file.read_bytes() if file.suffix in (".json", ".csv") else b""
