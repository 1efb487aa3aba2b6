"""Columns of a table as arrays of dates and bands, for networks that take several inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from eozoo_core.raster.bands import find_some
from eozoo_core.tables.columns import series_pattern

ABSENT = -1


def places_of(columns: Sequence[str], bands: Sequence[str], pattern: str = "") -> np.ndarray:
    """Return which of ``columns`` holds each band at each date (T, len(bands)) int64, ABSENT = none does.

    pattern: how columns are called, 'B{band}_{t}' with the number of the date; "" = one date, a column is called as its
    band. Names mean what they mean for rasters, B8A is nir08; ``bands`` say together of which sensor their codes are.
    """
    if not pattern:
        return np.array([find_some(list(columns), bands, ABSENT)], np.int64)
    found = [(series_pattern(pattern).fullmatch(name), i) for i, name in enumerate(columns)]
    dated = [(int(match["t"]), match.groupdict().get("band", ""), i) for match, i in found if match]
    rows = []
    for date in sorted({t for t, _, _ in dated}):
        here = {band: i for t, band, i in dated if t == date}
        at = find_some(list(here), bands, ABSENT)
        rows.append([list(here.values())[i] if i != ABSENT else ABSENT for i in at])
    return np.array(rows, np.int64).reshape(-1, len(bands))


class Group(nn.Module):
    """Takes dates and bands out of columns: (B, F) and what is missing of it -> (B, T, D) each, see `places_of`."""

    def __init__(self, places: np.ndarray):
        super().__init__()
        self.shape = places.shape
        flat = torch.from_numpy(places.ravel().copy())
        self.register_buffer("place", flat.clamp(min=0), persistent=False)
        self.register_buffer("absent", (flat == ABSENT).float(), persistent=False)

    def forward(self, columns: torch.Tensor, missing: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values, 0 where missing, and whether they are missing (bool)."""
        values, gaps = columns[:, self.place], torch.maximum(missing[:, self.place], self.absent)
        shape = (columns.shape[0], *self.shape)
        return (values * (1 - gaps)).reshape(shape), gaps.reshape(shape) > 0
