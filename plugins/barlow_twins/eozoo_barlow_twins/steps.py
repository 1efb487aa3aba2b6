"""One optimiser step and one validation of the pre-training, and what is watched on the way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.train.step import Sums, optimizer_step

from eozoo_barlow_twins.batches import VALIDATION, PixelIndex, ViewMaker
from eozoo_barlow_twins.effective_rank import collapse_line, effective_rank
from eozoo_barlow_twins.permutation import key32
from eozoo_barlow_twins.settings import Augment, BarlowSettings
from eozoo_barlow_twins.splits import VAL
from eozoo_barlow_twins.training import Pixels

if TYPE_CHECKING:
    import torch
    from eozoo_core.run.directory import Run
    from lightning_fabric import Fabric

Validate = Callable[[], dict[str, float]]
_MIXUP = 21


class TwinSteps:
    """The optimiser step that ``fit`` calls. The loss is that of a forward pass over all processes."""

    def __init__(self, run: Run, fabric: Fabric, model: Any, optimizer: Any, loss: Any):
        self._run, self._fabric, self._model, self._optimizer, self._loss = run, fabric, model, optimizer, loss
        self._settings: BarlowSettings = run.settings
        self._examples, self._since, self._warned = 0, time.monotonic(), False

    def __call__(self, micro_batches: list[dict[str, torch.Tensor]], step: int) -> Sums:
        """Forward both views at once, backward, optimiser step; returns the sums to log."""
        logged: dict[str, list[Any]] = {}
        train = self._settings.train
        for i, batch in enumerate(micro_batches):
            with self._fabric.no_backward_sync(self._model, enabled=i < len(micro_batches) - 1):
                embedding, parts, extra = self._forward(batch, step)
                self._fabric.backward((parts.total + extra) / len(micro_batches))
            values = {"loss": parts.total, "on_diag": parts.on_diag, "off_diag": parts.off_diag}
            values["embedding_std"] = embedding.float().std(dim=0).mean()
            for name, value in values.items():
                logged.setdefault(name, []).append(value.detach())
        optimizer_step(self._fabric, self._model, self._optimizer, train)
        if (step + 1) % train.log_every == 0:
            for name, value in effective_rank(embedding.detach().float().cpu().numpy()).items():
                logged[name] = [value]
            self._speed(step + 1)
        self._examples += sum(b["bands"].shape[1] for b in micro_batches) * self._fabric.world_size
        return {name: (sum(values), len(values)) for name, values in logged.items()}

    def watch(self, values: dict[str, float], dimensions: int) -> None:
        """Say once, in one line, that the embedding has collapsed."""
        line = collapse_line(values["rankme"], values["embedding_std"], dimensions)
        if line and not self._warned and self._fabric.is_global_zero:
            self._warned = True
            self._run.note("collapse", line)
            print(line, file=sys.stderr)

    def _forward(self, batch: dict[str, torch.Tensor], step: int) -> tuple[Any, Any, Any]:
        """Embedding of both views, parts of the loss, and the mixed-sample term (0 where it is off)."""
        import torch

        from eozoo_barlow_twins.loss import mixup_term

        bands, doys = batch["bands"], batch["doys"]
        weight = self._settings.data.augment.mixup
        both = bands.flatten(0, 1), doys.flatten(0, 1)
        if not weight:
            embedding, z = self._model(*both)
            z1, z2 = z.chunk(2)
            return embedding, self._loss.parts(z1, z2), 0.0
        seed = key32(self._settings.train.seed, step, _MIXUP, self._fabric.global_rank)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(bands.shape[1], generator=generator).to(bands.device)
        share = float(torch.rand((), generator=generator))
        mixed = share * bands[0] + (1 - share) * bands[1][order]
        embedding, z = self._model(torch.cat([both[0], mixed]), torch.cat([both[1], doys[0]]))
        z1, z2, zm = z.chunk(3)
        extra = weight * mixup_term(self._loss, z1, z2, zm, order, share)
        return embedding[: 2 * len(z1)], self._loss.parts(z1, z2), extra

    def _speed(self, step: int) -> None:
        """Append examples per second to RUN/speed.jsonl: it depends on the machine, the training log does not."""
        now = time.monotonic()
        if self._fabric.is_global_zero and self._examples:
            line = {"step": step, "examples_per_s": round(self._examples / max(1e-9, now - self._since), 1)}
            with (self._run.path / "speed.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        self._examples, self._since = 0, now


def view_maker(index: PixelIndex, pixels: Pixels, settings: BarlowSettings, augment: Augment) -> ViewMaker:
    """Two views of each pixel, as the settings say."""
    data, seed = settings.data, settings.train.seed
    return ViewMaker(index, pixels.bands, data.sample_size, 2, seed, augment, pixels.statistics)


def validation(
    run: Run, fabric: Fabric, model: Any, loss: Any, pixels: Pixels, watch: Callable[[dict[str, float], int], None]
) -> Validate | None:
    """The validation of ``fit``; None where the settings keep no pixels for it. Every process computes all of it."""
    s = run.settings
    if not s.data.val_share and not s.data.val_tiles:
        return None
    index = PixelIndex(pixels.tiles, s.data, VAL)

    def validate() -> dict[str, float]:
        values, correlation = score_views(model, loss, index, pixels, s)
        watch(values, model.encoder.backbone.latent_dim)
        if fabric.is_global_zero:
            from eozoo_barlow_twins.pictures import correlation_picture

            correlation_picture(correlation, run.path / "cross_correlation.png")
        return values

    return validate


def score_views(
    model: Any, loss: Any, index: PixelIndex, pixels: Pixels, settings: BarlowSettings
) -> tuple[dict[str, float], np.ndarray]:
    """Loss, its parts, effective ranks and deviation over ``index``, on views that are always the same; also the last
    cross-correlation ``(P, P)``. The model is in eval mode. Raises ZooError where there are fewer than two pixels.
    """
    import torch

    numbers = index.spread(settings.data.val_samples)
    if len(numbers) < 2:
        raise ZooError("fewer than 2 usable validation pixels; raise data.val_share or lower data.min_valid")
    size = min(settings.train.batch_size, len(numbers))
    maker = view_maker(index, pixels, settings, Augment())
    device = next(model.parameters()).device
    parts, embeddings = [], []
    with torch.no_grad():
        for start in range(0, len(numbers) - size + 1, size):
            batch = maker(numbers[start : start + size], VALIDATION)
            bands, doys = (torch.from_numpy(batch[n]).flatten(0, 1).to(device) for n in ("bands", "doys"))
            embedding, z = model(bands, doys)
            parts.append(loss.parts(*z.chunk(2), everywhere=False))
            embeddings.append(embedding.chunk(2)[0].float().cpu().numpy())
    embedding = np.concatenate(embeddings)
    values = {
        "loss": float(np.mean([p.total.item() for p in parts])),
        "on_diag": float(np.mean([p.on_diag.item() for p in parts])),
        "off_diag": float(np.mean([p.off_diag.item() for p in parts])),
        "embedding_std": float(embedding.std(axis=0).mean()),
    } | effective_rank(embedding)
    return values, parts[-1].correlation.cpu().numpy()
