"""Training: generator and discriminator, one generator forward per step, through ``eozoo_core.train.fit``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.checking import require_separate
from eozoo_core.run.frozen import Base
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import all_reduce_sums, launch
from eozoo_core.train.loading import Loader, share_of
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.schedule import make_scheduler
from eozoo_core.train.step import Sums, pooled_step

from eozoo_prithvi_refine.assemble import model_to_train
from eozoo_prithvi_refine.baselines import fit_baselines
from eozoo_prithvi_refine.checking import SEPARATION, split_of
from eozoo_prithvi_refine.data import RefineTiles, collate, inputs, open_splits
from eozoo_prithvi_refine.discriminator import PatchDiscriminator, patch_weight
from eozoo_prithvi_refine.losses import least_squares
from eozoo_prithvi_refine.scoring import Criterion, RefineScores, tile_sums, valid_pixels

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry
    from lightning_fabric import Fabric

    from eozoo_prithvi_refine.settings import PrithviSettings


def train(run: Run, settings: PrithviSettings, registry: Registry) -> None:
    """Train into ``run``; see ``Task.train``."""
    fabric = launch(run)
    splits = splits_of(settings)
    run.check_data([f for name in ("train", "val") for f in splits[name].files], settings.runtime.data_dir)
    if "baselines" not in run.info():
        run.note("baselines", asdict(fit_baselines(splits["train"])))
    refiner, digest = model_to_train(run, settings, fabric)
    model, optimizer = fabric.setup(refiner, make_optimizer(refiner.parameters(), settings.train))
    state = {"model": model, "optimizer": optimizer}
    criterion = make_criterion(settings, registry)
    adversary = Adversary(fabric, settings) if settings.train.adversarial_weight > 0 else None
    if adversary:
        state |= {"discriminator": adversary.model, "discriminator_optimizer": adversary.optimizer}
    if digest:
        state["base"] = Base(digest)
    batches = Loader(splits["train"], settings.train, settings.runtime, fabric, collate)
    optimizers = [optimizer, *([adversary.optimizer] if adversary else [])]
    state["scheduler"] = make_scheduler(optimizers, settings.train, len(batches))
    step = Step(fabric, settings, state, criterion, adversary, refiner)
    fit(run, fabric, state, batches, step, lambda: validate(model, splits["val"], criterion, fabric, settings))


def splits_of(settings: PrithviSettings) -> dict[str, RefineTiles]:
    """Open the tiles that the settings name. Raises ZooError where two splits share a file, place, ground or pixels."""
    runtime = settings.runtime
    splits = open_splits(runtime.data_dir, settings.data, runtime.stage1_dir, settings.train.seed)
    require_separate([split_of(name, tiles) for name, tiles in splits.items()], SEPARATION, runtime.quiet)
    return splits


def make_criterion(settings: PrithviSettings, registry: Registry) -> Criterion:
    """Build the losses that ``train`` names, with their weights."""
    train = settings.train
    named = {
        "spectral": (train.spectral_weight, train.spectral_loss),
        "identity": (train.identity_weight, train.identity_loss),
        "target": (train.target_weight, train.target_loss),
    }
    return Criterion({n: (w, registry.create("loss", loss.name, loss.options)) for n, (w, loss) in named.items()})


class Adversary:
    """The discriminator and its optimiser. Real and refined are shown under the same mask, which so tells nothing."""

    def __init__(self, fabric: Fabric, settings: PrithviSettings):
        self.raw = PatchDiscriminator()
        optimizer = make_optimizer(self.raw.parameters(), settings.train)
        for group in optimizer.param_groups:
            group |= {"lr_scale": settings.train.discriminator_rate, "weight_decay": 0.0}
        self.model, self.optimizer = fabric.setup(self.raw, optimizer)
        self._fabric = fabric

    def judge(self, refined: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Return the generator's LSGAN loss per tile; the discriminator gets no gradient from it."""
        self.raw.requires_grad_(False)
        with self._fabric.autocast():
            scores = self.raw(_masked(refined, valid))
        self.raw.requires_grad_(True)
        return least_squares(scores, 1.0, patch_weight(valid, scores))

    def loss(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Sums]:
        """Return half the sum over tiles of the squared distances of real from 1 and of refined from 0."""
        valid = batch["valid"]
        pair = torch.cat([_masked(batch["target"], valid), _masked(batch["refined"], valid)])
        real, made = self.model(pair).chunk(2)
        weight = patch_weight(valid, real)
        loss = 0.5 * (least_squares(real, 1.0, weight) + least_squares(made, 0.0, weight)).sum()
        return loss, {"discriminator_loss": (loss.detach(), batch["count"])}


