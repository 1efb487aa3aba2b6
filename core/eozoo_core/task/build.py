"""A system to train, to use or to describe; the run keeps its frozen tensors once, and checkpoints all others.

Always in this order: ``Task.system`` gives it plain, the tensors of ``System.frozen`` go into the run's base file or
come from there, and ``System.adapt`` makes of it what is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from eozoo_core.errors import ZooError
from eozoo_core.run.continuity import run_info
from eozoo_core.run.frozen import Base, base_file, keep_base, load_base
from eozoo_core.run.progress import print_message
from eozoo_core.run.rank import is_first_process
from eozoo_core.task.contract import Contract

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.task.load import Trained
    from eozoo_core.task.survey import Survey
    from eozoo_core.task.system import System

T = TypeVar("T")


def begin(task: Contract, run: Run, survey: Survey, fabric: Fabric) -> tuple[System, dict[str, Any]]:
    """Return the adapted system that training begins or goes on with, and what its checkpoints say of the base.

    The base is the run's own, or that of the checkpoint which the run starts from. A run without either writes one: the
    frozen tensors of the new system, published or random, before ``adapt``. Raises ZooError as ``load_base``, and where
    the base belongs to another system.
    """
    base = load_base(run) if is_first_process() else None
    fabric.barrier()  # the first process may have linked the file into the run
    base = base if is_first_process() else load_base(run)
    # A run that stopped before its first checkpoint starts over: the base does not hold the tensors that are trained.
    fresh = not run.has("current") and (base is None or "init_from" not in run.info())
    system = plain(task, survey, fresh)
    if fresh and (receipt := _receipts(system)):
        run.note("weights", receipt)
        if not run.settings.runtime.quiet:
            print_message(receipt)
    elif "weights" not in run.info() and (receipt := _inherited(run)):
        run.note("weights", receipt)
    names = system.frozen()
    if names and base is None:
        if not fresh:
            raise ZooError(f"{run.path}: run.json names no frozen base, which checkpoints need; copy the run again")
        fabric.barrier()  # all have seen that there is none
        if is_first_process():
            state = nn.Module.state_dict(system)
            keep_base(run, {_inside(names, name): state[name] for name in names})
        fabric.barrier()
    digest = run.info()["base"] if names else ""
    _adapt(system, base if names else None, base_file(run.path, digest))
    return system, {"base": Base(digest)} if names else {}


def _receipts(system: System) -> str:
    """What the system and its parts say of weights that they begin with."""
    found = [str(getattr(part, "receipt", None) or "") for part in system.modules()]
    return "; ".join(dict.fromkeys(receipt for receipt in found if receipt))


def _inherited(run: Run) -> str | None:
    """What the run that this one starts from says of published weights; None where it says nothing."""
    start = run.info().get("resumed_from") or run.info().get("init_from")
    return run_info(Path(start["file"]).parent).get("weights") if start else None


def rebuild(task: Contract, survey: Survey, trained: Trained) -> System:
    """Return the adapted system of a checkpoint with its frozen tensors in it; all others are still to be loaded.

    The base stays in its mapped file until it is adapted, so that a model that is quantised is never whole in memory.
    Raises ZooError as ``Trained.base``, and where the base is of another system.
    """
    return begun(task, survey, trained, adapt=True)


def begun(task: Contract, survey: Survey, trained: Trained, adapt: bool) -> System:
    """Do the same; without ``adapt`` the system stays plain, for one around it to adapt."""
    system = plain(task, survey, fresh=False)
    frozen = bool(system.frozen())
    base, file = (trained.base(), trained.base_file) if frozen else (None, trained.file)
    if adapt:
        _adapt(system, base, file)
    elif base is not None:
        _fill(system, base, file)
    return system


def sketch(task: Contract, survey: Survey) -> tuple[System, int]:
    """Return an adapted system for its shapes alone, and how many parameters it has, frozen ones as before `adapt`."""

    def build() -> tuple[System, int]:
        system = plain(task, survey, fresh=False)
        names = system.frozen()
        count = sum(p.numel() for name, p in system.named_parameters() if name in names)
        system.adapt()
        names = system.frozen()
        return system, count + sum(p.numel() for name, p in system.named_parameters() if name not in names)

    return shapes_alone(build)


def shapes_alone(build: Callable[[], T]) -> T:
    """Call ``build()`` on torch's meta device: shapes without numbers, so 600 million parameters cost nothing.

    Networks that read tensor values in ``__init__`` are built normally.
    """
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):
        return build()


def plain(task: Contract, survey: Survey, fresh: bool) -> System:
    """Build a system, not yet adapted, and tell it its ports."""
    system, ports = task.system(survey, fresh), task.ports(survey)
    system.inputs, system.outputs = ports.inputs, ports.outputs
    return system


def _adapt(system: System, base: dict[str, torch.Tensor] | None, file: Path) -> None:
    """Put the base in, give memory to what has shapes alone and is loaded later, and adapt; in place."""
    if base is not None:
        _fill(system, base, file)
    for held, name, tensor in _held(system):
        if tensor.is_meta:
            empty = torch.empty_like(tensor, device="cpu")
            held[name] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    system.adapt()
    mapped = {tensor.untyped_storage().data_ptr() for tensor in (base or {}).values()}
    for _, _, tensor in _held(system):
        if tensor.untyped_storage().data_ptr() in mapped:  # what was not quantised
            tensor.data = tensor.data.clone()


def _fill(system: System, base: dict[str, torch.Tensor], file: Path) -> None:
    names, state = system.frozen(), nn.Module.state_dict(system)
    expected = {_inside(names, name): name for name in names}
    wrong = [n for n in {*expected, *base} if n not in base or n not in expected]
    wrong += [n for n, name in expected.items() if n in base and base[n].shape != state[name].shape]
    if wrong:
        raise ZooError(
            f"{file}: the frozen base does not fit these settings of the model: {len(wrong)} tensors differ "
            f"({min(wrong)}); choose those that it was made with"
        )
    nn.Module.load_state_dict(system, {name: base[n] for n, name in expected.items()}, strict=False, assign=True)


def _inside(names: set[str], name: str) -> str:
    """Return a tensor's name within the module that holds all of ``names``: in an encoder's base, the encoder's."""
    first, last = (chosen.split(".")[:-1] for chosen in (min(names), max(names)))
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return ".".join(name.split(".")[shared:])


def _held(system: System) -> Iterator[tuple[dict[str, Any], str, torch.Tensor]]:
    """Every parameter and buffer with the dict that holds it."""
    for module in system.modules():
        for held in (module._parameters, module._buffers):
            yield from ((held, name, tensor) for name, tensor in list(held.items()) if tensor is not None)
