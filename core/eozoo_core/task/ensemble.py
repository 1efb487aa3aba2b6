"""An ensemble of networks in one run: members in folders ``member_0``, ``member_1`` ..., each a run of its own.

Member 0 is the network that the same settings with one member would train.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import torch

from eozoo_core.errors import ZooError
from eozoo_core.run.directory import Run
from eozoo_core.run.manifest import quick_sha256

if TYPE_CHECKING:
    from eozoo_core.settings import TaskSettings
    from eozoo_core.task.system import System, Tensors

SEED_STEP = 1000  # members of runs with neighbouring seeds must not be the same networks


def member_count(settings: TaskSettings) -> int:
    """How many networks a run of these settings has."""
    return getattr(settings.train, "members", 1)


def member_settings(settings: TaskSettings, number: int) -> TaskSettings:
    """Settings of the run of one member: a seed of its own, and one network."""
    train = settings.train.model_copy(update={"seed": settings.train.seed + SEED_STEP * number, "members": 1})
    return settings.model_copy(update={"train": train})


def member_runs(run: Run, settings: TaskSettings) -> list[Run]:
    """Runs of all members: the run itself where it has one. Opens nothing."""
    count = member_count(settings)
    if count == 1:
        return [run]
    return [Run(run.path / f"member_{i}", run.task, member_settings(settings, i)) for i in range(count)]


def best_hash(run: Run, settings: TaskSettings) -> str:
    """Return the SHA-256 of best.pt, of an ensemble those of all members joined by commas."""
    return ",".join(quick_sha256(member.file("best")) for member in member_runs(run, settings))


def chosen_members(settings: TaskSettings, which: Any) -> tuple[int, ...]:
    """Numbers of the members that predict, all without ``which``. Raises ZooError for one that there is not."""
    known = range(member_count(settings))
    chosen = tuple(known) if which is None or which.members is None else which.members
    strange = next((i for i in chosen if i not in known), None)
    if strange is not None or not chosen or len(set(chosen)) < len(chosen):
        raise ZooError(f"members {list(chosen)}: choose each once, from 0 to {len(known) - 1}")
    return chosen


def draw_count(settings: TaskSettings, how: Any) -> int:
    """How many draws ``how`` (``settings.infer`` or ``settings.eval``) asks for."""
    which = getattr(how, "draws", None)
    return len(chosen_members(settings, which)) * max(1, which.mc_passes if which else 0)


def with_dropout(system: System, number: int, passes: int) -> dict[str, System]:
    """Return member ``number`` as it is, or as so many passes with dropout on. Raises ZooError without dropout."""
    if passes == 0:
        return {f"member {number}": system}
    if not any(layer.p > 0 for layer in _dropouts(system)):
        raise ZooError("mc_passes needs a network with dropout; train with model.options.dropout above 0")
    return {f"member {number} pass {k}": _passing(system, k) for k in range(passes)}


def _passing(system: System, seed: int) -> System:
    """A system that shares all weights with ``system`` and drops the same channels in every call."""
    one = copy(system)

    def forward(staged: Tensors) -> Tensors:
        with _fixed_dropout(system, seed):
            return system(staged)  # in the precision that the system was given

    one.forward = forward
    return one


def _dropouts(system: torch.nn.Module) -> list[Any]:
    kinds = (torch.nn.Dropout, torch.nn.Dropout2d)
    return [layer for layer in system.modules() if isinstance(layer, kinds)]


@contextmanager
def _fixed_dropout(system: torch.nn.Module, seed: int) -> Iterator[None]:
    """Drop the same channels in every window and sample: one pass is one network, and its map has no seams.

    The system stays in evaluation mode, so batch norm uses what it learned. A kept channel is scaled by 1 / (1 - p).
    """
    hooks = []
    for number, layer in enumerate(_dropouts(system)):

        def drop(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor, number: int = number) -> torch.Tensor:
            generator = torch.Generator().manual_seed(1_000_003 * seed + number)
            (values,) = inputs
            kept = torch.rand(values.shape[1], generator=generator) >= layer.p
            return values * (kept / (1 - layer.p)).to(values).reshape(1, -1, *[1] * (values.ndim - 2))

        hooks.append(layer.register_forward_hook(drop))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
