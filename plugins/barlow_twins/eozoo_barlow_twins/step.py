"""One optimiser step and one validation of the pre-training: statistics of batches, which do not add up over batches.

A loss of two views gets those of all processes, and gives (sum, count) as every registered loss does.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.run.progress import print_message
from eozoo_core.run.writing import append
from eozoo_core.run.written import copy_file, write_picture
from eozoo_core.task.data import tensors
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.step import Sums, optimizer_step

from eozoo_barlow_twins.effective_rank import collapse_line, effective_rank
from eozoo_barlow_twins.loss import BarlowTwinsLoss, gather_all, mixup_term
from eozoo_barlow_twins.permutation import key32

if TYPE_CHECKING:
    from collections.abc import Callable

    from eozoo_core.task.contract import Loss
    from eozoo_core.task.train import Trainer

    from eozoo_barlow_twins.pixels import PixelSeries
    from eozoo_barlow_twins.system import PixelSystem

_MIXUP = 21


def add_pixel_model(trainer: Trainer, head_rate: float = 1.0) -> None:
    """Train the whole system. ``head_rate`` multiplies the rate of its head, ``train.bias_rate`` that of vectors."""
    train, system = trainer.run.settings.train, trainer.system
    if trainer.run.settings.runtime.compile and hasattr(trainer.fabric, "strategy"):  # a plan compiles nothing
        system.encoder.backbone.compile()
    apart = head_rate != 1  # at 1 the groups stay those of earlier checkpoints
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((apart and name.startswith("head."), parameter.ndim <= 1), []).append(parameter)
    first, *others = sorted(groups)
    optimizer = make_optimizer(groups[first], train)
    scale = {key: (head_rate if key[0] else 1.0) * (train.bias_rate if key[1] else 1.0) for key in groups}
    optimizer.param_groups[0]["lr_scale"] = scale[first]
    for key in others:
        optimizer.add_param_group({"params": groups[key], "lr_scale": scale[key]})
    trainer.add("model", system, optimizer)


def pair_loss(function: Any) -> Loss:
    """Return f(raw, batch) of a loss of two views: "first" and "second" of ``raw``, each (B, P).

    The parts of the Barlow Twins loss come with it. What another loss returns is core's to check.
    """

    def loss(raw: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, Any]:
        if not isinstance(function, BarlowTwinsLoss):
            return {"loss": function(raw["first"], raw["second"])}
        parts = function.parts(raw["first"], raw["second"])
        return {"loss": (parts.total, 1), "on_diag": (parts.on_diag, 1), "off_diag": (parts.off_diag, 1)}

    return loss


class TwinStep:
    """The optimiser step and the validation that ``fit`` calls. ``function``: the registered loss itself."""

    def __init__(self, trainer: Trainer, function: Any):
        self._trainer, self._function, self._settings = trainer, function, trainer.run.settings
        self._model, self._fabric = trainer.modules["model"], trainer.fabric
        self._examples, self._since, self._warned, self._step = 0, time.monotonic(), False, 0
        if self._settings.data.augment.mixup and not isinstance(function, BarlowTwinsLoss):
            raise ZooError("data.augment.mixup: is a term of the loss barlow_twins; set it to 0 with another loss")

    def __call__(self, micro_batches: list[dict[str, Any]], step: int) -> Sums:
        """Forward both views at once, backward, optimiser step; returns the sums to log."""
        logged: dict[str, list[Any]] = {}
        train = self._settings.train
        for i, batch in enumerate(micro_batches):
            with self._fabric.no_backward_sync(self._model, enabled=i < len(micro_batches) - 1):
                embedding, values, extra = self._forward(batch, step)
                self._fabric.backward((values["loss"] + extra) / len(micro_batches))
            embedding = gather_all(embedding.detach())
            values["embedding_std"] = embedding.float().std(dim=0).mean()
            for name, value in values.items():
                logged.setdefault(name, []).append(value.detach())
        optimizer_step(self._fabric, self._model, self._trainer.optimizers["model"], train)
        if (step + 1) % train.log_every == 0 and hasattr(self._fabric, "strategy"):  # a plan has no numbers
            for name, value in effective_rank(embedding.float().cpu().numpy()).items():
                logged[name] = [value]
            self._speed(step + 1)
        self._examples += sum(len(b["views"]) for b in micro_batches) * self._fabric.world_size
        self._step = step + 1
        return {name: (sum(values), len(values)) for name, values in logged.items()}

    def validate(self) -> dict[str, Any]:
        """Score all validation views, in every process the same; keep and return the cross-correlation as a picture."""
        trainer = self._trainer
        values, correlation = score_views(self._model, trainer.system, trainer.loss, trainer.val, self._settings)
        self._watch(values)
        if not self._fabric.is_global_zero:
            return values
        from eozoo_barlow_twins.pictures import correlation_picture

        folder, picture = trainer.run.path, correlation_picture(correlation)
        file = write_picture(folder / "cross_correlation" / f"step_{self._step:07d}.png", picture)
        copy_file(file, folder / "cross_correlation.png")
        return values | {"cross_correlation": picture}

    def _watch(self, values: dict[str, float]) -> None:
        """Say once, in one line, that the embedding has collapsed."""
        dimensions = self._trainer.system.encoder.backbone.latent_dim
        line = collapse_line(values["rankme"], values["embedding_std"], dimensions)
        if line and not self._warned and self._fabric.is_global_zero:
            self._warned = True
            self._trainer.run.note("collapse", line)
            print_message(line)

    def _forward(self, batch: dict[str, Any], step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], Any]:
        """Embedding of both views, the loss and its parts, and the mixed-sample term (0 where it is off)."""
        weight, count = self._settings.data.augment.mixup, len(batch["views"])
        if weight:
            batch, order, share = self._mixed(batch, step)
        raw = self._model(self._trainer.system.staged(batch))
        z1, z2, *mixed = raw["projection"].split(count)
        # First: gradients are added up in the order of the forward pass, and sums of floats depend on it.
        extra = weight * mixup_term(self._function, z1, z2, mixed[0], order, share) if weight else 0.0
        found = self._trainer.loss({"first": gather_all(z1), "second": gather_all(z2)}, batch)
        values = {name: total / number for name, (total, number) in found.items()}
        return raw["embedding"][: 2 * count], values, extra

    def _mixed(self, batch: dict[str, Any], step: int) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
        """Fill the third view: a share of the first and the rest of another pixel's second, on the first's days."""
        generator = torch.Generator().manual_seed(
            key32(self._settings.train.seed, step, _MIXUP, self._fabric.global_rank)
        )
        views, days = batch["views"], batch["days"].clone()
        order = torch.randperm(len(views), generator=generator).to(views.device)
        share = torch.rand((), generator=generator).to(views.device)
        mixture = share * views[:, 0] + (1 - share) * views[order, 1]
        days[:, 2] = days[:, 0]
        return {**batch, "views": torch.stack([views[:, 0], views[:, 1], mixture], dim=1), "days": days}, order, share

    def _speed(self, step: int) -> None:
        """Append examples per second to RUN/speed.jsonl: it depends on the machine, the training log does not."""
        now = time.monotonic()
        if self._fabric.is_global_zero and self._examples:
            line = {"step": step, "examples_per_s": round(self._examples / max(1e-9, now - self._since), 1)}
            append(self._trainer.run.path / "speed.jsonl", json.dumps(line) + "\n")
        self._examples, self._since = 0, now


def score_views(
    call: Callable[[Any], Any], system: PixelSystem, loss: Loss, data: PixelSeries, settings: Any
) -> tuple[dict[str, float], np.ndarray]:
    """Loss, its parts, effective ranks and deviation over the scored pixels of ``data``; also the last
    cross-correlation ``(P, P)``. ``call``: runs the system, in eval mode.
    """
    size = min(settings.train.batch_size, len(data))
    parts: list[dict[str, float]] = []
    embeddings = []
    with torch.no_grad():
        for start in range(0, len(data) - size + 1, size):
            batch = tensors(data.items(range(start, start + size)), next(system.parameters()).device)
            raw = call(system.staged(batch))
            z1, z2 = raw["projection"].split(size)
            found = loss({"first": z1, "second": z2}, batch)
            parts.append({name: float(total) / float(number) for name, (total, number) in found.items()})
            embeddings.append(raw["embedding"][:size].float().cpu().numpy())
    embedding = np.concatenate(embeddings)
    values = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    values |= {"embedding_std": float(embedding.std(axis=0).mean())} | effective_rank(embedding)
    return values, BarlowTwinsLoss().parts(z1, z2).correlation.cpu().numpy()
