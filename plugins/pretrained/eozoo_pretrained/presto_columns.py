"""Presto on the columns of anybody's table: which column is what, in which unit, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.run.published import load_published
from eozoo_core.tables.groups import Group, places_of
from torch import nn

from eozoo_pretrained.plugin import BANDS, PRESTO_SOURCES
from eozoo_pretrained.presto import COVER, GROUPS, MONTHS, PLACE, UNKNOWN, Encoder, encoder_tensors
from eozoo_pretrained.units import S2, converted

# Of each band the unit that it is published in, what is added and what it is then divided by.
SCALES = dict.fromkeys(BANDS[2:12], (S2, 0.0, 10000.0)) | {
    **dict.fromkeys(("VV", "VH"), ("dB", 25.0, 25.0)),
    "temperature_2m": ("K", -272.15, 35.0),
    "total_precipitation": ("m", 0.0, 0.03),
    "elevation": ("m", 0.0, 2000.0),
    "slope": ("degree", 0.0, 50.0),
    "NDVI": ("1", 0.0, 1.0),
}


def presto(
    columns: Sequence[tuple[str, str]] = (),
    pattern: str = "{band}_{t}",
    pretrained: str | bool | None = None,
    freeze: bool = False,
) -> nn.Module:
    """Presto's encoder of the columns of a table; what a table lacks is masked.

    columns: name and unit of each. pattern: how columns of a date are called; "" = there is one date. pretrained: file
    of the published weights, or 'published'. freeze: leave them as they are.
    """
    network = Presto(columns, pattern)
    if pretrained:
        what = "model.encoder.options.pretrained"
        network.receipt = str(
            load_published(network.encoder, pretrained, "presto", PRESTO_SOURCES, encoder_tensors, what)
        )
    return network.requires_grad_(False) if freeze else network


class Presto(nn.Module):
    """Columns (B, F) in their own units and what is missing of them (B, F) -> embedding (B, 128)."""

    def __init__(self, columns: Sequence[tuple[str, str]], pattern: str):
        super().__init__()
        self.encoder, self.receipt, names = Encoder(), "", [name for name, _ in columns]
        places = places_of(names, BANDS, pattern)
        _require_dates(names, places, pattern)
        self.bands, self.place = Group(places), Group(places_of(names, ("lat", "lon")))
        self.cover, self.month = (Group(places_of(names, (n,), pattern)) for n in ("dynamic_world", "month"))
        given = [name for name, of in GROUPS.items() if (places[:, of] >= 0).all(axis=1).any()]
        given += [COVER] if (self.cover.absent == 0).any() else []
        if names:
            self.encoder.only([*given, PLACE] if not self.place.absent.any() else given)
        factors = [_factors(band, [columns[i] for i in places[:, k] if i >= 0]) for k, band in enumerate(BANDS)]
        self.register_buffer("factors", torch.tensor(factors).T, persistent=False)

    def forward(self, columns: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Encode rows; without a month it is January, without class or place their tokens are left out."""
        (bands, gaps), (place, nowhere) = self.bands(columns, missing), self.place(columns, missing)
        (cover, bare), (month, never) = self.cover(columns, missing), self.month(columns, missing)
        cover = torch.where(bare, UNKNOWN, cover)[..., 0].long().clamp(0, UNKNOWN)
        month = torch.where(never, 0, month - 1)[..., 0].long() % 12
        place = torch.where(nowhere, torch.nan, place)[:, 0]
        return self.encoder(bands * self.factors[0] + self.factors[1], cover, place, month, gaps)


def _require_dates(names: Sequence[str], places: np.ndarray, pattern: str) -> None:
    """Raise ZooError where columns are there and none is a band of a date, or too many dates."""
    if names and not (places >= 0).any():
        raise ZooError(f"presto: no column is called as one of {', '.join(BANDS)} by options.pattern {pattern!r}")
    if len(places) > MONTHS:
        raise ZooError(f"presto: {len(places)} dates by options.pattern {pattern!r}; it knows {MONTHS} months at most")


def _factors(band: str, columns: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """Factor and summand by which a band becomes what Presto learned. Raises ZooError for a unit that is not known."""
    unit, shift, divide = SCALES[band]
    given = columns[0][1] if columns else unit
    factor, added = converted("presto", columns[0][0] if columns else band, given, unit, "say so in data.units")
    return factor / divide, (added + shift) / divide
