"""Trained encoders and classifiers as one network, from whole series of digital numbers, for ``eozoo export``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from eozoo_core import Graph, ZooError
from torch import nn

from eozoo_barlow_twins.encoders import EncoderInfo

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_barlow_twins.settings import SelectDates


class WholeSeries(nn.Module):
    """Series of any length to the mean of the network's outputs over the passes, NaN where too few dates are clear.

    The dates are those of ``views.even_dates``: of the n clear ones the numbers floor((k + (pass + 1/2) / passes) n /
    size).
    """

    def __init__(self, network: nn.Module, info: EncoderInfo, passes: int):
        super().__init__()
        self.network, self._passes, self._least = network, passes, info.min_valid
        steps = torch.arange(info.sample_size, dtype=torch.float64)
        shares = [(steps + (number + 0.5) / passes) / info.sample_size for number in range(passes)]
        self.register_buffer("shares", torch.stack(shares), persistent=False)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """``bands (N, T, C)`` digital numbers, NaN = not clear, and ``doys (N, T)`` int64 -> ``(N, K)``."""
        clear = torch.isfinite(bands).all(dim=2)
        count = clear.sum(dim=1, keepdim=True)
        number = torch.where(clear, torch.cumsum(clear.long(), dim=1) - 1, -2)  # of each clear date, from 0
        time = torch.arange(clear.shape[1], device=bands.device)
        total: torch.Tensor | float = 0.0
        for share in self.shares:
            ranks = torch.minimum(torch.floor(share * count).long(), count - 1)
            dates = (time * (number[:, None, :] == ranks[:, :, None])).sum(dim=2)
            values = torch.gather(bands, 1, dates.unsqueeze(2).expand(-1, -1, bands.shape[2]))
            # Where too few are clear there is no result; numbers that are any keep NaN out of the arithmetic.
            values = torch.where(torch.isfinite(values), values, 0.0)
            total = total + self.network(values, torch.gather(doys, 1, dates))
        return torch.where(count > self._least, total / self._passes, torch.nan)


class Embedded(nn.Module):
    """What ``barlow_twins`` predicts."""

    def __init__(self, series: WholeSeries):
        super().__init__()
        self.series = series

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> tuple[torch.Tensor]:
        """See ``WholeSeries.forward``."""
        return (self.series(bands, doys),)


class Classified(nn.Module):
    """What ``barlow_landcover`` predicts: probabilities and the code of the most probable class."""

    def __init__(self, series: WholeSeries, codes: list[int]):
        super().__init__()
        self.series = series
        self.register_buffer("codes", torch.tensor([float(code) for code in codes]), persistent=False)

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``WholeSeries.forward``."""
        probabilities = self.series(bands, doys)
        missing = torch.isnan(probabilities[:, 0])
        best = self.codes[torch.nan_to_num(probabilities).argmax(dim=1)]
        return probabilities, torch.where(missing, torch.nan, best)


class Probabilities(nn.Module):
    """Softmax behind a classifier."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, bands: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Logits to probabilities."""
        return torch.softmax(self.classifier(bands, doys).float(), dim=1)


def whole_series(network: nn.Module, run: Run, select: SelectDates) -> WholeSeries:
    """Put the choice of dates before a network. Raises ZooError for random dates: they are no function of the input."""
    if select.selection != "even":
        raise ZooError(f"{run.path}: random dates cannot be exported; add --set infer.selection=even")
    return WholeSeries(network.cpu(), EncoderInfo.of(run), select.passes)


def series_graph(module: nn.Module, run: Run, mean: np.ndarray, outputs: dict[str, str]) -> Graph:
    """Return the graph of ``outputs`` (name -> what it is), with six series around ``mean (C,)`` as example.

    Each has dates of its own, some not clear; one has a clear date too few.
    """
    info, rng = EncoderInfo.of(run), np.random.default_rng(0)
    dates = 2 * max(info.sample_size, info.min_valid) + 3
    bands = (mean * rng.uniform(0.5, 1.5, (6, dates, len(mean)))).astype("float32")
    bands[:, ::5] = np.nan
    bands[4, info.min_valid :] = np.nan  # one clear date too few
    days = np.sort(rng.integers(1, 367, (6, dates)), axis=1)
    return Graph(
        module,
        {"bands": bands, "doys": days},
        tuple(outputs),
        axes={"bands": ("batch", "dates", ""), "doys": ("batch", "dates")},
        about={
            "bands": f"bands {', '.join(info.bands)}, in this order, reflectance x 10000; NaN = not clear. More than "
            f"{info.min_valid} of a pixel's dates must be clear in all bands, or its outputs are NaN",
            "doys": "day of year 1..366 of each date, in order of time",
            **outputs,
        },
    )
