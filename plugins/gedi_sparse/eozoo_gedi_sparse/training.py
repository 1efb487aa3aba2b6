"""Training one network: data, statistics, model, and the step and validation that ``eozoo_core.train.fit`` calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import note_area
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task import Plan
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import all_reduce_sums, launch, resolve_device
from eozoo_core.train.loading import Loader, share_of
from eozoo_core.train.memory import predict_memory
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.schedule import make_scheduler, plan_steps
from eozoo_core.train.step import Sums, pooled_step

from eozoo_gedi_sparse.baselines import BaselineFit, Baselines
from eozoo_gedi_sparse.data import SparseTiles, TrainingWindows, training_arrays
from eozoo_gedi_sparse.losses import MeanLoss, SparseLoss
from eozoo_gedi_sparse.pairs import Pairs, check_disjoint, find_pairs
from eozoo_gedi_sparse.regressor import SparseRegressor
from eozoo_gedi_sparse.scoring import TileScores, score_tile

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry
    from lightning_fabric import Fabric

    from eozoo_gedi_sparse.settings import GediSettings


def train(run: Run, settings: GediSettings, registry: Registry) -> None:
    """Train one network into ``run``; see ``Task.train``."""
    fabric = launch(run)
    splits = open_splits(settings)
    run.check_data(_files(splits), settings.runtime.input_dir)
    tiles, val = SparseTiles(splits["train"], settings.data), SparseTiles(splits["val"], settings.data)
    statistics, baselines = _look(tiles)
    run.note("bands", list(splits["train"].band_names))
    note_area(run, (pair.grid for pair in splits["train"].pairs))
    run.note("baselines", asdict(baselines))
    loss = make_loss(settings, registry)
    model = make_model(settings, registry, loss, statistics, baselines)
    if receipt := getattr(model.network, "receipt", None):  # a network that began with published weights
        run.note("weights", receipt)
        if fabric.is_global_zero and not settings.runtime.quiet:
            print(receipt)
    model, optimizer = fabric.setup(model, make_optimizer(model.parameters(), settings.train))
    batches = Loader(TrainingWindows(tiles, settings.train.seed), settings.train, settings.runtime, fabric, collate)
    fit(
        run,
        fabric,
        {
            "model": model,
            "optimizer": optimizer,
            "scheduler": make_scheduler([optimizer], settings.train, len(batches)),
        },
        batches,
        lambda micro, step: pooled_step(fabric, model, optimizer, settings.train, micro, _loss_sum(model, loss)),
        lambda: _validate(model, loss, val, fabric),
        derive=lambda means: {"rmse": means["mse"] ** 0.5},
    )


def plan(run: Run, settings: GediSettings, registry: Registry) -> Plan:
    """Describe data, model, steps and memory without training; see ``Task.plan``."""
    splits = open_splits(settings)
    tiles = SparseTiles(splits["train"], settings.data)
    windows = TrainingWindows(tiles, settings.train.seed)
    samples = len(windows)
    statistics, baselines = _look(tiles)
    loss = make_loss(settings, registry)
    model = make_model(settings, registry, loss, statistics, baselines)
    crop = windows.crop
    image = tiles[0]["image"] if crop is None else torch.empty(len(statistics.names), crop, crop)
    batch = min(settings.train.batch_size, samples)
    times = plan_steps(settings.train, samples)
    unit = settings.data.unit
    data = {name: f"{len(found.pairs)} patches" for name, found in splits.items()}
    data["train"] += f", labels {baselines.mean:.2f} +- {baselines.std:.2f} {unit}"
    data["bands"] = ", ".join(splits["train"].band_names)
    if settings.train.members > 1:
        data["members"] = f"{settings.train.members} networks; parameters, steps and memory are those of one"
    device = resolve_device(settings.runtime.device)
    memory = predict_memory(model, (image.expand(batch, *image.shape),), settings.train, device)
    skipped = [line for found in splits.values() for line in found.skipped]
    return Plan.of(data, [model], times, memory, [f"left out: {line}" for line in skipped])


def open_splits(settings: GediSettings) -> dict[str, Pairs]:
    """Find train, val and, where there is one, test; refuse splits that share a place."""
    input_dir, label_dir = folders(settings)
    names = ["train", "val", *(["test"] if (input_dir / "test").is_dir() and (label_dir / "test").is_dir() else [])]
    splits = {name: find_pairs(input_dir, label_dir, name, settings.data) for name in names}
    check_disjoint(splits.values())
    return splits


def folders(settings: GediSettings) -> tuple[Any, Any]:
    """Return runtime.input_dir and runtime.label_dir. Raises ZooError where one is not set."""
    for field in ("input_dir", "label_dir"):
        if getattr(settings.runtime, field) is None:
            raise ZooError(
                f"runtime.{field} is not set; add --set runtime.{field}=FOLDER (it holds train/, val/, test/)"
            )
    return settings.runtime.input_dir, settings.runtime.label_dir


def make_loss(settings: GediSettings, registry: Registry) -> SparseLoss:
    """Build the loss that ``model.loss`` names; one from elsewhere is called with mean and target."""
    loss = registry.create("loss", settings.model.loss.name, settings.model.loss.options)
    return loss if isinstance(loss, SparseLoss) else MeanLoss(loss)


def make_model(
    settings: GediSettings,
    registry: Registry,
    loss: SparseLoss,
    statistics: ChannelStatistics,
    baselines: Baselines,
) -> SparseRegressor:
    """Build the network for these bands, with the scaling that ``data`` asks for."""
    bands = len(statistics.names)
    if settings.data.normalise == "standard":
        mean, std = statistics.mean.tolist(), statistics.std.tolist()
    else:
        mean, std = [0.0] * bands, [1.0] * bands
    target = (baselines.mean, baselines.std) if settings.data.standardise_target else (0.0, 1.0)
    return SparseRegressor(make_network(settings, registry, loss, bands), mean, std, *target, loss.scale_power)


def empty_model(settings: GediSettings, registry: Registry, loss: SparseLoss, state: dict[str, Any]) -> SparseRegressor:
    """Build the model that fits the shapes of a checkpoint's ``state``; its values are loaded over it."""
    bands = state["input_mean"].numel() if "input_mean" in state else 1
    network = make_network(settings, registry, loss, bands, fresh=False)
    return SparseRegressor(network, [0.0] * bands, [1.0] * bands, scale_power=loss.scale_power)


