"""Pictures of tiles: input, output, target and difference side by side, in true colour with one stretch for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eozoo_core.task.data import Arrays
    from eozoo_core.task.system import Tensors

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


class Seen:
    """The first ``count`` validation tiles of this process, kept while they are scored, as a picture."""

    def __init__(self, count: int):
        self._count, self._rows = count, []

    def __call__(self, batch: Arrays, found: Tensors) -> None:
        """Take what is predicted for a batch."""
        for i in range(min(self._count - len(self._rows), len(batch["target"]))):
            self._rows.append((batch["opt_v1"][i], found["refined"][i].float().cpu().numpy(), batch["target"][i]))

    def picture(self) -> dict[str, np.ndarray]:
        """Return it by its name for the loggers; {} where nothing was kept."""
        return {"input_output_target_difference": grid(self._rows)} if self._rows else {}
