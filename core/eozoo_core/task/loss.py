"""Anybody's registered loss as the loss of a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    import torch

    from eozoo_core.task.contract import Contract, Loss
    from eozoo_core.task.survey import Survey

Tensors = dict[str, "torch.Tensor"]


def registered_loss(task: Contract, *roles: str) -> Callable[[Tensors, Tensors], dict[str, tuple]]:
    """Return the loss that ``model.loss`` of the settings names, as ``called_with`` calls it."""
    part = task.settings.model.loss
    return called_with(task.build("loss", part), part.name, *roles)


def called_with(function: Callable[..., Any], name: str, *roles: str) -> Callable[[Tensors, Tensors], dict[str, Any]]:
    """Return f(raw, batch) -> {"loss": (sum, count)} that calls ``function`` with the arrays ``roles``, in that order.

    An array is looked for in ``raw`` first, then in the batch. ``name``: of the loss, for messages.
    """

    def loss(raw: Tensors, batch: Tensors) -> dict[str, Any]:
        if missing := [role for role in roles if role not in raw and role not in batch]:
            raise ZooError(
                f"model.loss.name: {name} is called with {missing[0]!r}, which is neither among {', '.join(raw)} (of "
                f"the network) nor {', '.join(batch)} (of the batch)"
            )
        return {"loss": function(*(raw[role] if role in raw else batch[role] for role in roles))}

    return loss


def checked_loss(task: Contract, survey: Survey) -> Loss:
    """Return ``task.loss(survey)``, held against its contract at every call; nothing waits for the device.

    Raises ZooError, one line with the setting, where it returns anything but name -> (sum, count) with 0-d sums, and
    where "loss" is not among the names.
    """
    loss = task.loss(survey)

    def checked(raw: Tensors, batch: Tensors) -> dict[str, tuple[Any, Any]]:
        found = loss(raw, batch)
        if problem := _not_sums(found):
            raise ZooError(f"{named_part(task, 'loss')} {problem}")
        return found

    return checked


def named_part(task: Contract, kind: str) -> str:
    """Say which part of a ``kind`` ("model", "loss") the settings name, and where: "model.loss.name: mae"."""
    found = []
    for path in (path for path, slot in task.slots.items() if slot.kind == kind):
        part = task.settings
        for name in path.split("."):
            part = getattr(part, name, None)
        if part is not None:
            found.append(f"{path}.name: {part.name}")
    return ", ".join(found) or f"the {kind} of {type(task).__name__}"


def _not_sums(found: Any) -> str:
    """Say what is wrong with what a loss returned; "" where it is name -> (sum, count)."""
    if not isinstance(found, dict) or "loss" not in found:
        what = f"the names {', '.join(map(str, found)) or 'none'}" if isinstance(found, dict) else f"a {_kind(found)}"
        return f'returned {what}, not name -> (sum, count) with "loss" among the names'
    for name, value in found.items():
        wanted = "not (sum, count): the sum over labelled elements, and how many there are"
        if not (isinstance(value, tuple) and len(value) == 2):
            return f"returned a {_kind(value)}{'' if name == 'loss' else f' for {name!r}'}, {wanted}"
        for part, number in zip(("sum", "count"), value, strict=True):
            shape = getattr(number, "shape", ())
            if len(shape) or isinstance(number, (str, bytes)) or number is None:
                given = f"of shape {tuple(shape)}" if len(shape) else f"that is a {_kind(number)}"
                return f"returned a {part} {given} for {name!r}, one number is needed; {wanted}"
    return ""


def _kind(value: Any) -> str:
    return f"tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__.removeprefix("Fake")
