"""What the network of a task is, for ``eozoo show`` and ``eozoo card``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eozoo_core.spec import Port

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Network:
    """What the network of a task is, for ``eozoo show`` and ``eozoo card``.

    architecture: its name, with the number of members of an ensemble: "5 x gedi_unet".
    parameters: numbers in use when it predicts: every member, frozen parts too, nothing that only training needs.
    inputs, outputs: the arrays of ``predict``, in physical units; bands and statistics where they are known.
    classes: of an output of classes, code -> name.
    pretrained: where the weights come from that training began with; None = from random numbers. What --init-from
                took is known without it.
    """

    architecture: str
    parameters: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    classes: dict[int, str] = field(default_factory=dict)
    pretrained: str | None = None


def count_parameters(build: Callable[[], torch.nn.Module]) -> int:
    """Return the number of parameters of what ``build()`` returns, trained and frozen ones, buffers not.

    It is built on torch's meta device: shapes without numbers, so 600 million cost nothing. A network that looks at
    its values while it is built cannot be; it is built with them.
    """
    import torch

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in build().parameters())
    except (NotImplementedError, RuntimeError):
        return sum(p.numel() for p in build().parameters())
