"""Training: supervised, mean squared error of the z-scored temperature."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.run.frozen import Base
from eozoo_core.run.progress import print_message
from eozoo_core.score.baselines import RidgeFit
from eozoo_core.task.load import Trained, load_trained
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import all_reduce_sums, launch
from eozoo_core.train.loading import epoch_order, share_of
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.precision import validating
from eozoo_core.train.schedule import make_scheduler
from eozoo_core.train.step import pooled_step

from eozoo_clay_ta.chunks import SCHEMA, PatchStore
from eozoo_clay_ta.climatology import Climatology
from eozoo_clay_ta.encoder_weights import first_encoder
from eozoo_clay_ta.features import Features, cached_features
from eozoo_clay_ta.model import CentreRidge, TaModel, build_encoder, build_model, context_of, features_are_fixed
from eozoo_clay_ta.parts import Loss, loss_sums, make_loss
from eozoo_clay_ta.sample_schema import EMPTY, Normalisation, read_json
from eozoo_clay_ta.splits import open_splits

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.settings import TrainSettings
    from eozoo_core.task import Registry
    from lightning_fabric import Fabric

    from eozoo_clay_ta.settings import ClaySettings

EVALUATION_BATCH = 1024


class PatchBatches:
    """Batches of ``fit``: rows of mapped chunks, and of cached features where there are any.

    Every batch holds ``train.batch_size`` samples over all processes; the last, smaller one of an epoch is left out.
    """

    def __init__(self, store: PatchStore, features: Features | None, train: TrainSettings, fabric: Fabric):
        self._store, self._features, self._seed, self._fabric = store, features, train.seed, fabric
        processes = fabric.world_size
        self._batch = min(train.batch_size, len(store) - len(store) % processes)
        if self._batch < 1:
            raise ZooError(f"{store.folder}: {len(store)} samples cannot be shared by {processes} processes")

    def __len__(self) -> int:
        return len(self._store) // self._batch

    def epoch(self, number: int, start: int = 0) -> Iterator[dict[str, Any]]:
        """Yield batches ``start``, ``start + 1`` ... of epoch ``number``, on the device."""
        order = np.array(epoch_order(len(self._store), self._seed, number))
        share = self._batch // self._fabric.world_size
        for i in range(start, len(self)):
            first = i * self._batch + self._fabric.global_rank * share
            yield take(self._store, self._features, order[first : first + share], self._fabric)


def take(store: PatchStore, features: Features | None, indices: np.ndarray, fabric: Fabric) -> dict[str, Any]:
    """Return a batch on the device, with its number of samples under "count"."""
    batch = store.batch(indices, tuple(SCHEMA))
    if features is not None:
        batch["features"] = features.batch(indices)
    return {**fabric.to_device(batch), "count": len(indices)}


def train(run: Run, settings: ClaySettings, registry: Registry | None = None) -> None:
    """Train ``settings.model`` into ``run``."""
    fabric = launch(run)
    folder = Path(settings.runtime.data_dir)
    stores = open_splits(settings)
    run.check_data([file for store in stores.values() for file in store.files], folder)
    norm = Normalisation.from_state(read_json(folder / "normalisation.json"))
    keep_beside(run, folder, stores["train"], norm)
    model = build_model(settings.model, norm, first_encoder(run, settings.model), registry)
    if receipt := getattr(getattr(model, "network", None), "receipt", None):  # somebody's, with published weights
        run.note("encoder", {"name": settings.model.network.name, "weights": receipt})
        print_message(receipt)
    fabric.to_device(model)
    if isinstance(model, CentreRidge):
        solve_ridge(model, stores["train"], settings.model.ridge)
    features = {"train": _features(run, settings, model, stores["train"], fabric)}
    with validating(fabric):
        features["val"] = _features(run, settings, model, stores["val"], fabric)
    _fit(run, settings, fabric, model, (stores, features), make_loss(settings.model.loss, registry))


def _fit(run: Run, settings: ClaySettings, fabric: Fabric, model: TaModel, data: tuple[dict, dict], loss: Loss) -> None:
    options, (stores, features) = settings.train, data
    batches = PatchBatches(stores["train"], features["train"], options, fabric)
    wrapped, optimizer = fabric.setup(model, make_optimizer(model.parameters(), options))
    schedule = make_scheduler([optimizer], options, len(batches))
    ta_std = float(model.ta_std)

    def loss_sum(batch: dict) -> tuple[torch.Tensor, dict]:
        z, y = wrapped(batch), batch["y"]
        total, count = loss_sums(loss, z, y)
        return total, {"loss": (total.detach(), count), "mse": ((z.detach() - y).square().sum(), batch["count"])}

    def step(micro: list[dict], number: int) -> dict:
        if isinstance(model, CentreRidge):  # solved already: there is nothing to descend
            with torch.no_grad():
                sums = [loss_sum(batch)[1] for batch in micro]
            return {key: tuple(sum(s[key][i] for s in sums) for i in (0, 1)) for key in ("loss", "mse")}
        return pooled_step(fabric, wrapped, optimizer, options, micro, loss_sum)

    def validate() -> dict[str, float]:
        store = stores["val"]
        sums = np.zeros(4)
        for z, y in predictions(wrapped, store, features["val"], fabric, share_of(len(store), fabric)):
            total, count = loss_sums(loss, z, y)
            sums += [float(total), int(count), ((z - y) ** 2).sum(), len(y)]
        total, count, squares, samples = all_reduce_sums(fabric, sums)
        return with_rmse({"loss": float(total / count), "mse": float(squares / samples)}, ta_std)

    state = {"model": wrapped, "optimizer": optimizer, "scheduler": schedule}
    if model.encoder is not None:
        state["base"] = Base(run.info()["base"])
    fit(run, fabric, state, batches, step, validate, derive=lambda values: with_rmse(values, ta_std))


def predictions(
    model: Any, store: PatchStore, features: Features | None, fabric: Fabric, indices: range
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (predicted, true) z-scores, float64, batch by batch, in the order of ``indices``."""
    with torch.no_grad():
        for start in range(0, len(indices), EVALUATION_BATCH):
            part = np.array(indices[start : start + EVALUATION_BATCH])
            batch = take(store, features, part, fabric)
            yield model(batch).double().cpu().numpy(), batch["y"].double().cpu().numpy()


