"""The picture of a check: input bands, label and what is valid, of one sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eozoo_core.checking.findings import percent
from eozoo_core.checking.survey import Classes, Item, Seen
from eozoo_core.checking.units import Channel
from eozoo_core.score.quicklook import Panel

_BANDS = 6  # panels of bands
_FEW = 0.05  # below this share of labelled pixels each is drawn larger


def panels_of(
    seen: Seen, channels: Sequence[Channel], label: Channel | Classes | None, bands: Sequence[int] | None = None
) -> list[Panel]:
    """Return the panels of the best sample of a survey: its file, ``bands`` (None = up to six), label, valid pixels.

    The image must be (C, H, W); the label (1, H, W), (H, W) or none.
    """
    assert seen.best is not None
    item = seen.best[1]
    panels = [
        Panel(item.image[c], channels[c].name, channels[c].unit, channels[c].shown)
        for c in (spread(len(channels), _BANDS) if bands is None else bands)
    ]
    if item.label is not None and label is not None:
        panels.append(label_panel(item.label, label))
    return [*panels, valid_panel(item)]


def label_panel(values: np.ndarray, label: Channel | Classes) -> Panel:
    """Return the panel of a label (1, H, W) or (H, W); few labelled pixels are drawn 3 x 3 large."""
    values = values.reshape(values.shape[-2:])
    share = float(np.isfinite(values).mean())
    shown, how = values, ""
    if 0 < share < _FEW:
        shown, how = enlarged(values), f" ({percent(share)} labelled, each 3 x 3 px large)"
    if isinstance(label, Classes):
        keys = sorted(label.names)
        index = np.searchsorted(keys, np.nan_to_num(shown, nan=keys[0])).clip(0, len(keys) - 1)
        known = np.isin(shown, keys)  # NaN is in nothing
        values = np.where(known, index.astype(np.float32), np.float32(np.nan))
        return Panel(values, f"label{how}", classes=tuple(label.names[key] for key in keys))
    return Panel(shown, f"label: {label.name}{how}", label.unit, "magma")


def valid_panel(item: Item) -> Panel:
    """Return the panel that says where all bands have a value."""
    valid = np.where(np.isfinite(item.image).all(axis=0), np.float32(1), np.float32(np.nan))
    return Panel(valid, "valid in all bands", "1 = valid, grey = missing", "cividis", (0, 1))


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of ``count`` numbers, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def enlarged(values: np.ndarray) -> np.ndarray:
    """Return (H, W) with every value spread to its eight neighbours, the largest winning; NaN = nothing."""
    padded = np.pad(values, 1, constant_values=np.nan)
    height, width = values.shape
    parts = [padded[r : r + height, c : c + width] for r in range(3) for c in range(3)]
    return np.fmax.reduce(parts)