class Step:
    """One optimiser step of the generator and then one of the discriminator, on the same refined images.

    The discriminator's backward follows the generator's step: with fp16 both then see the scale of their own backward.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: PrithviSettings,
        state: dict[str, Any],
        criterion: Criterion,
        adversary: Adversary | None,
        refiner: Any,
    ):
        self._fabric, self._train, self._state = fabric, settings.train, state
        self._criterion, self._adversary, self._refiner = criterion, adversary, refiner
        self._made: list[dict[str, Any]] = []

    def __call__(self, micro_batches: list[dict[str, Any]], step: int) -> Sums | None:
        """Take the step; return what to log. Counts of CPU fallbacks are means per forward pass."""
        self._made = []
        model, optimizer = self._state["model"], self._state["optimizer"]
        logged = pooled_step(self._fabric, model, optimizer, self._train, micro_batches, self._generator)
        if self._adversary is not None:
            found = pooled_step(
                self._fabric,
                self._adversary.model,
                self._adversary.optimizer,
                self._train,
                self._made,
                self._adversary.loss,
            )
            logged = {**logged, **found}
        repeated = self._refiner.head.take()
        return {**logged, "cpu_fallback_count": (float(repeated), len(micro_batches))} if repeated else logged

    def _generator(self, batch: dict[str, Any]) -> tuple[torch.Tensor, Sums]:
        image, target, count = batch["image"], batch["target"], batch["count"]
        refined, _ = self._state["model"](*inputs(batch))
        valid = valid_pixels(image, target)
        per_tile, parts = self._criterion(refined, image, target, valid)
        if self._adversary is not None:
            parts["adversarial_loss"] = self._adversary.judge(refined, valid)
            per_tile = per_tile + self._train.adversarial_weight * parts["adversarial_loss"]
            self._made.append({"refined": refined.detach(), "target": target, "valid": valid, "count": count})
        loss = per_tile.sum()
        return loss, {"loss": (loss.detach(), count)} | {n: (v.detach().sum(), count) for n, v in parts.items()}


def validate(
    model: Any, tiles: RefineTiles, criterion: Criterion, fabric: Fabric, settings: PrithviSettings
) -> dict[str, Any]:
    """Score the validation tiles one by one, and draw a few of them."""
    scores, rows = RefineScores(), []
    for i in share_of(len(tiles), fabric):
        batch = fabric.to_device({k: v for k, v in collate([tiles[i]]).items() if k != "count"})
        refined, _ = model(*inputs(batch))
        scores.add(tile_sums(refined, batch["image"], batch["target"], criterion))
        if i < settings.runtime.pictures and fabric.is_global_zero:
            rows.append([x[0].float().cpu().numpy() for x in (batch["image"], refined, batch["target"])])
    values = RefineScores(all_reduce_sums(fabric, scores.sums)).compute()
    if rows and settings.runtime.tensorboard:
        from eozoo_prithvi_refine.pictures import grid

        return {**values, "input_output_target_difference": grid(rows)}
    return values


def _masked(image: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return torch.where(valid[:, None], image.float(), 0.0)
