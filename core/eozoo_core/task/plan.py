"""What ``train --dry-run`` prints."""

from __future__ import annotations

from dataclasses import dataclass, field


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
