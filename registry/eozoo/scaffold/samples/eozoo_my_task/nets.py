"""An encoder of samples with two inputs: a series of dates, and a few numbers about the place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from eozoo_core.tables.groups import Group, places_of
from torch import nn

SERIES = {"ndvi": (0.5, 0.2), "vv": (-10.0, 3.0)}  # columns ndvi_0, vv_0, ndvi_1, ...: mean, deviation
PLACE = {"elevation": (500.0, 300.0), "slope": (10.0, 10.0)}


def my_task_encoder(columns: Sequence[tuple[str, str]] = (), width: int = 32) -> nn.Module:
    """An encoder of the columns of a table. columns: name and unit of each. width: length of the embedding."""
    return Encoder([name for name, _ in columns], width)


class Encoder(nn.Module):
    """Columns (B, F) in their own units, 0 where missing, and what is missing (B, F) -> embedding (B, width)."""

    def __init__(self, columns: Sequence[str], width: int):
        super().__init__()
        self.series = Group(places_of(columns, tuple(SERIES), "{band}_{t}"))
        self.place = Group(places_of(columns, tuple(PLACE)))
        self.register_buffer("series_scale", torch.tensor([*SERIES.values()]).T)
        self.register_buffer("place_scale", torch.tensor([*PLACE.values()]).T)
        self.of_date = nn.Sequential(nn.Linear(2 * len(SERIES), width), nn.ReLU(), nn.Linear(width, width))
        self.of_place = nn.Linear(2 * len(PLACE), width)

    def forward(self, columns: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Encode every sample: the mean over its dates, and its place. The network sees what is missing."""
        dates = self.of_date(_seen(*self.series(columns, missing), self.series_scale))
        series = dates.sum(dim=1) / max(dates.shape[1], 1)  # a table may have no date
        return series + self.of_place(_seen(*self.place(columns, missing), self.place_scale))[:, 0]


def _seen(values: torch.Tensor, gaps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    scaled = torch.where(gaps, 0.0, (values - scale[0]) / scale[1])
    return torch.cat([scaled, gaps.float()], dim=-1)
