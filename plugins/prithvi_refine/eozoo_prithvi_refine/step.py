"""The training step: generator and discriminator, one generator forward per micro-batch.

Only this task has an adversary, and counts how often the CPU stepped in for a GPU without memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.run.progress import print_message
from eozoo_core.task.train import add_model
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.step import Sums, pooled_step

from eozoo_prithvi_refine.discriminator import PatchDiscriminator, patch_weight
from eozoo_prithvi_refine.losses import least_squares
from eozoo_prithvi_refine.scoring import RefineLoss

if TYPE_CHECKING:
    from eozoo_core.task.train import Trainer

JUDGE = "discriminator"


def add_networks(trainer: Trainer) -> None:
    """Train the refiner, and a discriminator where ``train.adversarial_weight`` asks for one."""
    add_model(trainer)
    train = trainer.run.settings.train
    if train.adversarial_weight > 0:
        judge = PatchDiscriminator()
        optimizer = make_optimizer(judge.parameters(), train)
        for group in optimizer.param_groups:
            group |= {"lr_scale": train.discriminator_rate, "weight_decay": 0.0}
        trainer.add(JUDGE, judge, optimizer)


class Step:
    """One optimiser step of the generator and then one of the discriminator, on the same refined images.

    Real and refined are shown to the discriminator under the same mask, which so tells nothing. Its backward follows
    the generator's step: with fp16 both then see the scale of their own backward.
    """

    def __init__(self, trainer: Trainer, loss: RefineLoss):
        self._trainer, self._train, self._fabric = trainer, trainer.run.settings.train, trainer.fabric
        self._loss = loss
        self._judge = trainer.modules.get(JUDGE)
        self._head = trainer.system.head
        self._head.runs_on(trainer.fabric.device)
        self._made: list[dict[str, Any]] = []

    def __call__(self, micro_batches: list[dict[str, Any]], step: int) -> Sums | None:
        """Take the step; return what to log. Counts of CPU fallbacks are means per forward pass."""
        self._made, trainer = [], self._trainer
        model, optimizer = trainer.modules["model"], trainer.optimizers["model"]
        logged = pooled_step(self._fabric, model, optimizer, self._train, micro_batches, self._generator)
        if self._judge is not None:
            optimizer = trainer.optimizers[JUDGE]
            found = pooled_step(self._fabric, self._judge, optimizer, self._train, self._made, self.discriminator)
            logged = {**logged, **found}
        if trainer.steps and (step + 1) % trainer.steps == 0 and (told := self._head.tell()):
            print_message(told)
        repeated = self._head.take()
        return {**logged, "cpu_fallback_count": (float(repeated), len(micro_batches))} if repeated else logged

    def _generator(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Sums]:
        target, count = batch["target"], batch["count"]
        raw = self._trainer.modules["model"](self._trainer.system.staged(batch))
        per_tile, parts, valid = self._loss.per_tile(raw, batch)
        if self._judge is not None:
            parts["adversarial_loss"] = self.judge(raw["refined"], valid)
            per_tile = per_tile + self._train.adversarial_weight * parts["adversarial_loss"]
            self._made.append({"refined": raw["refined"].detach(), "target": target, "valid": valid, "count": count})
        loss = per_tile.sum()
        return loss, {"loss": (loss.detach(), count)} | {n: (v.detach().sum(), count) for n, v in parts.items()}

    def judge(self, refined: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the generator's LSGAN loss per tile; the discriminator gets no gradient from it."""
        judge = getattr(self._judge, "module", self._judge)  # without Fabric's wrapper, whose backward is the judge's
        judge.requires_grad_(False)
        with self._fabric.autocast():
            scores = judge(_masked(refined, valid))
        judge.requires_grad_(True)
        return least_squares(scores, 1.0, patch_weight(valid, scores))

    def discriminator(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Sums]:
        """Return half the sum over tiles of the squared distances of real from 1 and of refined from 0."""
        valid = batch["valid"]
        pair = torch.cat([_masked(batch["target"], valid), _masked(batch["refined"], valid)])
        real, made = self._judge(pair).chunk(2)
        weight = patch_weight(valid, real)
        loss = 0.5 * (least_squares(real, 1.0, weight) + least_squares(made, 0.0, weight)).sum()
        return loss, {"discriminator_loss": (loss.detach(), batch["count"])}


def _masked(image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return torch.where(valid[:, None], image.float(), 0.0)
