"""Where training is: counting steps and epochs, running sums, and how all of it goes into a checkpoint and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run import checkpoint
from eozoo_core.train.launch import all_reduce_sums
from eozoo_core.train.rng import generator_states, seed_process, set_generator_states

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric

    from eozoo_core.run.directory import Run
    from eozoo_core.train.step import Sums


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

    def pooled_means(self, fabric: Fabric) -> dict[str, float]:
        """Return sum / count over all processes since the last report, and the skipped steps if there were any.

        Every process must call it, and all get the same. Reads the device.
        """
        import numpy as np

        names = sorted(self.sums)
        local = np.array([self.sums[n].tolist() for n in names], dtype=np.float64).reshape(-1, 2)
        pooled = all_reduce_sums(fabric, local).tolist()
        values = {name: total / count for name, (total, count) in zip(names, pooled, strict=True) if count}
        return values | ({"skipped_steps": float(self.skipped)} if self.skipped else {})

    def clear(self) -> None:
        """Begin new sums."""
        self.sums, self.skipped = {}, 0


def snapshot(position: Position, fabric: Fabric, state: dict[str, Any], batches: int) -> dict[str, Any]:
    """Return the content of a checkpoint. Every process must call it: each adds its random generators and sums.

    ``batches``: forward passes in an epoch, without which the position within it means nothing.
    """
    sums = {name: pair.cpu() for name, pair in position.sums.items()}
    return {
        **{name: part.state_dict() for name, part in state.items()},
        "epoch": position.epoch,
        "step": position.step,
        "best_val": position.best_val,
        "metrics": dict(position.metrics),
        "rng": _gather(generator_states(), fabric),
        "progress": {
            "batch": position.batch,
            "batches": batches,
            "skipped": position.skipped,
            "sums": _gather(sums, fabric),
        },
    }


def restore(run: Run, fabric: Fabric, state: dict[str, Any], batches: int) -> Position:
    """Load the run's current.pt into ``state`` and the random generators, and return its position.

    A run without one takes the weights of ``--init-from`` where that was given, and begins. Another number of
    processes than before goes on with the same sums in all, and with fresh generators in those that are new. Where an
    epoch has another number of batches than before (``--resume`` with another batch size or other data), the epoch
    begun is begun again.
    """
    seed, rank = run.settings.train.seed, fabric.global_rank
    if not run.has("current"):
        _initialise(run, state["model"])
        seed_process(seed, rank)
        return Position()
    file, content = run.file("current"), run.load("current")
    for name, part in state.items():
        if name in content:
            _load_part(part, content[name], file)
        elif name not in ("scaler", "beside"):  # of fp16, after a start in another precision; of earlier versions
            raise ZooError(f"{file}: has no state of {name!r}; use --init-from to take weights only")
    position = Position(
        epoch=content["epoch"], step=content["step"], best_val=content["best_val"], metrics=content["metrics"]
    )
    progress = content["progress"]
    if progress["batches"] == batches:
        position.batch, position.skipped = progress["batch"], progress["skipped"]
        for sums in progress["sums"][rank :: fabric.world_size]:
            position.add({name: tuple(pair.to(fabric.device)) for name, pair in sums.items()})
    if rank < len(content["rng"]):
        set_generator_states(content["rng"][rank])
    else:
        seed_process(seed + content["step"], rank)
    return position


def _initialise(run: Run, model: Any) -> None:
    start = run.info().get("init_from")
    if start is None:
        return
    if checkpoint.sha256(start["file"]) != start["sha256"]:
        raise ZooError(f"{start['file']}: changed since --init-from named it; start a new --run")
    receipt = checkpoint.load_module(model, checkpoint.load_weights(start["file"]), start["file"])
    run.note("init_from", {**start, "receipt": str(receipt)})


def _load_part(part: Any, state: dict[str, Any], file: Path) -> None:
    """Restore moments and counters; weight decay, momentum and the like stay as the settings say now."""
    if hasattr(part, "parameters"):
        checkpoint.load_module(part, state, file)
        return
    groups = getattr(part, "param_groups", [])
    today = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    try:
        part.load_state_dict(state)
    except (ValueError, KeyError) as error:
        raise ZooError(
            f"{file}: the optimiser's state does not match the trainable parameters ({error}); "
            "use --init-from to take weights only"
        ) from None
    for group, values in zip(getattr(part, "param_groups", []), today, strict=True):
        group.update(values)


def _gather(value: Any, fabric: Fabric) -> list[Any]:
    if fabric.world_size == 1:
        return [value]
    import torch

    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, value)
    return gathered
