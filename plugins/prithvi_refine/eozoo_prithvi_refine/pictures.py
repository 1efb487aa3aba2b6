"""Pictures of tiles: input, output, target and difference side by side, in true colour with one stretch for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eozoo_core.task.train import Trainer

    from eozoo_prithvi_refine.settings import PrithviRuntimeSettings

_GREY = 0.72


def true_colour(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Turn ``(4, H, W)`` reflectance into ``(H, W, 3)`` uint8: ``low``..``high`` to 0..255, gamma 1/1.4, NaN grey."""
    rgb = np.moveaxis(image[[2, 1, 0]], 0, -1).astype(np.float64)
    stretched = np.clip((rgb - low) / max(high - low, 1e-6), 0, 1) ** (1 / 1.4)
    return np.rint(255 * np.where(np.isfinite(rgb).all(-1, keepdims=True), stretched, _GREY)).astype(np.uint8)


def difference(refined: np.ndarray, target: np.ndarray, limit: float = 0.1) -> np.ndarray:
    """Return the bands' mean difference as ``(H, W, 3)`` uint8: blue = too dark, white = right, red = too bright."""
    mean = (refined - target).mean(axis=0)
    x = np.clip(np.nan_to_num(mean) / limit, -1, 1)
    rgb = np.stack([np.minimum(1, 1 + x), 1 - np.abs(x), np.minimum(1, 1 - x)], axis=-1)
    return np.rint(255 * np.where(np.isfinite(mean)[..., None], rgb, _GREY)).astype(np.uint8)


def row(image: np.ndarray, refined: np.ndarray, target: np.ndarray, zoom: int = 2, gap: int = 4) -> np.ndarray:
    """Draw one tile: input, output, target, difference, ``zoom`` times enlarged and all stretched as the target."""
    visible = target[:3][:, np.isfinite(target).all(axis=0)]
    low, high = np.percentile(visible, [1, 99]) if visible.size else (0.0, 1.0)
    panels = [true_colour(x, float(low), float(high)) for x in (image, refined, target)]
    panels.append(difference(refined, target))
    space = np.full((panels[0].shape[0] * zoom, gap, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (np.kron(panel, np.ones((zoom, zoom, 1), np.uint8)), space)]
    return np.concatenate(parts[:-1], axis=1)


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Stack rows of (input, output, target), each ``(4, H, W)``, into one picture; narrower rows are filled white."""
    drawn = [row(*arrays) for arrays in rows]
    width = max(r.shape[1] for r in drawn)
    full = [np.pad(r, ((0, gap), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in drawn]
    return np.concatenate(full)[:-gap]


def validation_picture(trainer: Trainer, runtime: PrithviRuntimeSettings) -> dict[str, np.ndarray]:
    """Draw the first ``runtime.pictures`` validation tiles, on the process that logs; {} where nobody looks."""
    import torch
    from eozoo_core.task.data import tensors

    count = min(runtime.pictures, len(trainer.val)) if runtime.tensorboard and trainer.fabric.is_global_zero else 0
    rows = []
    for i in range(count):
        batch = trainer.val.items([i])
        with torch.no_grad(), trainer.fabric.autocast():
            refined = trainer.system.predict(tensors(batch, trainer.fabric.device))["refined"]
        rows.append((batch["opt_v1"][0], refined[0].cpu().numpy(), batch["target"][0]))
    return {"input_output_target_difference": grid(rows)} if rows else {}
