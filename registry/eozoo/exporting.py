"""Trained runs as files for others: written, read back, and compared with ``predict`` before they get their name."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo_core import Run, Task
    from eozoo_core.task import Arrays, Graph

TOLERANCE = 1e-4  # of the largest value of an output


def export(task: Task, run: Run, kind: str, file: Path) -> str:
    """Write ``run`` as "torch-export" or "safetensors" to ``file``; return in a line what it takes and how exact it is.

    Raises ZooError where the task or torch cannot export it, and where what was written predicts otherwise than
    ``task.predict``, missing values included; nothing is left behind then.
    """
    import torch

    graph = task.graph(run)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
    os.close(handle)
    try:
        with torch.no_grad():
            again = _write(graph, run, kind, Path(temporary))
            worst = max(_difference(task, run, graph, again, inputs) for inputs in _cases(graph.inputs))
        Path(temporary).replace(file)
    finally:
        Path(temporary).unlink(missing_ok=True)
    shapes = ", ".join(f"{name} float32 {array.shape}" for name, array in graph.inputs.items())
    return f"{shapes} -> {', '.join(graph.outputs)}; largest difference from predict {worst:.1e}, with a missing pixel"


def _write(graph: Graph, run: Run, kind: str, file: Path) -> Any:
    """Write the file and return what was read back from it, as a callable."""
    import torch

    module = graph.module.eval()
    if kind == "safetensors":
        from safetensors.torch import load_file, save_file

        state = {name: tensor.contiguous().clone() for name, tensor in module.state_dict().items()}
        save_file(state, file, {"task": run.task, "outputs": ",".join(graph.outputs)})
        module.load_state_dict(load_file(file), strict=True)
        return module
    try:
        program = torch.export.export(module, tuple(_tensors(graph.inputs)), strict=False)
    except Exception as error:  # what torch cannot trace it says in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ZooError(f"{run.path}: torch cannot export this network ({reason}); try --format safetensors") from error
    with file.open("wb") as opened:
        torch.export.save(program, opened)
    with file.open("rb") as opened:
        return torch.export.load(opened).module()


def _cases(inputs: Arrays) -> list[Arrays]:
    """The example, and the same with one value of each array missing."""
    import numpy as np

    holed = {name: array.copy() for name, array in inputs.items()}
    for array in holed.values():
        array[tuple(side // 2 for side in array.shape)] = np.nan
    return [inputs, holed]


def _tensors(inputs: Arrays) -> list[Any]:
    import torch

    return [torch.from_numpy(array) for array in inputs.values()]


def _difference(task: Task, run: Run, graph: Graph, again: Any, inputs: Arrays) -> float:
    import numpy as np

    expected, found = task.predict(run, inputs), again(*_tensors(inputs))
    worst = 0.0
    for name, values in zip(graph.outputs, found, strict=True):
        a, b = expected[name], values.numpy()
        if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
            raise ZooError(f"{run.path}: the exported {name!r} is missing in other places than predict's; not written")
        gap = float(np.nanmax(np.abs(a - b), initial=0.0))
        if gap > TOLERANCE * max(1e-12, float(np.nanmax(np.abs(a), initial=0.0))):
            raise ZooError(f"{run.path}: the exported {name!r} differs from predict by {gap:.3g}; not written")
        worst = max(worst, gap)
    return worst
