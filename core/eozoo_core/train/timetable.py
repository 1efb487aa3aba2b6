"""When training validates and ends, counted in optimiser steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eozoo_core.settings import TrainSettings
    from eozoo_core.train.state import Position


def passes(train: TrainSettings, samples: int) -> int:
    """Return how often an epoch passes ``samples`` samples: once, or until it has ``train.epoch_steps`` steps."""
    wanted = (train.epoch_steps or 0) * train.accumulate * train.batch_size
    return max(1, math.ceil(wanted / max(1, samples)))


class Timetable:
    """When things happen, counted in optimiser steps: one long epoch or many short ones are the same to it."""

    def __init__(self, batches_per_epoch: int, train: TrainSettings):
        self._batches, self._train = batches_per_epoch, train
        self.per_epoch = math.ceil(batches_per_epoch / train.accumulate)
        limits = [train.steps, train.epochs and train.epochs * self.per_epoch]
        self.total = min(limit for limit in limits if limit is not None)

    def take(self, batches: Iterator[Any]) -> list[Any]:
        """Return the micro-batches of the next optimiser step; fewer at the end of an epoch, none after it."""
        return list(itertools.islice(batches, self._train.accumulate))

    def advance(self, position: Position) -> None:
        """Move on by one optimiser step."""
        position.step += 1
        position.batch += self._train.accumulate
        if position.batch >= self._batches:
            position.epoch, position.batch = position.epoch + 1, 0

    def ends(self, position: Position) -> bool:
        """Whether training is finished. Epochs count as done, not as steps: --resume may change how many those are."""
        epochs, steps = self._train.epochs, self._train.steps
        return (epochs is not None and position.epoch >= epochs) or (steps is not None and position.step >= steps)

    def validates_within(self, position: Position) -> bool:
        """Whether a validation by steps is due now."""
        every = self._train.validate_every_steps
        return every is not None and position.step % every == 0

    def validates(self, position: Position) -> bool:
        """Whether this boundary validates: by steps, by epochs, and always at the end."""
        by_epoch = position.batch == 0 and position.epoch % self._train.validate_every == 0
        return by_epoch or self.validates_within(position) or self.ends(position)
