"""Where training is: counting steps and epochs, running sums, and how all of it goes into a checkpoint and back."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eozoo_core import checkpoint
from eozoo_core.launch import all_reduce_sums

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from eozoo_core.optim import Sums
    from eozoo_core.run import Run
    from eozoo_core.settings import TrainSettings


class Timetable:
    """When things happen, counted in optimiser steps: one long epoch or many short ones are the same to it."""

    def __init__(self, batches_per_epoch: int, train: TrainSettings):
        self._batches, self._train = batches_per_epoch, train
        self.per_epoch = math.ceil(batches_per_epoch / train.accumulate)
        limits = [train.steps, train.epochs and train.epochs * self.per_epoch]
        self.total = min(limit for limit in limits if limit is not None)

    def take(self, batches: Iterator[Any], position: Position) -> list[Any]:
        """Return the micro-batches of the next optimiser step; fewer at the end of an epoch."""
        left = self._batches - position.batch
        return list(itertools.islice(batches, min(self._train.accumulate, left)))

    def advance(self, position: Position) -> None:
        """Move on by one optimiser step."""
        position.step += 1
        position.batch += self._train.accumulate
        if position.batch >= self._batches:
            position.epoch, position.batch = position.epoch + 1, 0

    def ends(self, position: Position) -> bool:
        """Whether training is finished."""
        return position.step >= self.total

    def validates_within(self, position: Position) -> bool:
        """Whether a validation by steps is due now."""
        every = self._train.validate_every_steps
        return every is not None and position.step % every == 0

    def validates(self, position: Position) -> bool:
        """Whether this boundary validates: by steps, by epochs, and always at the end."""
        by_epoch = position.batch == 0 and position.epoch % self._train.validate_every == 0
        return by_epoch or self.validates_within(position) or self.ends(position)


@dataclass
class Position:
    """A place in training. ``epoch`` counts finished epochs, ``batch`` the forward passes done in the one begun."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: int = 0
    best_val: float = math.inf
    metrics: dict[str, float] = field(default_factory=dict)
    sums: dict[str, Any] = field(default_factory=dict)  # name -> float64 tensor [sum, count] on the device

    def add(self, sums: Sums | None) -> None:
        """Add one step's sums, on the device, without reading them."""
        import torch

        if sums is None:
            self.skipped += 1
            return
        for name, pair in sums.items():
            device = next((v.device for v in pair if isinstance(v, torch.Tensor)), torch.device("cpu"))
            # MPS has no float64; there the running sum of an interval is float32.
            kind = torch.float32 if device.type == "mps" else torch.float64
            new = torch.stack([torch.as_tensor(v, device=device).detach().to(kind) for v in pair])
            self.sums[name] = self.sums[name] + new if name in self.sums else new

    def means(self) -> dict[str, float]:
        """Return sum / count of this process since the last report. Reads the device."""
        return _means({name: pair.tolist() for name, pair in self.sums.items()})

    def pooled_means(self, fabric: Fabric) -> dict[str, float]:
        """Return sum / count over all processes since the last report, and the skipped steps if there were any."""
        import numpy as np

        names = sorted(self.sums)
        local = np.array([self.sums[n].tolist() for n in names], dtype=np.float64).reshape(-1, 2)
        values = _means(dict(zip(names, all_reduce_sums(fabric, local).tolist(), strict=True)))
        return values | ({"skipped_steps": float(self.skipped)} if self.skipped else {})

    def clear(self) -> None:
        """Begin new sums."""
        self.sums, self.skipped = {}, 0


def _means(sums: dict[str, list[float]]) -> dict[str, float]:
    return {name: total / count for name, (total, count) in sums.items() if count}


def snapshot(position: Position, fabric: Fabric, state: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint. Every process must call it: each adds its random generators."""
    progress = {
        "batch": position.batch,
        "skipped": position.skipped,
        "sums": {name: pair.cpu() for name, pair in position.sums.items()},
    }
    return {
        **{name: part.state_dict() for name, part in state.items()},
        "epoch": position.epoch,
        "step": position.step,
        "best_val": position.best_val,
        "metrics": dict(position.metrics),
        "rng": _gather(_generators(), fabric),
        "progress": _gather(progress, fabric),
    }


def restore(run: Run, fabric: Fabric, state: dict[str, Any]) -> Position | None:
    """Load the run's current.pt into ``state`` and return its position; None where there is none.

    A run without one takes the weights of ``--init-from`` where that was given.
    """
    if not run.has("current"):
        _initialise(run, state["model"])
        return None
    content = run.load("current")
    for name, part in state.items():
        if name not in content:
            raise checkpoint.ZooError(
                f"{run.file('current')}: has no state of {name!r}; use --init-from to take weights only"
            )
        if hasattr(part, "parameters"):
            checkpoint.load_module(part, content[name], run.file("current"))
        else:
            _load_optimizer(part, content[name])
    rank = fabric.global_rank
    if rank < len(content["rng"]):
        _set_generators(content["rng"][rank])
    progress = content["progress"][rank] if rank < len(content["progress"]) else {"batch": 0, "skipped": 0, "sums": {}}
    return Position(
        epoch=content["epoch"],
        batch=content["progress"][0]["batch"],
        step=content["step"],
        skipped=progress["skipped"],
        best_val=content["best_val"],
        metrics=content["metrics"],
        sums={name: pair.to(fabric.device) for name, pair in progress["sums"].items()},
    )


def _initialise(run: Run, model: Any) -> None:
    start = run.info().get("init_from")
    if start is None:
        return
    if checkpoint.sha256(start["file"]) != start["sha256"]:
        raise checkpoint.ZooError(f"{start['file']}: changed since --init-from named it; start a new --run")
    receipt = checkpoint.load_module(model, checkpoint.load_weights(start["file"]), start["file"])
    run.note("init_from", {**start, "receipt": str(receipt)})


def _load_optimizer(part: Any, state: dict[str, Any]) -> None:
    """Restore moments and counters; weight decay, momentum and the like stay as the settings say now."""
    groups = getattr(part, "param_groups", [])
    today = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    part.load_state_dict(state)
    for group, values in zip(getattr(part, "param_groups", []), today, strict=True):
        group.update(values)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the global random generators as they were, whatever happens inside."""
    before = _generators()
    try:
        yield
    finally:
        _set_generators(before)


def _generators() -> dict[str, Any]:
    import numpy as np
    import torch

    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - third-party code may draw from it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), position, has_gauss, gauss],
        "python": list(random.getstate()),
    }


def _set_generators(state: dict[str, Any]) -> None:
    import numpy as np
    import torch

    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype("uint32"), *rest))  # noqa: NPY002
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def _gather(value: Any, fabric: Fabric) -> list[Any]:
    if fabric.world_size == 1:
        return [value]
    import torch

    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, value)
    return gathered
