"""Encoders of pixel series together with their choice of dates: digital numbers in, embedding or classes out."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from eozoo_core import ZooError
from eozoo_core.task.system import System, Tensors
from torch import nn

from eozoo_barlow_twins.networks import Encoder
from eozoo_barlow_twins.settings import SelectDates
from eozoo_barlow_twins.survey import PixelSurvey
from eozoo_barlow_twins.views import Dates


class PixelSystem(System):
    """Whole series to what a network says of selections of their dates, averaged.

    Inputs are "bands" (B, T, C) digital numbers, NaN = not clear, and "doys" (B, T); or (B, P, L, C) and (B, P, L)
    where the dates of P passes are chosen already; or "views" (B, V, L, C) and "days" of training, which go through the
    network together. A subclass says what becomes of one selection. least: as many clear dates are too few.
    """

    tolerant = ("bands",)

    def __init__(self, encoder: Encoder, survey: PixelSurvey, select: SelectDates):
        super().__init__()
        self.encoder, self.least, self._dates = encoder, survey.min_valid, Dates(survey.sample_size, select)
        encoder.standardise.mean.copy_(torch.tensor(survey.mean, dtype=torch.float64))
        encoder.standardise.std.copy_(torch.tensor(survey.std, dtype=torch.float64))

    def stage(self, arrays: Tensors) -> Tensors:
        """Return "bands" and "doys" of one selection of dates (N, L, C), or of P of them (P, N, L, C)."""
        if "views" in arrays:
            views, days = arrays["views"].transpose(0, 1), arrays["days"].transpose(0, 1)
            return {"bands": views.flatten(0, 1), "doys": days.flatten(0, 1)}
        bands, doys = arrays["bands"], arrays["doys"]
        if bands.ndim == 4:
            return {"bands": bands.transpose(0, 1), "doys": doys.transpose(0, 1)}
        picked = self._positions(bands, self._clear(bands))
        parts = [torch.gather(bands, 1, dates.unsqueeze(2).expand(-1, -1, bands.shape[2])) for dates in picked]
        # Where too few are clear there is no result; numbers that are any keep NaN out of the arithmetic.
        whole = [torch.where(torch.isfinite(part), part, 0.0) for part in parts]
        return {"bands": torch.stack(whole), "doys": torch.stack([torch.gather(doys, 1, dates) for dates in picked])}

    def raw(self, staged: Tensors) -> Tensors:
        """Run the network on one selection of dates, or on one pass after the other: "..." (P, N, K)."""
        bands, doys = staged["bands"], staged["doys"]
        if bands.ndim == 3:
            return self.once(bands, doys)
        each = [self.once(b, d) for b, d in zip(bands, doys)]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}

    def once(self, bands: torch.Tensor, doys: torch.Tensor) -> Tensors:
        """Run the network on ``bands (N, L, C)`` and ``doys (N, L)``."""
        raise NotImplementedError

    def averaged(self, passes: torch.Tensor, arrays: Tensors) -> torch.Tensor:
        """Average over passes (P, B, K); NaN where a whole series has too few clear dates."""
        mean = sum(passes) / len(passes)
        if "bands" not in arrays or arrays["bands"].ndim == 4:
            return mean
        return torch.where(self._clear(arrays["bands"]).sum(dim=1, keepdim=True) > self.least, mean, torch.nan)

    @staticmethod
    def _clear(bands: torch.Tensor) -> torch.Tensor:
        return torch.isfinite(bands).all(dim=2)

    def _positions(self, bands: torch.Tensor, clear: torch.Tensor) -> Sequence[torch.Tensor]:
        """Positions on the time axis (B, L) of each pass. The even ones are those of ``views.even_dates``, and traced:

        of the n clear dates the numbers floor((k + (pass + 1/2) / passes) n / size).
        """
        size, passes = self._dates.size, self._dates.select.passes
        if self._dates.select.selection == "random":
            return self._random(bands, clear)
        place = "cpu" if clear.device.type == "mps" else clear.device  # MPS has no float64
        count = clear.sum(dim=1, keepdim=True)
        number = torch.where(clear, torch.cumsum(clear.long(), dim=1) - 1, -2)  # of each clear date, from 0
        time, found = torch.arange(clear.shape[1], device=clear.device), []
        for one in range(passes):
            share = (torch.arange(size, dtype=torch.float64, device=place) + (one + 0.5) / passes) / size
            ranks = torch.minimum(torch.floor(share * count.to(place)).long().to(clear.device), count - 1)
            found.append((time * (number[:, None, :] == ranks[:, :, None])).sum(dim=2))
        return found

    def _random(self, bands: torch.Tensor, clear: torch.Tensor) -> Sequence[torch.Tensor]:
        """Seeded draws. A series is known by its values: it draws the same wherever it stands, and in any batch."""
        import numpy as np

        known = clear.cpu().numpy()
        values = torch.where(clear.unsqueeze(2), bands, 0.0).cpu().numpy()
        items = np.array([zlib.crc32(series.tobytes()) for series in values], np.int64)
        short = max(0, self._dates.size - known.shape[1])  # such series have too few dates: any will do
        padded = np.pad(known, ((0, 0), (0, short)))
        found = [np.minimum(dates, known.shape[1] - 1) for dates in self._dates.of(padded, items)]
        return [torch.from_numpy(dates).to(clear.device) for dates in found]


class TwinSystem(PixelSystem):
    """Encoder and, in pre-training, projector: "embedding" (N, D) and for views "projection" (N, P)."""

    def __init__(self, encoder: Encoder, projector: nn.Module, survey: PixelSurvey, select: SelectDates):
        super().__init__(encoder, survey, select)
        self.projector = projector

    def raw(self, staged: Tensors) -> Tensors:
        """See `PixelSystem.raw`; the projector is left out where its output is not asked for."""
        found = super().raw(staged)
        views = staged["bands"].ndim == 3
        return found | ({"projection": self.projector(found["embedding"])} if views else {})

    def once(self, bands: torch.Tensor, doys: torch.Tensor) -> Tensors:
        """Return the embedding."""
        return {"embedding": self.encoder(bands, doys)}

    def simplify(self, side: int) -> tuple[str, ...]:
        """Leave the projector out of exported graphs: no embedding goes through it."""
        self.projector = nn.Identity()
        return ()

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Return "embedding" (B, D), NaN where too few dates are clear."""
        return {"embedding": self.averaged(raw["embedding"].float(), arrays)}


