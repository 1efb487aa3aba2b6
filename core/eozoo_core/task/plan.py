"""What ``train --dry-run`` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
