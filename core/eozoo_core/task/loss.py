"""Anybody's registered loss as the loss of a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    import torch

    from eozoo_core.task.contract import Contract

Tensors = dict[str, "torch.Tensor"]


def registered_loss(task: Contract, *roles: str) -> Callable[[Tensors, Tensors], dict[str, tuple]]:
    """Return the loss that ``model.loss`` of the settings names, as ``called_with`` calls it."""
    part = task.settings.model.loss
    return called_with(task.build("loss", part), part.name, *roles)


def called_with(function: Callable[..., Any], name: str, *roles: str) -> Callable[[Tensors, Tensors], dict[str, tuple]]:
    """Return f(raw, batch) -> {"loss": (sum, count)} that calls ``function`` with the arrays ``roles``, in that order.

    An array is looked for in ``raw`` first, then in the batch. ``name``: of the loss, for messages. Raises ZooError
    where ``function`` gives anything but ``(sum, count)``.
    """

    def loss(raw: Tensors, batch: Tensors) -> dict[str, tuple]:
        found = function(*(raw[role] if role in raw else batch[role] for role in roles))
        if not (isinstance(found, tuple) and len(found) == 2):
            kind = type(found).__name__
            raise ZooError(
                f"model.loss.name: {name} returned a {kind}, not (sum, count): the sum over labelled elements, "
                "and how many there are"
            )
        return {"loss": found}

    return loss