class ClassSystem(PixelSystem):
    """Encoder and classification head: "logits" (N, K).

    ``trainable``: "head", "last" (also the encoder's ``last_layers`` last layers) or "all". What is not trained stays
    in eval mode, so that its dropout is off and its batch statistics do not move, also while the rest trains. What the
    encoder itself holds fixed (published codes, options.freeze) stays so.

    Raises ZooError where "last" or "all" find nothing to train.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        survey: PixelSurvey,
        select: SelectDates,
        trainable: str,
        last_layers: int,
    ):
        super().__init__(encoder, survey, select)
        self.head = head
        self._trained: list[nn.Module] = [head]
        if trainable == "all":
            self._trained.append(encoder)
        elif trainable == "last":
            if not hasattr(encoder.backbone, "last"):
                raise ZooError("model.trainable 'last': this encoder does not say what its last layers are; use 'all'")
            self._trained += encoder.backbone.last(last_layers)
        of_encoder = {id(p) for module in self._trained[1:] for p in module.parameters() if p.requires_grad}
        if trainable != "head" and not of_encoder:
            raise ZooError(f"model.trainable {trainable!r}: the encoder's options freeze all of it; take 'head'")
        for parameter in encoder.parameters():
            parameter.requires_grad_(id(parameter) in of_encoder)

    def once(self, bands: torch.Tensor, doys: torch.Tensor) -> Tensors:
        """Return the logits."""
        return {"logits": self.head(self.encoder(bands, doys))}

    def finish(self, raw: Tensors, arrays: Tensors) -> Tensors:
        """Return "probabilities" (B, K), NaN where too few dates are clear; for scores "log_probabilities" too."""
        logits = raw["logits"].float()
        if logits.ndim == 3:
            return {"probabilities": self.averaged(torch.softmax(logits, dim=2), arrays)}
        return {"probabilities": torch.softmax(logits, dim=1), "log_probabilities": torch.log_softmax(logits, dim=1)}

    def train(self, mode: bool = True) -> ClassSystem:
        """Set training mode for what is trained only."""
        super().train(False)
        for module in self._trained:
            module.train(mode)
        self.training = mode
        return self


def make_head(kind: str, latent_dim: int, classes: int, hidden: Sequence[int], dropout: float) -> nn.Module:
    """A linear layer, or an MLP with ReLU and dropout after each hidden layer, on the layer-normalised embedding.

    Without the normalisation the learning rate that suits the head would depend on the scale of the embedding.
    """
    parts: list[nn.Module] = [nn.LayerNorm(latent_dim)]
    size = latent_dim
    for width in hidden if kind == "mlp" else ():
        parts += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
        size = width
    return nn.Sequential(*parts, nn.Linear(size, classes))
