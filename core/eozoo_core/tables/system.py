"""A network for samples of a table with the scaling that it was trained with: columns in their own units go in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from eozoo_core.errors import ZooError
from eozoo_core.tables.settings import TableSettings
from eozoo_core.tables.survey import ROLE, TableSurvey
from eozoo_core.task.label_loss import LabelLoss
from eozoo_core.task.system import System, Tensors


@dataclass(frozen=True)
class Encoder:
    """Anybody's encoder of samples: a network that is called with what it ``takes``, in that order -> (B, E).

    bands (B, L, D) standardised and doys (B, L) of a series; or columns (B, C) in their own units, 0 where missing, and
    missing (B, C), 1 = missing, else 0.
    """

    network: nn.Module
    takes: tuple[str, ...]

    def length(self, dates: int, columns: int) -> int:
        """Return how long its embedding is, as two samples show."""
        training = self.network.training
        zeros = torch.zeros(2, columns)
        series = zeros.reshape(2, dates, -1), torch.ones(2, dates, dtype=torch.int64)
        with torch.no_grad():
            found = self.network.eval()(*self.arguments(*series, zeros, zeros)).shape[1]
        self.network.train(training)
        return found

    def arguments(self, bands: torch.Tensor, doys: torch.Tensor, columns: torch.Tensor, missing: torch.Tensor) -> list:
        """Return those that it takes, in its order."""
        given = {"bands": bands, "doys": doys, "columns": columns, "missing": missing}
        return [given[role] for role in self.takes]


class TableSystem(System):
    """Standardise "features" (B, C), fill gaps with the training mean, run an encoder where there is one.

    Of a series a band is then standardised over all dates together. A deviation of 0 counts as 1. A subclass writes
    ``raw`` and ``finish``.
    """

    tolerant = (ROLE,)

    def __init__(self, network: nn.Module, survey: TableSurvey, encoder: Encoder | None = None):
        super().__init__()
        self.network, self.encoder, self._encoder = network, encoder.network if encoder else None, encoder
        mean, std = per_band(survey) if encoder is not None else (survey.mean, survey.widths)
        self.register_buffer("input_mean", torch.tensor(np.asarray(mean), dtype=torch.float32))
        spread = torch.tensor(np.asarray(std), dtype=torch.float32)
        self.register_buffer("input_std", torch.where(spread == 0, 1.0, spread))
        days = torch.tensor(survey.days or (1,) * max(survey.dates, 1), dtype=torch.int64)
        self.register_buffer("days", days)

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "features" (B, C) standardised and without gaps, and for an encoder of columns those as they are."""
        values = arrays[ROLE].float()
        scaled, there = (values - self.input_mean) / self.input_std, torch.isfinite(values)
        staged = {ROLE: torch.where(there, scaled, 0.0)}
        if self._encoder is not None and "columns" in self._encoder.takes:
            staged |= {"columns": torch.where(there, values, 0.0), "missing": (~there).float()}
        return staged

    def output(self, staged: Tensors) -> torch.Tensor:
        """Return what the network gives (B, K), float32."""
        found = staged[ROLE]
        if self.encoder is not None:
            series = found.reshape(len(found), len(self.days), -1), self.days.expand(len(found), -1)
            columns = staged.get("columns", found), staged.get("missing", found)
            found = self.encoder(*self._encoder.arguments(*series, *columns))
        return self.network(found).float()

    def where_seen(self, values: torch.Tensor, arrays: Tensors) -> torch.Tensor:
        """Return ``values`` (B, ...), NaN in samples of which every feature is missing."""
        seen = torch.isfinite(arrays[ROLE]).any(dim=1)
        return torch.where(seen.reshape(-1, *(1,) * (values.ndim - 1)), values, torch.nan)


class ValueSystem(TableSystem):
    """Features (B, C) in their own units -> "mean" (B,) in the target's and, where the loss trains it, "std" (B,).

    network: gives (B, 1 or 2): the standardised mean and the raw log-scale, whose meaning ``loss`` knows.
    """

    def __init__(self, network: nn.Module, survey: TableSurvey, loss: LabelLoss, encoder: Encoder | None = None):
        super().__init__(network, survey, encoder)
        mean, std = (survey.label.mean, survey.label.std or 1.0) if survey.label else (0.0, 1.0)
        self._loss = loss
        self.register_buffer("target_mean", torch.tensor(float(mean)))
        self.register_buffer("target_std", torch.tensor(float(std)))
        # log_scale of z -> log_scale of mean + std * z: the variance grows with std^2, b with std.
        self.register_buffer("log_scale_shift", torch.tensor(loss.scale_power * math.log(std)))

    def raw(self, staged: Tensors) -> Tensors:
        """Return "mean" (B,) in the target's unit and, where the network has one, the unclamped "log_scale" (B,)."""
        output = self.output(staged)
        found = {"mean": self.target_mean + self.target_std * output[:, 0]}
        return found | ({"log_scale": output[:, 1] + self.log_scale_shift} if output.shape[1] > 1 else {})

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Return "mean" and, where a variance is trained, "std"; NaN where every feature is missing."""
        found = {"mean": raw["mean"]}
        found |= {"std": self._loss.std(raw["log_scale"])} if self._loss.trains_variance else {}
        return {name: self.where_seen(values, arrays) for name, values in found.items()}


class ClassSystem(TableSystem):
    """Features (B, C) in their own units -> "probability" (B, K).

    ``counts``: labels of each class; logits start at those of their frequencies (one added to each).
    """

    def __init__(self, network: nn.Module, survey: TableSurvey, counts: Sequence[int], encoder: Encoder | None = None):
        super().__init__(network, survey, encoder)
        shares = torch.tensor(np.asarray(counts) + 1.0, dtype=torch.float32)
        self.register_buffer("first", torch.log(shares / shares.sum()))

    def raw(self, staged: Tensors) -> Tensors:
        """Return "output", logits (B, K)."""
        return {"output": self.output(staged) + self.first}

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Turn logits into probabilities, NaN where every feature is missing; core chooses the likeliest class."""
        return {"probability": self.where_seen(raw["output"].softmax(dim=1), arrays)}


def per_band(survey: TableSurvey) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of every column (C,) as those of its band over all dates.

    Where the encoder is that of another run, they are that run's.
    """
    dates = max(survey.dates, 1)
    if survey.scaling:
        return tuple(np.tile([getattr(band, name) for band in survey.scaling], dates) for name in ("mean", "std"))
    count, mean, std = (
        np.array(values, np.float64).reshape(dates, -1)
        for values in ([band.count or 1 for band in survey.bands], survey.mean, survey.std)
    )
    middle = (count * mean).sum(axis=0) / count.sum(axis=0)
    squares = (count * (std**2 + (mean - middle) ** 2)).sum(axis=0) / count.sum(axis=0)
    return np.tile(middle, dates), np.tile(np.sqrt(squares), dates)


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
