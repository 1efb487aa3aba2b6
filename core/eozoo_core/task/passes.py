"""Forward passes that several small scenes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.task.contract import Arrays


@dataclass
class _Asked:
    arrays: Arrays
    found: Arrays | None = None
    error: ZooError | None = None
    alone: bool = False

    @property
    def count(self) -> int:
        return len(next(iter(self.arrays.values())))

    def fits(self, other: _Asked) -> bool:
        """Whether both can lie in one batch."""
        if self.alone or other.alone:
            return False
        mine, its = ({n: (v.shape[1:], v.dtype) for n, v in one.arrays.items()} for one in (self, other))
        return mine == its


class Passes:
    """Collects what is asked for, and predicts as much of it at once as ``most`` allows; for one thread.

    ``predict``: arrays that share their first axis -> arrays that share it too. ``most``: arrays -> how many samples of
    their shapes go through the network at once.
    """

    def __init__(self, predict: Callable[[Arrays], Arrays], most: Callable[[Arrays], int]):
        self._predict, self._most = predict, most
        self._queue: list[_Asked] = []

    @property
    def full(self) -> bool:
        """Whether a batch waits."""
        waiting = sum(one.count for one in self._queue)
        return waiting > 0 and waiting >= self._most(self._queue[0].arrays)

    def ask(self, arrays: Arrays) -> Callable[[], Arrays]:
        """Queue arrays; return what gives their prediction. Only its call predicts: all that waits, in order.

        It raises the ZooError that ``predict`` raises for these arrays, and none of those that shared their batch.
        """
        asked = _Asked(arrays)
        self._queue.append(asked)

        def answer() -> Arrays:
            while asked.found is None:
                if asked.error is not None:
                    raise asked.error
                self._run()
            return asked.found

        return answer

    def _run(self) -> None:
        """Predict the first that waits, and those behind it that fit into its batch."""
        first, *others = self._queue
        batch, count, most = [first], first.count, self._most(first.arrays)
        for one in others:
            if not first.fits(one) or count + one.count > most:
                break
            batch, count = [*batch, one], count + one.count
        del self._queue[: len(batch)]
        joined = {name: [one.arrays[name] for one in batch] for name in first.arrays}
        try:
            found = self._predict({n: np.concatenate(v) for n, v in joined.items()} if len(batch) > 1 else first.arrays)
        except ZooError as error:
            if len(batch) == 1:
                first.error = error
            else:  # each once more by itself: only the scene that it is about shall fail
                self._queue[:0] = batch
                for one in batch:
                    one.alone = True
            return
        start = 0
        for one in batch:
            one.found = {name: values[start : start + one.count] for name, values in found.items()}
            start += one.count
