"""Training and scoring: what ``eozoo_core.train.fit`` calls, and the model that both use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core import Network, Plan, Port, ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task.describe import count_parameters
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import all_reduce_sums, launch, resolve_device
from eozoo_core.train.loading import Loader, share_of
from eozoo_core.train.memory import predict_memory
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.schedule import make_scheduler, plan_steps
from eozoo_core.train.step import pooled_step

from eozoo_my_task.data import Tiles, Windows, check_disjoint, collate
from eozoo_my_task.model import Scaled
from eozoo_my_task.objective import BASELINE, Scores, baseline, channels, example, look_at_labels, output_scale

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_my_task.settings import MyTaskSettings
    from eozoo_my_task.task import MyTask


def train(run: Run, settings: MyTaskSettings, registry: Registry) -> None:
    """Train into ``run``; see ``Task.train``."""
    fabric = launch(run)
    tiles, val = open_splits(settings)
    run.check_data([*tiles.files, *val.files], settings.runtime.data_dir)
    inputs, labels = look(tiles, settings)
    run.note("bands", list(tiles.bands))
    run.note("baseline", baseline(inputs, labels, settings))
    loss = make_loss(settings, registry)
    model = make_model(settings, registry, inputs, labels)
    model, optimizer = fabric.setup(model, make_optimizer(model.parameters(), settings.train))
    windows = Windows(tiles, settings.data.crop, settings.train.seed)
    batches = Loader(windows, settings.train, settings.runtime, fabric, collate)
    scheduler = make_scheduler([optimizer], settings.train, len(batches))

    def loss_sum(batch: dict) -> tuple[torch.Tensor, dict]:
        total, count = loss(model(batch["image"]), batch["target"])
        return total, {"loss": (total, count)}

    def validate() -> dict[str, float]:
        scores = Scores(loss, settings)
        for i in share_of(len(val), fabric):
            image, target = example(*val.arrays(i), np.random.default_rng(i))
            scores.add(predict(model, image, fabric.device), target)
        return scores.compute(all_reduce_sums(fabric, scores.sums()))

    def step(micro: list[dict], number: int) -> dict | None:
        return pooled_step(fabric, model, optimizer, settings.train, micro, loss_sum)

    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    fit(run, fabric, state, batches, step, validate)


def evaluate(run: Run, settings: MyTaskSettings, registry: Registry, split: str) -> dict[str, dict[str, float]]:
    """Score best.pt and the baseline on ``split``; see ``Task.evaluate``."""
    tiles, loss = Tiles(settings.runtime.data_dir, split), make_loss(settings, registry)
    model, device = load_model(run, settings, registry)
    constant = np.array(run.info()["baseline"], "float32")[:, None, None]
    scores = {"model": Scores(loss, settings), BASELINE: Scores(loss, settings)}
    for i in range(len(tiles)):
        image, target = example(*tiles.arrays(i), np.random.default_rng(i))
        scores["model"].add(predict(model, image, device), target)
        scores[BASELINE].add(np.broadcast_to(constant, (len(constant), *image.shape[1:])), target)
    return {name: score.compute(score.sums()) for name, score in scores.items()}


def plan(settings: MyTaskSettings, registry: Registry) -> Plan:
    """Say what would be trained on what; see ``Task.plan``."""
    tiles, val = open_splits(settings)
    model = make_model(settings, registry, *look(tiles, settings))
    train, crop = settings.train, settings.data.crop
    batch = torch.empty(min(train.batch_size, len(tiles)), len(tiles.bands), crop, crop)
    memory = predict_memory(model, (batch,), train, resolve_device(settings.runtime.device))
    data = {"train": f"{len(tiles)} images", "val": f"{len(val)} images", "bands": ", ".join(tiles.bands)}
    return Plan.of(data, [model], plan_steps(train, len(tiles)), memory)


def describe(task: MyTask, run: Run | None) -> Network:
    """Describe the network for 4 bands, or as trained in ``run``; see ``Task.network``."""
    settings, registry = task.settings, task.registry
    bands, statistics = (), ((), ())
    if run is not None:
        state, info = run.load("best")["model"], run.info()
        bands = tuple(info["bands"])
        statistics = tuple(tuple(state[f"input_{name}"].flatten().tolist()) for name in ("mean", "std"))
    return Network(
        architecture=settings.model.name,
        parameters=count_parameters(lambda: make_network(settings, registry, len(bands) or 4)),
        inputs=(Port("image", "B C H W", "that of the training images", bands, *statistics),),
        outputs=tuple(Port(name, "B C H W", unit) for name, unit in task.outputs().items()),
    )


def open_splits(settings: MyTaskSettings) -> tuple[Tiles, Tiles]:
    """Find the training and validation images; refuse splits that share a place."""
    splits = [Tiles(settings.runtime.data_dir, split) for split in ("train", "val")]
    if (splits[0].folder.parent / "test").is_dir():
        check_disjoint([*splits, Tiles(settings.runtime.data_dir, "test")])
    else:
        check_disjoint(splits)
    return splits[0], splits[1]


def look(tiles: Tiles, settings: MyTaskSettings) -> tuple[ChannelStatistics, Any]:
    """Go once through the training images: statistics of the bands and of the label."""
    inputs, labels = ChannelStatistics(tiles.bands), look_at_labels(settings)
    for i in range(len(tiles)):
        image, label = tiles.arrays(i)
        inputs.update(image)
        if label is not None:
            labels.update(label)
    inputs.require_spread(str(tiles.folder / "image"))
    if tiles.labels and not labels.count.sum():
        raise ZooError(f"{tiles.folder / 'label'}: every label is missing")
    return inputs, labels


def make_loss(settings: MyTaskSettings, registry: Registry) -> Callable[[torch.Tensor, torch.Tensor], tuple]:
    """Build the loss that ``model.loss`` names: (prediction, target) -> (sum, count)."""
    return registry.create("loss", settings.model.loss.name, settings.model.loss.options)


def make_network(settings: MyTaskSettings, registry: Registry, bands: int) -> torch.nn.Module:
    """Build the network that ``model`` names."""
    options = {**settings.model.options, **channels(bands, settings)}
    return registry.create("model", settings.model.name, options)


def make_model(settings: MyTaskSettings, registry: Registry, inputs: ChannelStatistics, labels: Any) -> Scaled:
    """Build the untrained model for these statistics."""
    network = make_network(settings, registry, len(inputs.names))
    return Scaled(network, (inputs.mean.tolist(), inputs.std.tolist()), output_scale(inputs, labels, settings))


def load_model(run: Run, settings: MyTaskSettings, registry: Registry) -> tuple[Scaled, str]:
    """Return best.pt as a model in eval mode, every tensor matched, and its device."""
    state, device = run.load("best")["model"], resolve_device(settings.runtime.device)
    bands = state["input_mean"].numel() if "input_mean" in state else len(run.info()["bands"])
    outputs = run.info()["baseline"]
    zeros = ([0.0] * bands, [0.0] * bands), ([0.0] * len(outputs), [0.0] * len(outputs))
    model = Scaled(make_network(settings, registry, bands), *zeros)
    load_module(model, state, run.file("best"))
    return model.to(device).eval(), device


def predict(model: Any, image: np.ndarray, device: Any) -> np.ndarray:
    """Run the model on one image (C, H, W); return (outputs, H, W) float32."""
    with torch.no_grad():
        return model(torch.from_numpy(image[None]).to(device))[0].cpu().numpy()
