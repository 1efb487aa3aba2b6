"""A trained run as one network, from windows in physical units to temperatures, for ``eozoo export``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core.task import Graph
from torch import Tensor, nn

from eozoo_clay_ta.grid import HALF, WINDOW
from eozoo_clay_ta.model import ClayRegressor, TaModel
from eozoo_clay_ta.predict import INPUTS
from eozoo_clay_ta.sample_schema import CHANNELS, KELVIN, NAMES, SZA
from eozoo_clay_ta.static import CLASSES
from eozoo_clay_ta.training import load_model

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Registry

    from eozoo_clay_ta.settings import ClaySettings


class Whole(nn.Module):
    """What ``predict`` takes and gives: normalisation, calendar and missing values inside."""

    def __init__(self, model: TaModel, metres: float, offset: float):
        super().__init__()
        self.model, self._metres, self._offset = model, metres, offset

    def forward(self, x: Tensor, time: Tensor, lat: Tensor, lon: Tensor, landcover: Tensor) -> tuple[Tensor]:
        """Arrays of ``predict.INPUTS``, NaN = missing -> ``ta (N,)``."""
        single = torch.stack([time, lat.double(), lon.double(), landcover.double()], dim=1)
        valid = torch.isfinite(x).flatten(1).all(dim=1) & torch.isfinite(single).all(dim=1)
        single = torch.where(torch.isfinite(single), single, 0.0)
        classes = single[:, 3].long()
        valid = valid & (classes >= 0) & (classes < CLASSES)
        mean, std = (self.model.get_buffer(name).float()[:, None, None] for name in ("mean", "std"))
        z = (torch.where(torch.isfinite(x), x, 0.0) - mean) / std
        metres = torch.full_like(lat, self._metres)
        batch = {
            "x": z,
            "time7": calendar(single[:, 0], z[:, SZA, HALF, HALF]),
            "loc": torch.stack([single[:, 1].float(), single[:, 2].float(), metres], dim=1),
            "landcover_onehot": (classes[:, None] == torch.arange(CLASSES, device=x.device)).float(),
        }
        if isinstance(self.model, ClayRegressor) and self.model.encoder is not None:
            batch["features"] = self.model.features_at(batch, metres[:1] * (WINDOW / self.model.size))
        ta = self.model(batch).double() * self.model.ta_std + self.model.ta_mean + self._offset
        return (torch.where(valid, ta.float(), torch.nan),)


def calendar(seconds: Tensor, sza_centre: Tensor) -> Tensor:
    """``samples.time7`` in whole-number arithmetic: ``(N, 7)`` from ``seconds (N,)`` float64 since 1970-01-01 UTC.

    Days to year and month after Hinnant 2014, "chrono-Compatible Low-Level Date Algorithms" (civil_from_days): years
    begin in March there, so that the leap day comes last. For times from 1970 on.
    """
    minutes = seconds.long() // 60
    since = minutes // 1440
    hour = (minutes - 1440 * since).float() / 60
    shifted = since + 719_468
    era = shifted // 146_097  # of 400 years
    day = shifted - 146_097 * era
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    after = day - (365 * year + year // 4 - year // 100)  # 1 March = 0
    month = (5 * after + 2) // 153
    month = torch.where(month < 10, month + 3, month - 9)
    # January and February belong to the next year; its leap day can no longer lie before them.
    leap = ((year % 4 == 0) & ((year % 100 != 0) | (year == 0))).long()
    of_year = torch.where(month > 2, after + 60 + leap, after - 305)
    parts = []
    for share in (of_year.float() / 365.25, hour / 24, month.float() / 12):
        parts += [torch.sin(2 * math.pi * share), torch.cos(2 * math.pi * share)]
    return torch.stack([*parts, sza_centre], dim=1)


def make_graph(run: Run, settings: ClaySettings, registry: Registry | None = None) -> Graph:
    """Return best.pt as a graph with four plausible windows as example."""
    model, rng = load_model(run, settings, None, registry, "cpu"), np.random.default_rng(0)
    if isinstance(model, ClayRegressor) and model.encoder is not None:
        model.kernel()  # generated once, before anything is traced
    norm, metres = model.normalisation(), settings.data.grid.metres
    noise = rng.normal(size=(4, CHANNELS, WINDOW, WINDOW)) * 0.5
    x = norm.mean[:, None, None] + norm.std[:, None, None] * noise
    x[:, -1] = rng.integers(0, 2, (4, WINDOW, WINDOW))
    inputs = {
        "x": x.astype("float32"),
        "time": np.array([1.6409952e9, 1.649e9, 1.7092e9, 1.66e9]),  # float64: float32 would round to two minutes
        "lat": np.array([35.0, 36.5, 38.0, 33.2], "float32"),
        "lon": np.array([127.0, 128.5, 126.0, 129.1], "float32"),
        "landcover": np.array([1.0, 10.0, 16.0, 0.0], "float32"),
    }
    offset = KELVIN if settings.infer.unit == "K" else 0.0
    about = {name: f"{text}; NaN = missing" for name, text in INPUTS.items()}
    about["x"] += f". Channels: {', '.join(NAMES)}; windows of {WINDOW} px of {metres:g} m"
    axes = {name: ("batch", *[""] * (array.ndim - 1)) for name, array in inputs.items()}
    return Graph(Whole(model, metres, offset), inputs, ("ta",), axes=axes, about=about)
