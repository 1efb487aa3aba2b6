"""Trained runs as files for others: written, read back, and compared with ``predict`` before they get their name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.writing import hidden_folder, publish

from eozoo.export_formats import Reloaded, UntraceableError, called, describe, writer

if TYPE_CHECKING:
    from eozoo_core import Run, Task
    from eozoo_core.task import Arrays, Graph


TOLERANCE = 1e-4  # of the largest value of an output
_REMEDY = re.compile(r"; (try --format \S+|not written)$")  # for who gets no file


class DiffersError(ZooError):
    """What was written predicts otherwise than the original."""


@dataclass(frozen=True)
class Case:
    """Arrays to compare on, and what ``predict`` and the original network say to them."""

    inputs: Arrays
    predicted: Arrays
    original: Arrays | None  # where the graph computes in another precision than ``predict``


def export(task: Task, run: Run, kind: str, file: Path) -> list[str]:
    """Write ``run`` as one of ``FORMATS`` to ``file``; return lines that say what it takes, gives and how exact it is.

    Sizes that the task leaves free stay free where the format allows it; where not, they are fixed and a line says so.
    Raises ZooError where a package is missing, the task or torch cannot export it, and where what was written predicts
    otherwise than ``task.predict``, missing values, other sizes and single samples included; nothing is left then.
    """
    write = writer(kind)
    task, run, note = _in_fp32(task, run)
    graph = task.graph(run)
    graph = replace(graph, note="; ".join(filter(None, (graph.note, note))))
    _check_declared(graph, run)
    with hidden_folder(file) as folder:
        part = folder / file.name
        write_part = lambda free: write(free, describe(free, task, run), part)  # noqa: E731
        lines = _first_that_fits(task, run, graph, write_part)
        publish(part, file)
    return lines


def check_graph(task: Task, run: Run) -> float:
    """Compare ``task.graph`` itself, not written anywhere, with ``predict``; return the largest difference.

    Raises ZooError where they differ, or where the task says that the run cannot be exported.
    """
    import torch

    task, run, _ = _in_fp32(task, run)
    graph = task.graph(run)
    _check_declared(graph, run)
    with torch.no_grad():
        again = called(graph, graph.module.eval())
        return max(_difference(run, graph, again, _case(task, run, graph, inputs)) for inputs in _inputs(graph))


def _in_fp32(task: Task, run: Run) -> tuple[Task, Run, str]:
    """Return task and run with maps in fp32, as files compute; and a line where the run itself maps in another one."""
    from eozoo_core import Run
    from eozoo_core.train.launch import resolve_device
    from eozoo_core.train.precision import precision_in_use

    used = precision_in_use(run, "infer", resolve_device(run.settings.runtime.device))
    if used == "fp32":
        return task, run, ""
    infer = run.settings.infer.model_copy(update={"precision": "fp32"})
    settings = run.settings.model_copy(update={"infer": infer})
    note = f"computes in float32, and is compared with predict in float32; the run itself predicts in {used} here"
    return type(task)(settings, task.registry), Run(run.path, run.task, settings), note


def _first_that_fits(task: Task, run: Run, graph: Graph, write: Callable[[Graph], Reloaded]) -> list[str]:
    """Write with as many free sizes as can be; raise the last problem where none can."""
    import torch

    reason: ZooError | None = None
    for free in _fewer_and_fewer(graph):
        try:
            with torch.no_grad():
                again = write(free)
                cases = [_case(task, run, free, inputs) for inputs in _inputs(free)]
                worst = max(_difference(run, free, again, case) for case in cases)
        except (UntraceableError, DiffersError) as error:
            reason = error
            continue
        fixed = sorted({w for words in graph.axes.values() for w in words} - _words(free) - {""})
        told = [f"fixed in this format: {', '.join(fixed)} ({_REMEDY.sub('', str(reason))})"] if fixed else []
        return [_summary(task, free, worst, len(cases)), *told, *([graph.note] if graph.note else [])]
    raise reason


def _fewer_and_fewer(graph: Graph) -> Iterator[Graph]:
    """The graph with all its free sizes, with the number of samples alone, and with none."""
    yield graph
    for kept in ({"batch"}, set()):
        if _words(graph) - kept:
            axes = {name: tuple(w if w in kept else "" for w in words) for name, words in graph.axes.items()}
            graph = replace(graph, axes=axes)
            yield graph


def _words(graph: Graph) -> set[str]:
    return {word for words in graph.axes.values() for word in words} - {""}


def _inputs(graph: Graph) -> Iterator[Arrays]:
    """The example; it with missing values; where sizes are free also others, with missing values, and one sample."""
    yield graph.inputs
    yield _holed(graph.inputs)
    sizes = {w: n for name, words in graph.axes.items() for w, n in zip(words, graph.inputs[name].shape)}
    # Not a multiple of anything that a network halves by.
    other = {word: 3 if word == "batch" else size + 5 + size % 2 for word, size in sizes.items()}
    if _words(graph):
        yield _holed(_resized(graph, other))
    if sizes.get("batch", 1) > 1:
        yield _resized(graph, {**sizes, "batch": 1})


def _holed(inputs: Arrays) -> Arrays:
    """A copy with one missing value in each array that can have one, so placed that not all samples have one."""
    import numpy as np

    holed = {name: array.copy() for name, array in inputs.items()}
    for array in holed.values():
        if array.dtype.kind == "f":
            array[tuple(side // 2 for side in array.shape)] = np.nan
    return holed


def _resized(graph: Graph, sizes: dict[str, int]) -> Arrays:
    """The example cut or repeated to these sizes."""
    import numpy as np

    resized = dict(graph.inputs)
    for name, words in graph.axes.items():
        for axis, word in enumerate(words):
            if word:
                there = resized[name].shape[axis]
                resized[name] = np.take(resized[name], np.arange(sizes[word]) % there, axis=axis)
    return resized


def _case(task: Task, run: Run, graph: Graph, inputs: Arrays) -> Case:
    import numpy as np

    predicted = task.predict(run, inputs)
    if empty := [name for name in graph.outputs if not np.isfinite(predicted[name]).any()]:
        raise ValueError(f"{run.task}: Graph.inputs give no value in {empty[0]!r}: nothing could be compared")
    if graph.tolerance <= TOLERANCE:
        return Case(inputs, predicted, None)
    import torch

    values = graph.module.eval()(*(torch.from_numpy(array) for array in inputs.values()))
    return Case(inputs, predicted, dict(zip(graph.outputs, (v.numpy() for v in values), strict=True)))


def _difference(run: Run, graph: Graph, again: Reloaded, case: Case) -> float:
    """Largest difference from predict. DiffersError where that, or the one from the original network, is too large."""
    found = again(case.inputs)
    if case.original is not None:
        _compare(run, case.original, found, TOLERANCE, "the network that was exported")
    return _compare(run, case.predicted, found, graph.tolerance, "predict")


def _compare(run: Run, expected: Arrays, found: Arrays, tolerance: float, what: str) -> float:
    import numpy as np

    worst = 0.0
    for name, b in found.items():
        a = expected[name]
        if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
            raise DiffersError(
                f"{run.path}: the exported {name!r} is missing in other places than {what}'s; not written"
            )
        gap = float(np.nanmax(np.abs(a - b), initial=0.0))
        if gap > tolerance * max(1e-12, float(np.nanmax(np.abs(a), initial=0.0))):
            raise DiffersError(f"{run.path}: the exported {name!r} differs from {what} by {gap:.3g}; not written")
        worst = max(worst, gap)
    return worst


def _check_declared(graph: Graph, run: Run) -> None:
    """A task that describes its graph wrongly is a bug of its plugin, found here and not by who uses the file."""
    for name, words in graph.axes.items():
        if name not in graph.inputs or len(words) != graph.inputs[name].ndim:
            raise ValueError(f"{run.task}: Graph.axes names {name!r} with {len(words)} axes, which no input has")


def _summary(task: Task, graph: Graph, worst: float, cases: int) -> str:
    units = task.outputs()
    given = ", ".join(f"{name} [{units[name]}]" for name in graph.outputs)
    inputs = describe(graph)["inputs"]
    taken = ", ".join(f"{name} {told['dtype']} ({', '.join(map(str, told['shape']))})" for name, told in inputs.items())
    return f"{taken} -> {given}; largest difference from predict {worst:.1e} in {cases} cases, missing values included"
