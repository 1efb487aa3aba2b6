"""The formats of ``eozoo export``: how each is written and read back, and what the file says about itself."""

from __future__ import annotations

import inspect
import io
import json
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.writing import refused, require_space
from eozoo_core.run.written import write_bytes

if TYPE_CHECKING:
    from eozoo_core import Run, Task
    from eozoo_core.task import Arrays, Graph

Reloaded = Callable[["Arrays"], "Arrays"]
Write = Callable[["Graph", dict[str, Any], Path], Reloaded]

ABOUT = "eozoo.json"  # the extra file of torch-export
_LARGEST = 2_000_000_000  # bytes; an ONNX file is one protobuf message, which ends at 2 GiB
_ONNX = ("onnx", "onnxscript", "onnxruntime")


class UntraceableError(ZooError):
    """torch cannot turn this network into a graph."""


def describe(graph: Graph, task: Task | None = None, run: Run | None = None) -> dict[str, Any]:
    """Return what the file says about itself: inputs, and with ``task`` and ``run`` outputs, units, origin."""
    told: dict[str, Any] = {"inputs": {}}
    for name, array in graph.inputs.items():
        words = graph.axes.get(name, ("",) * array.ndim)
        told["inputs"][name] = {
            "shape": [word or side for word, side in zip(words, array.shape)],
            "dtype": str(array.dtype),
            "about": graph.about.get(name, ""),
        }
    if task is None or run is None:
        return told
    from eozoo_core.run.checkpoint import sha256

    weights = run.file("best")
    return {
        "task": run.task,
        "eozoo": version("eozoo"),
        **told,
        "outputs": {n: {"unit": task.outputs()[n], "about": graph.about.get(n, "")} for n in graph.outputs},
        "nodata": "NaN, in inputs and outputs",
        "note": graph.note,
        "run": run.path.name,
        # An ensemble has weights in several places and none of its own.
        "weights_sha256": sha256(weights) if weights.exists() else None,
    }


def torch_export(graph: Graph, about: dict[str, Any], file: Path) -> Reloaded:
    """Graph and weights, for ``torch.export.load``; what it says about itself is its extra file ``eozoo.json``."""
    import torch

    program = _traced(graph)
    memory = io.BytesIO()  # torch ends the process where the disk is full
    with _quiet():
        torch.export.save(program, memory, extra_files={ABOUT: json.dumps(about)})
    write_bytes(file, memory.getvalue())
    with file.open("rb") as opened, _quiet():
        module = torch.export.load(opened).module()
    return called(graph, module)


def safetensors(graph: Graph, about: dict[str, Any], file: Path) -> Reloaded:
    """Write weights alone, with what they are as metadata."""
    from safetensors.torch import load_file, save_file

    module = graph.module.eval()
    tensors = {name: t.contiguous().clone() for name, t in _tensors(module).items()}
    with refused(file):
        require_space(file, sum(t.nbytes for t in tensors.values()))
        save_file(tensors, file, _texts(about))
    for name, tensor in load_file(file).items():
        _tensors(module)[name].copy_(tensor)
    return called(graph, module)


def onnx(graph: Graph, about: dict[str, Any], file: Path) -> Reloaded:
    """Graph and weights for any ONNX runtime; what it says about itself is in ``metadata_props``."""
    import onnx as library
    import onnxruntime
    import torch

    size = sum(t.numel() * t.element_size() for t in _tensors(graph.module).values())
    if size > _LARGEST:
        raise ZooError(f"an ONNX file holds 2 GB, these weights take {size / 1e9:.1f}; use --format torch-export")
    program, names = _traced(graph), [*graph.inputs]
    with _quiet():
        try:
            made = torch.onnx.export(
                program, (), input_names=names, output_names=list(graph.outputs), dynamo=True, verbose=False
            )
        except Exception as error:  # what it cannot convert it says in many ways
            raise UntraceableError(
                f"torch cannot write this network as ONNX ({_line(error)}); try --format torch-export"
            ) from error
        model = made.model_proto
    _name_axes(model, graph)
    for name, text in _texts(about).items():
        model.metadata_props.add(key=name, value=text)
    write_bytes(file, model.SerializeToString())
    library.checker.check_model(str(file))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a failure is raised, and said once
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def again(inputs: Arrays) -> Arrays:
        try:
            return dict(zip(graph.outputs, session.run(None, inputs), strict=True))
        except Exception as error:  # onnxruntime has no exception of its own to catch
            raise UntraceableError(f"onnxruntime cannot run what torch wrote ({_line(error)})") from error

    return again


