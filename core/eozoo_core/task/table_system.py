"""A network for samples of a table with the scaling that it was trained with: columns in their own units go in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from eozoo_core.errors import ZooError
from eozoo_core.task.system import System, Tensors
from eozoo_core.task.table_settings import TableSettings
from eozoo_core.task.table_survey import ROLE, TableSurvey


class TableSystem(System):
    """Standardise "features" (B, C), fill gaps with the training mean, run an encoder of series where there is one.

    ``raw`` gives "output" (B, K): the network's times ``scale`` plus ``shift``. ``encoder`` takes bands (B, L, D) and
    days of year (B, L) and gives (B, E), which the network gets; a band is then standardised over all dates together.
    Columns that never change and deviations of 0 count as 1. A subclass writes ``finish``.
    """

    tolerant = (ROLE,)

    def __init__(
        self,
        network: nn.Module,
        survey: TableSurvey,
        shift: Sequence[float],
        scale: Sequence[float],
        encoder: nn.Module | None = None,
    ):
        super().__init__()
        self.network, self.encoder = network, encoder
        mean, std = per_band(survey) if encoder is not None else (survey.mean, survey.std)
        for name, (middle, width) in {"input": (mean, std), "output": (shift, scale)}.items():
            self.register_buffer(f"{name}_mean", torch.tensor(np.asarray(middle), dtype=torch.float32))
            spread = torch.tensor(np.asarray(width), dtype=torch.float32)
            self.register_buffer(f"{name}_std", torch.where(spread == 0, 1.0, spread))
        days = torch.tensor(survey.days or (1,) * max(survey.dates, 1), dtype=torch.int64)
        self.register_buffer("days", days)

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "features" (B, C) standardised and without gaps."""
        scaled = (arrays[ROLE].float() - self.input_mean) / self.input_std
        return {ROLE: torch.where(torch.isfinite(scaled), scaled, 0.0)}

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output" (B, K), finite everywhere."""
        found = staged[ROLE]
        if self.encoder is not None:
            series = found.reshape(len(found), len(self.days), -1)
            found = self.encoder(series, self.days.expand(len(found), -1))
        return {"output": self.network(found).float() * self.output_std + self.output_mean}

    def where_seen(self, values: torch.Tensor, arrays: Tensors) -> torch.Tensor:
        """Return ``values`` (B, ...), NaN in samples of which every feature is missing."""
        seen = torch.isfinite(arrays[ROLE]).any(dim=1)
        return torch.where(seen.reshape(-1, *(1,) * (values.ndim - 1)), values, torch.nan)


def per_band(survey: TableSurvey) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every column (C,) as those of its band over all dates."""
    dates = max(survey.dates, 1)
    count, mean, std = (
        np.array(values, np.float64).reshape(dates, -1)
        for values in ([band.count or 1 for band in survey.bands], survey.mean, survey.std)
    )
    middle = (count * mean).sum(axis=0) / count.sum(axis=0)
    squares = (count * (std**2 + (mean - middle) ** 2)).sum(axis=0) / count.sum(axis=0)
    return np.tile(middle, dates), np.tile(np.sqrt(squares), dates)


def embedding_length(encoder: nn.Module, dates: int, bands: int) -> int:
    """Return how long the embedding of anybody's encoder is, as two samples show."""
    training = encoder.training
    with torch.no_grad():
        found = encoder.eval()(torch.zeros(2, dates, bands), torch.ones(2, dates, dtype=torch.int64)).shape[1]
    encoder.train(training)
    return found


def require_days(settings: TableSettings, survey: TableSurvey) -> None:
    """Raise ZooError where a series of several dates has no days for the encoder, or one that is none."""
    name = settings.model.encoder.name
    if survey.dates > 1 and not survey.days:
        raise ZooError(
            f"data.days is not set: which days of the year are the {survey.dates} dates? model.encoder {name} takes "
            "them; --set data.days=[15,46,...]"
        )
    if survey.days and not (min(survey.days) >= 1 and max(survey.days) <= 366):
        raise ZooError(f"data.days: {min(survey.days)} to {max(survey.days)}; a day of year is 1..366")
