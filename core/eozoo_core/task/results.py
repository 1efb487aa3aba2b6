"""What verbs of a task return: a plan, a network as one graph, the description of a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eozoo_core.spec import Port

if TYPE_CHECKING:
    import numpy as np
    import torch

    from eozoo_core.train.memory import StepMemory
    from eozoo_core.train.timetable import Timetable


@dataclass(frozen=True)
class Plan:
    """What ``train --dry-run`` prints: everything that is known before the first step."""

    data: dict[str, str]
    parameters: int
    trainable: int
    steps_per_epoch: int
    total_steps: int
    memory_bytes: int | None  # of one step, at its peak; None = not known
    notes: tuple[str, ...] = field(default=())
    memory_parts: dict[str, int] = field(default_factory=dict)  # what memory_bytes is made of, where known

    @classmethod
    def of(
        cls,
        data: dict[str, str],
        networks: Iterable[torch.nn.Module],
        times: Timetable,
        memory: StepMemory | None,
        notes: Iterable[str] = (),
    ) -> Plan:
        """Return the plan of a training of ``networks``; see ``train.schedule.plan_steps`` and ``train.memory``."""
        parameters = [p for network in networks for p in network.parameters()]
        return cls(
            data=data,
            parameters=sum(p.numel() for p in parameters),
            trainable=sum(p.numel() for p in parameters if p.requires_grad),
            steps_per_epoch=times.per_epoch,
            total_steps=times.total,
            memory_bytes=memory.total if memory else None,
            memory_parts=memory.parts() if memory else {},
            notes=tuple(notes),
        )


@dataclass(frozen=True)
class Graph:
    """A trained system as one network, for ``eozoo export``: what ``predict`` does, normalisation and masking included.

    module: called with ``inputs`` in order, NaN = missing; returns a tuple in the order ``outputs``.
    inputs: name -> example array, as ``predict`` takes it; the graph has its type, and its shape but for ``axes``.
    axes:   name -> a word for each axis of an input, "" where its size is fixed: ("batch", "", "height", "width").
            One word means one size; "batch" are independent samples.
    about:  name -> what a stranger must know of an input or output: order of bands, unit, range. It is in the file.
    tolerance: largest difference from ``predict``, as a share of an output's largest value. Above the default only
            where the graph computes in another precision than the run; ``note`` then says so.
    """

    module: Any
    inputs: dict[str, np.ndarray]
    outputs: tuple[str, ...]
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    tolerance: float = 1e-4
    note: str = ""


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
