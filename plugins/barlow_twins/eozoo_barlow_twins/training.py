"""What the training of both tasks shares: data, optimiser, schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.train.optimizer import make_optimizer

from eozoo_barlow_twins.settings import PixelData, PixelTrain
from eozoo_barlow_twins.tiles import Tile, open_tiles, pooled_statistics, processed

if TYPE_CHECKING:
    import torch
    from eozoo_core.train.memory import StepMemory

    from eozoo_barlow_twins.encoders import EncoderInfo


@dataclass(frozen=True)
class Pixels:
    """Opened tiles, the bands used, and their pooled mean and standard deviation ``(C,)``."""

    tiles: list[Tile]
    bands: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray

    @property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, std)."""
        return self.mean, self.std


def open_pixels(base: str, data: PixelData, bands: tuple[str, ...] | None = None) -> Pixels:
    """Open the tiles of ``data`` and pool the statistics of ``bands`` (default: the settings', else all).

    Raises ZooError for a tile that lacks a band or names other bands.
    """
    folder = processed(base, data.dataset)
    tiles = open_tiles(folder, data.tiles)
    known = {tile.name for tile in tiles}
    for name in (*data.val_tiles, *data.test_tiles):
        if name not in known:
            raise ZooError(f"{folder}: has no tile {name!r}, which data.val_tiles or data.test_tiles names")
    names = bands or data.bands or tiles[0].band_names
    for tile in tiles:
        tile.select(names)
    return Pixels(tiles, names, *pooled_statistics(tiles, names))


def optimizer_for(model: torch.nn.Module, train: PixelTrain) -> torch.optim.Optimizer:
    """The optimiser of the settings; vectors (biases, norms) in a group of their own with ``lr_scale`` bias_rate."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer([p for p in trainable if p.ndim > 1], train)
    vectors = [p for p in trainable if p.ndim <= 1]
    if vectors:
        optimizer.add_param_group({"params": vectors, "lr_scale": train.bias_rate})
    return optimizer


def memory_of(
    model: torch.nn.Module,
    loss: Callable[[Any], torch.Tensor],
    info: EncoderInfo,
    samples: int,
    train: PixelTrain,
    device: str,
) -> StepMemory | None:
    """Return the memory of a step that shows ``samples`` series to ``model`` and takes ``loss`` of what it gives."""
    import torch
    from eozoo_core.train.memory import step_memory

    def work(networks: list[Any]) -> None:
        bands = torch.empty(samples, info.sample_size, len(info.bands))
        loss(networks[0](bands, torch.empty(samples, info.sample_size, dtype=torch.long))).backward()

    return step_memory([model], work, train, device)