FORMATS: dict[str, Write] = {"torch-export": torch_export, "onnx": onnx, "safetensors": safetensors}


def writer(kind: str) -> Write:
    """Return what writes a format. Raises ZooError where a package that writing or checking needs is missing."""
    if kind == "onnx" and (missing := [name for name in _ONNX if find_spec(name) is None]):
        raise ZooError(f"--format onnx needs {', '.join(missing)}: pip install 'eozoo[onnx]'")
    return FORMATS[kind]


def _tensors(module: Any) -> dict[str, Any]:
    """Everything that a network computes with; its own ``state_dict`` may leave out what a run keeps elsewhere."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _traced(graph: Graph) -> Any:
    """Return the torch.export program. UntraceableError with torch's reason, also where a free size is not free."""
    import numpy as np
    import torch

    example = []
    for name, array in graph.inputs.items():
        for axis, word in enumerate(graph.axes.get(name, ())):
            if word:  # torch takes a size of 1 for a fixed one
                array = np.take(array, np.arange(max(2, array.shape[axis])) % array.shape[axis], axis=axis)
        example.append(torch.from_numpy(array))
    dims = {word: torch.export.Dim(word, min=1) for words in graph.axes.values() for word in words if word}
    named = [{i: dims[w] for i, w in enumerate(graph.axes.get(name, ())) if w} for name in graph.inputs]
    # Some networks take all sizes but the smallest: then their limits are left to the graph to say.
    limited = [dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in named]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator, which nothing but torch knows
    reason: Exception | None = None
    try:
        for shapes in (named, limited) if dims else (named,):
            try:
                with _quiet(), torch.no_grad():
                    module = graph.module.eval().requires_grad_(False)
                    takes = inspect.signature(module.forward).parameters.values()
                    # Torch counts what ``forward`` takes as ``*arrays`` as one argument.
                    given = (tuple(shapes),) if any(p.kind is p.VAR_POSITIONAL for p in takes) else tuple(shapes)
                    return torch.export.export(module, tuple(example), dynamic_shapes=given, strict=False)
            except Exception as error:  # what torch cannot trace it says in many ways
                reason = reason or error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    where = _where(reason)
    raise UntraceableError(
        f"torch cannot export this network{where} ({_line(reason)}); try --format safetensors"
    ) from reason


def _where(error: BaseException | None) -> str:
    """Name the last line of a traceback that is not torch's own: ", network.py line 12, 'x = x.item()'"."""
    import torch

    own, frames = Path(torch.__file__).parent, traceback.extract_tb(error.__traceback__ if error else None)
    theirs = [f for f in frames if not Path(f.filename).is_relative_to(own) and f.filename != __file__]
    if not theirs:
        return ""
    return f", {Path(theirs[-1].filename).name} line {theirs[-1].lineno}, {theirs[-1].line!r}"


def called(graph: Graph, module: Any) -> Reloaded:
    """Return a torch module as a function of arrays by name."""
    import torch

    def again(inputs: Arrays) -> Arrays:
        try:
            found = module(*(torch.from_numpy(array) for array in inputs.values()))
        except (RuntimeError, AssertionError) as error:  # a size that the graph turns out not to take
            raise UntraceableError(f"the exported network cannot run ({_line(error)})") from error
        return {name: value.numpy() for name, value in zip(graph.outputs, found, strict=True)}

    return again


def _name_axes(model: Any, graph: Graph) -> None:
    """Give free sizes the task's words for them, in inputs, outputs and whatever else has exactly that size."""
    words: dict[str, str] = {}
    for value in model.graph.input:
        for dim, word in zip(value.type.tensor_type.shape.dim, graph.axes.get(value.name, ())):
            if word and dim.dim_param:
                words[dim.dim_param] = word
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in words:
                dim.dim_param = words[dim.dim_param]


def _texts(about: dict[str, Any]) -> dict[str, str]:
    """Metadata that takes texts only: what is no text becomes JSON."""
    return {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in about.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what converters log about themselves; failures are raised all the same."""
    logger = logging.getLogger()
    before = logger.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _line(error: BaseException) -> str:
    """What is wrong in one sentence: the last cause where there is one, and of torch's lists the first item."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    first = next((line.strip(" -") for line in lines if line.startswith("  - ")), lines[0])
    return re.split(r"\. (?=[A-Z])", first)[0]
