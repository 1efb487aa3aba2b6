"""Forward passes that several small scenes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eozoo_core.task.contract import Arrays


@dataclass
class _Asked:
    arrays: Arrays
    found: Arrays | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.arrays.values())))

    def fits(self, other: _Asked) -> bool:
        """Whether both can lie in one batch."""
        mine, its = ({n: (v.shape[1:], v.dtype) for n, v in one.arrays.items()} for one in (self, other))
        return mine == its


class Passes:
    """Collects what is asked for, and predicts as much of it at once as ``most`` samples allow; for one thread.

    ``predict``: arrays that share their first axis -> arrays that share it too.
    """

    def __init__(self, predict: Callable[[Arrays], Arrays], most: int):
        self._predict, self._most = predict, most
        self._queue: list[_Asked] = []

    @property
    def full(self) -> bool:
        """Whether a batch waits."""
        return sum(one.count for one in self._queue) >= self._most

    def ask(self, arrays: Arrays) -> Callable[[], Arrays]:
        """Queue arrays; return what gives their prediction. Only its call predicts: all that waits, in order."""
        asked = _Asked(arrays)
        self._queue.append(asked)

        def answer() -> Arrays:
            while asked.found is None:
                self._run()
            return asked.found

        return answer

    def _run(self) -> None:
        """Predict the first that waits, and those behind it that fit into its batch."""
        first, *others = self._queue
        batch, count = [first], first.count
        for one in others:
            if not first.fits(one) or count + one.count > self._most:
                break
            batch, count = [*batch, one], count + one.count
        del self._queue[: len(batch)]  # also where it fails: the next scene shall not fail of it
        found = self._predict(
            {name: np.concatenate([one.arrays[name] for one in batch]) for name in first.arrays}
            if len(batch) > 1
            else first.arrays
        )
        start = 0
        for one in batch:
            one.found = {name: values[start : start + one.count] for name, values in found.items()}
            start += one.count
