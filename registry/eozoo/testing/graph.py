"""The check of ``Task.graph``, for tasks that offer one."""

from __future__ import annotations

from pathlib import Path

from eozoo.testing.shared_runs import Bench


def graph_is_predict(bench: Bench, folder: Path) -> None:
    """``graph``, where a task has one, gives what ``predict`` gives, missing values and other sizes included."""
    from eozoo_core import Task, ZooError

    from eozoo.export import DiffersError, check_graph
    from eozoo.export_formats import UntraceableError

    if bench.task_class.graph is Task.graph and not bench.writes("system"):
        return
    task, run = bench.open(bench.copy(bench.finished.path, folder))
    try:
        check_graph(task, run)
    except DiffersError as error:
        raise AssertionError(f"graph() is not what predict() does: {error}") from None
    except UntraceableError as error:  # nothing was traced: the module itself fails on inputs that Graph declares
        raise AssertionError(f"graph() cannot be called as it says: {error}") from None
    except ZooError:
        return  # this run cannot be exported, and the task says so
