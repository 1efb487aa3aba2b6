"""A network for samples of a table with the scaling that it was trained with: columns in their own units go in."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from eozoo_core.errors import ZooError
from eozoo_core.tables.settings import TableSettings
from eozoo_core.tables.survey import ROLE, TableSurvey
from eozoo_core.task.label_loss import LabelLoss
from eozoo_core.task.system import System, Tensors


class TableSystem(System):
    """Standardise "features" (B, C), fill gaps with the training mean, run an encoder of series where there is one.

    ``encoder`` takes bands (B, L, D) and days of year (B, L) and gives (B, E), which the network gets; a band is then
    standardised over all dates together. A deviation of 0 counts as 1. A subclass writes ``raw`` and ``finish``.
    """

    tolerant = (ROLE,)

    def __init__(self, network: nn.Module, survey: TableSurvey, encoder: nn.Module | None = None):
        super().__init__()
        self.network, self.encoder = network, encoder
        mean, std = per_band(survey) if encoder is not None else (survey.mean, survey.widths)
        self.register_buffer("input_mean", torch.tensor(np.asarray(mean), dtype=torch.float32))
        spread = torch.tensor(np.asarray(std), dtype=torch.float32)
        self.register_buffer("input_std", torch.where(spread == 0, 1.0, spread))
        days = torch.tensor(survey.days or (1,) * max(survey.dates, 1), dtype=torch.int64)
        self.register_buffer("days", days)

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "features" (B, C) standardised and without gaps."""
        scaled = (arrays[ROLE].float() - self.input_mean) / self.input_std
        return {ROLE: torch.where(torch.isfinite(scaled), scaled, 0.0)}

    def output(self, staged: Tensors) -> torch.Tensor:
        """Return what the network gives (B, K), float32."""
        found = staged[ROLE]
        if self.encoder is not None:
            series = found.reshape(len(found), len(self.days), -1)
            found = self.encoder(series, self.days.expand(len(found), -1))
        return self.network(found).float()

    def where_seen(self, values: torch.Tensor, arrays: Tensors) -> torch.Tensor:
        """Return ``values`` (B, ...), NaN in samples of which every feature is missing."""
        seen = torch.isfinite(arrays[ROLE]).any(dim=1)
        return torch.where(seen.reshape(-1, *(1,) * (values.ndim - 1)), values, torch.nan)


class ValueSystem(TableSystem):
    """Features (B, C) in their own units -> "mean" (B,) in the target's and, where the loss trains it, "std" (B,).

    network: gives (B, 1 or 2): the standardised mean and the raw log-scale, whose meaning ``loss`` knows.
    """

    def __init__(self, network: nn.Module, survey: TableSurvey, loss: LabelLoss, encoder: nn.Module | None = None):
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

    def __init__(
        self, network: nn.Module, survey: TableSurvey, counts: Sequence[int], encoder: nn.Module | None = None
    ):
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
