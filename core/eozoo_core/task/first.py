"""Before the first step: one sample goes through network and loss, and both are held against what was declared.

Nothing of the training is consumed: no gradients, evaluation mode (batch norm learns nothing), and the random
generators are put back.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from eozoo_core.errors import ZooError
from eozoo_core.task.contract import Contract, Loss
from eozoo_core.task.data import Data, tensors
from eozoo_core.task.loss import named_part
from eozoo_core.task.predict import check_arrays
from eozoo_core.train.loading import Draw
from eozoo_core.train.memory import needs_values, shapes_of
from eozoo_core.train.rng import kept_generators

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.spec import Port
    from eozoo_core.task.system import System, Tensors

Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
_FAULTS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)  # of a part that does not fit


def check_first(task: Contract, system: System, loss: Loss, train: Data, fabric: Fabric) -> None:
    """Send the first training sample through ``system`` and ``loss``. Raises ZooError, one line, for what misfits.

    Where training batches do not hold the inputs of ``predict`` (but views of them, say), a whole sample is compared
    with the ports. A task with a ``step`` of its own calls the loss in its own way.
    """
    first = int(train.order(task.settings.train.seed, 0)[0])
    with torch.no_grad(), kept_generators(), evaluating(system), fabric.autocast():
        batch = fabric.to_device(tensors(train.batch([Draw(first, 0)])))
        if not _predictable(system, batch):
            whole = fabric.to_device(tensors(train.items([first % len(train)])))
            if _predictable(system, whole):
                _forward(task, system, None, whole)
        _forward(task, system, loss, batch)


def check_shapes(task: Contract, system: System, loss: Loss, one: Tensors) -> None:
    """Do the same on tensors without numbers, as a plan does, with a batch ``one``."""
    given = shapes(one)
    _predictable(system, one)

    def work(network: Any) -> Tensors:
        batch = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in given.items()}
        _forward(task, network, loss, batch)
        return {}

    with evaluating(system):
        shapes_of(system, work)


def _forward(task: Contract, system: System, loss: Loss | None, batch: Tensors) -> None:
    """Run the network on a batch, compare its outputs where the batch is whole, and the loss where core calls it."""
    whole, plain = all(port.role in batch for port in system.inputs), plain_step(task) and loss is not None
    if whole or plain:
        with blaming(task, "model"):
            raw = system(system.staged(batch))
            found = system.finish(raw, batch) if whole else {}
    if whole:
        require_ports(task, system, shapes(batch), shapes(found))
    if plain:
        require_loss(task, system, loss, raw, batch)


def require_loss(task: Contract, system: System, loss: Loss, raw: Tensors, batch: Tensors) -> None:
    """Raise ZooError where ``loss`` cannot be called with ``raw``, or its sum leads back to nothing that is trained."""
    leaves = {n: v.detach().requires_grad_() if v.is_floating_point() else v for n, v in raw.items()}
    with torch.enable_grad(), blaming(task, "loss"):
        total = loss(leaves, batch)["loss"][0]
    if not system.solves and not getattr(total, "requires_grad", False):
        raise ZooError(
            f"{named_part(task, 'loss')} returned a sum that carries no gradient: compute it with torch, from what the "
            "network gives, without .item() or .detach()"
        )


def require_ports(task: Contract, system: System, given: Shapes, found: Shapes) -> None:
    """Raise ZooError where an output of ``finish`` has other axes, bands or numbers than its port declares."""
    sizes: dict[str, int] = {}
    for port in system.inputs:
        sizes |= dict(zip(port.axes.split(), given[port.role][0], strict=True))
    for port in system.outputs:
        if port.spread != "class" and (problem := misfit(port, found, sizes, system.outputs)):
            part = named_part(task, "model")
            raise ZooError(f"{part} does not fit: {problem}; choose another, or other options of it")


def misfit(port: Port, found: Shapes, sizes: dict[str, int], ports: tuple[Port, ...] = ()) -> str | None:
    """Say how the output of ``port`` differs from what it declares; ``sizes``: letters of axes that are known."""
    if port.role not in found:
        return f"output {port} is missing among {', '.join(found) or 'nothing'}"
    shape, dtype = found[port.role]
    axes, said = port.axes.split(), f"output {port} comes as {tuple(shape)}"
    if not dtype.is_floating_point:
        return f"output {port} comes as {dtype}, and only floats can say NaN = missing"
    if len(axes) != len(shape):
        return f"{said}: {len(shape)} axes, not {len(axes)}"
    legend = next((len(p.legend) for p in ports if p.of == port.role and p.legend), 0)
    named_axis = next((axis for axis in axes if axis not in ("B", "H", "W")), None)
    for axis, size in zip(axes, shape, strict=True):
        wanted = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
        if axis == named_axis:
            wanted = len(port.bands) or legend or wanted
        if size != wanted:
            return f"{said}: {size} along {axis if axis != str(wanted) else 'an axis'}, not {wanted}"
    return None


def shapes(found: Mapping[str, torch.Tensor]) -> Shapes:
    """Return name -> (shape, dtype)."""
    return {name: (tuple(values.shape), values.dtype) for name, values in found.items()}


@contextmanager
def blaming(task: Contract, kind: str) -> Iterator[None]:
    """Turn what a chosen part raises on its first sample into one line with its setting; the cause is kept.

    A task without a slot of that kind has nothing that could be chosen: there it is a bug, and keeps its traceback.
    """
    try:
        yield
    except (torch.OutOfMemoryError, NotImplementedError, *needs_values()):
        raise
    except _FAULTS as error:
        if not any(slot.kind == kind for slot in task.slots.values()):
            raise
        text = (str(error).splitlines() or [""])[0]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "torch" not in Path(f.filename).parts]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
        raise ZooError(
            f"{named_part(task, kind)} fails on the first training sample: {type(error).__name__}: {text} ({where}); "
            "choose another, or other options of it"
        ) from error


@contextmanager
def evaluating(system: torch.nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back into the mode that it had."""
    before = {module: module.training for module in system.modules()}
    system.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _predictable(system: System, batch: Tensors) -> bool:
    """Whether a batch holds what ``predict`` takes. Raises ZooError where it does, and in other axes or bands."""
    if not all(port.role in batch for port in system.inputs):
        return False
    check_arrays({p.role: batch[p.role].cpu().numpy() for p in system.inputs}, system.inputs, "training data")
    return True


def plain_step(task: Contract) -> bool:
    """Whether training descends the loss as core does it."""
    return type(task).step.__module__ == "eozoo_core.task.task"  # not replaced by the system
