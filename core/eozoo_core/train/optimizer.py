"""The optimiser that the shared train settings name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    import torch

    from eozoo_core.settings import TrainSettings


def make_optimizer(parameters: Iterable[torch.nn.Parameter], train: TrainSettings) -> torch.optim.Optimizer:
    """Build ``train.optimizer`` over those parameters that require a gradient. Raises ZooError where none does."""
    import torch

    trainable = [p for p in parameters if p.requires_grad]
    if not trainable:
        raise ZooError("no parameter is trainable; unfreeze a part of the model or enable its adapters")
    if train.optimizer == "sgd":
        return torch.optim.SGD(
            trainable, lr=train.learning_rate, momentum=train.momentum, weight_decay=train.weight_decay
        )
    kind = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.Adam
    return kind(trainable, lr=train.learning_rate, weight_decay=train.weight_decay)