def make_network(
    settings: GediSettings, registry: Registry, loss: SparseLoss, bands: int, fresh: bool = True
) -> torch.nn.Module:
    """Build the network that ``model`` names. Its band count and outputs follow from data and loss.

    ``fresh`` False: weights will be loaded over it, so published ones are not fetched.
    """
    for option in ("in_channels", "outputs"):
        if option in settings.model.options:
            raise ZooError(f"model.options.{option}: follows from the data and the loss; leave it out")
    options = {**settings.model.options, "in_channels": bands, "outputs": 2 if loss.trains_variance else 1}
    if not fresh and "pretrained" in options:
        options["pretrained"] = False
    return registry.create("model", settings.model.name, options)


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    """Stack windows to image (B, C, h, w) and target (B, 1, h, w); "count" is a plain int, known before the device."""
    shapes = {tuple(sample["image"].shape) for sample in samples}
    if len(shapes) > 1:
        raise ZooError(f"training patches have different sizes {sorted(shapes)}; set data.crop to a common window")
    stacked = {key: torch.stack([sample[key] for sample in samples]) for key in ("image", "target")}
    return {**stacked, "count": sum(int(sample["count"]) for sample in samples)}


def _look(tiles: SparseTiles) -> tuple[ChannelStatistics, Baselines]:
    """One pass over the training patches: statistics of the bands, baselines from the labels."""
    statistics = ChannelStatistics(tiles.found.band_names)
    baseline = BaselineFit(len(tiles.found.band_names))
    for image, target in training_arrays(tiles):
        statistics.update(image)
        baseline.update(image, target)
    folder = tiles.found.pairs[0].label.parent
    if baseline.labels == 0:
        raise ZooError(f"{folder}: none of {len(tiles)} label files has a value where the input has data")
    if tiles.data.normalise == "standard":
        statistics.require_spread(str(tiles.found.pairs[0].input.parent))
    return statistics, baseline.solve()


def _loss_sum(model: Any, loss: SparseLoss) -> Callable[[dict], tuple[torch.Tensor, Sums]]:
    def loss_sum(batch: dict) -> tuple[torch.Tensor, Sums]:
        mean, log_scale = model(batch["image"])
        total, count = loss(mean, log_scale, batch["target"])
        labelled = torch.isfinite(batch["target"])
        squares = torch.where(labelled, mean.detach() - batch["target"].nan_to_num(), 0.0).square().sum()
        return total, {"loss": (total, count), "mse": (squares, count)}

    return loss_sum


def _validate(model: Any, loss: SparseLoss, tiles: SparseTiles, fabric: Fabric) -> dict[str, float]:
    scores = TileScores(strata=None)
    for i in share_of(len(tiles), fabric):
        scores.add(*score_tile(model, loss, *tiles.arrays(i), fabric.device))
    scores = TileScores.from_sums(all_reduce_sums(fabric, scores.sums()), strata=None)
    if not scores.count:
        raise ZooError(f"{tiles.found.pairs[0].label.parent}: no validation label where the input has data")
    return scores.compute()


def _files(splits: dict[str, Pairs]) -> list[Any]:
    return [file for name in ("train", "val") for pair in splits[name].pairs for file in (pair.input, pair.label)]
