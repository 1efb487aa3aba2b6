"""Batches for training: shuffled by seed and epoch, shared by processes, able to start anywhere.

Sample ``k`` of epoch ``e`` is the same whatever the number of workers, processes, or interruptions: a loader is a
function of (seed, epoch, position), and random augmentation is keyed by the ``Draw`` that a dataset receives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from eozoo_core.errors import ZooError
from eozoo_core.train.launch import loader_workers

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.utils.data import Dataset

    from eozoo_core.settings import RuntimeSettings, TrainSettings


class Draw(NamedTuple):
    """One training sample: which item, and in which epoch; together with the seed this fixes its augmentation."""

    index: int
    epoch: int


class Batches(Protocol):
    """What ``fit`` needs: how many batches an epoch has, and an epoch's batches from any one on."""

    def __len__(self) -> int:
        """Return the number of batches (forward passes) of an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterable[Any]:
        """Yield the batches ``start``, ``start + 1`` ... of epoch ``number``, on the device."""


def epoch_order(samples: int, seed: int, epoch: int) -> list[int]:
    """Return a permutation of ``range(samples)`` that depends on seed and epoch only."""
    import numpy as np

    return np.random.default_rng((seed, epoch)).permutation(samples).tolist()


class Shares:
    """The draws of some batches, made when they are asked for: an order of 100 million samples is never a list.

    order: a permutation that can be sliced. starts: where in it each batch's draws begin; ``count`` of them follow.
    """

    def __init__(self, order: Sequence[int], epoch: int, starts: range, count: int):
        self._order, self._epoch, self._starts, self._count = order, epoch, starts, count

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[list[Draw]]:
        for start in self._starts:
            yield [Draw(int(index), self._epoch) for index in self._order[start : start + self._count]]

    def after(self, batches: int) -> Shares:
        """Return them without the first ``batches``."""
        return Shares(self._order, self._epoch, self._starts[batches:], self._count)


class Loader:
    """Batches of a map-style dataset whose ``__getitem__`` takes a Draw, or ``__getitems__`` a list of them.

    A dataset may give its own ``order(seed, epoch)``, a permutation; the default is ``epoch_order``.

    Every batch holds ``train.batch_size`` samples over all processes, process ``r`` of ``n`` its r-th share. The last,
    smaller batch of an epoch is left out, unless it is the only one (then it is cut to a multiple of the processes).
    """

    def __init__(
        self,
        dataset: Dataset,
        train: TrainSettings,
        runtime: RuntimeSettings,
        fabric: Fabric,
        collate: Callable[[list], Any] | None = None,
    ):
        self._dataset, self._seed, self._fabric, self._collate = dataset, train.seed, fabric, collate
        self._order = getattr(dataset, "order", lambda seed, epoch: epoch_order(len(dataset), seed, epoch))
        samples, processes = len(dataset), fabric.world_size
        self._batch = min(train.batch_size, samples - samples % processes)
        if self._batch < 1:
            raise ZooError(f"{samples} training samples cannot be shared by {processes} processes; use fewer devices")
        self._workers = loader_workers(runtime, str(fabric.device))

    def __len__(self) -> int:
        return len(self._dataset) // self._batch

    def draws(self, epoch: int) -> Shares:
        """Return this process's share of every batch of an epoch."""
        share = self._batch // self._fabric.world_size
        starts = range(self._fabric.global_rank * share, len(self) * self._batch, self._batch)
        return Shares(self._order(self._seed, epoch), epoch, starts, share)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Yield batches ``start``, ``start + 1`` ... of epoch ``number``, on the device."""
        import torch
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self._dataset,
            batch_sampler=self.draws(number).after(start),
            num_workers=self._workers,
            collate_fn=self._collate,
            pin_memory=self._fabric.device.type == "cuda",
            prefetch_factor=4 if self._workers else None,
            # Without one, starting a loader draws from the global generator, and a resumed run would differ.
            generator=torch.Generator().manual_seed(self._seed),
        )
        for batch in loader:
            yield self._fabric.to_device(batch)


def share_of(samples: int, fabric: Fabric) -> range:
    """Return this process's indices for evaluation: every sample in exactly one process, none repeated."""
    return range(fabric.global_rank, samples, fabric.world_size)