def with_rmse(values: dict[str, float], ta_std: float) -> dict[str, float]:
    """Add rmse_norm, the root of "mse" (mean squared error of z-scores), and rmse_K = rmse_norm * TA_std."""
    if "mse" not in values:
        return {}
    rmse = math.sqrt(values["mse"])
    return {**values, "rmse_norm": rmse, "rmse_K": rmse * ta_std}


def keep_beside(run: Run, folder: Path, store: PatchStore, norm: Normalisation) -> None:
    """Put into the run what maps and scores need beside the weights: static fields and the climatology."""
    from eozoo_core.run.checkpoint import write_atomic

    from eozoo_clay_ta.encoder_weights import is_first_process

    if not is_first_process():
        return
    for file in sorted(folder.glob("static_*.tif")):
        content = file.read_bytes()
        write_atomic(run.path / file.name, lambda target, content=content: target.write(content))
    ta = np.concatenate([chunk.tensors["y"].double().numpy() for chunk in store.chunks]) * norm.ta_std + norm.ta_mean
    places = np.concatenate([chunk.tensors["loc"][:, :2].numpy() for chunk in store.chunks])
    (south, west), (north, east) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    run.note("area", [round(value, 4) for value in (west, south, east, north)])
    run.write_json("climatology.json", Climatology.fit(store.meta(), ta).state())


def solve_ridge(model: CentreRidge, store: PatchStore, penalty: float) -> None:
    """Fit the baseline exactly, in one pass over the samples and bounded memory."""
    fit = RidgeFit(model.direct.in_features)
    for start in range(0, len(store), EVALUATION_BATCH):
        batch = store.batch(np.arange(start, min(start + EVALUATION_BATCH, len(store))))
        fit.update(context_of(batch).numpy().T, batch["y"].numpy())
    model.cpu().take(fit.solve(penalty, per_sample=True))


def load_model(
    run: Run, settings: ClaySettings, scope: str | None, registry: Registry | None = None, device: str | None = None
) -> TaModel:
    """Return best.pt of a run, whole, in eval mode, on ``device`` (None = ``runtime.device``); see ``load_trained``.

    ``scope``: "eval" or "infer", whose precision it computes in; None = fp32.
    """

    def build(trained: Trained[ClaySettings]) -> TaModel:
        options = trained.settings.model
        if (encoder := build_encoder(options)) is not None:
            load_module(encoder, trained.base(), trained.base_file)
        return build_model(options, EMPTY, encoder, registry, fresh=False)

    return load_trained(run, settings, build, scope, device)[0]


def _features(run: Run, settings: ClaySettings, model: Any, store: PatchStore, fabric: Fabric) -> Features | None:
    if not features_are_fixed(settings.model):
        return None
    folder = Path(settings.runtime.cache_dir) if settings.runtime.cache_dir else store.folder / "features"
    key = run.info()["base"]
    return cached_features(model, store, folder, fabric, key, settings.runtime.quiet)
