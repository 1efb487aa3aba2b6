"""Presto on series of a pixel's clear dates: digital numbers of Sentinel-2 and days of the year -> an embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from eozoo_core import ZooError
from eozoo_core.run.published import load_published
from eozoo_core.tables.groups import Group, places_of
from torch import nn

from eozoo_pretrained.plugin import BANDS, PRESTO_SOURCES
from eozoo_pretrained.presto import GROUPS, MONTHS, UNKNOWN, WIDTH, Encoder, encoder_tensors
from eozoo_pretrained.presto_columns import SCALES

_RED, _NIR, _NDVI = (BANDS.index(name) for name in ("B4", "B8", "NDVI"))
_STARTS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # of the months, days after 1 January


def presto_series(
    in_channels: int = 10,
    sample_size: int = 16,
    bands: Sequence[str] = (),
    pretrained: str | bool | None = None,
    freeze: bool = False,
) -> nn.Module:
    """Presto's encoder of series of Sentinel-2: bands that are not there are masked, an index is made of B4 and B8.

    in_channels, sample_size: bands and dates. bands: their names; () = B2 ... B8, B8A, B11, B12. pretrained: file of
    the published weights, or 'published'. freeze: leave them as they are.

    Raises ZooError for more than 24 dates, where no band is known, and for weights that do not match.
    """
    names = tuple(bands) or BANDS[2:12][:in_channels]
    if sample_size > MONTHS:
        raise ZooError(f"presto_series: {sample_size} dates (data.sample_size); it knows {MONTHS} at most")
    network = PrestoSeries(names)
    if pretrained:
        how = ("presto", PRESTO_SOURCES, encoder_tensors, "model.backbone.options.pretrained")
        network.receipt = str(load_published(network.encoder, pretrained, *how))
    return network.requires_grad_(False) if freeze else network


class PrestoSeries(nn.Module):
    """Series (B, L, C) in reflectance x 10000, all there, and days of the year (B, L) -> embedding (B, 128).

    Presto counts months, and dates are any: each stands where its month does after that of the first, at most the 24th.
    Days are in order of time; one that is less than the day before it is of the next year.
    """

    latent_dim = WIDTH

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self.encoder, self.receipt = Encoder(), ""
        places = places_of(names, BANDS)
        if not (places[:, 2:12] >= 0).any():
            raise ZooError(f"presto_series: none of {', '.join(BANDS[2:12])} is among {', '.join(names)}")
        self.bands = Group(places)
        self.derives = bool((places[0, [_RED, _NIR]] >= 0).all() and places[0, _NDVI] < 0)
        there = {k for k in range(len(BANDS)) if places[0, k] >= 0} | ({_NDVI} if self.derives else set())
        self.encoder.only([name for name, of in GROUPS.items() if there.issuperset(of)])
        scales = torch.tensor([SCALES[name][1:] for name in BANDS], device="cpu")
        self.register_buffer("scales", scales.T, persistent=False)
        self.register_buffer("starts", torch.tensor(_STARTS, device="cpu"), persistent=False)

    def forward(self, values: torch.Tensor, doys: torch.Tensor) -> torch.Tensor:
        """Encode series."""
        flat = values.flatten(0, 1)
        found, gaps = (x[:, 0].unflatten(0, values.shape[:2]) for x in self.bands(flat, torch.zeros_like(flat)))
        scaled = (found + self.scales[0]) / self.scales[1]
        if self.derives:
            red, nir = found[..., _RED], found[..., _NIR]
            total = red + nir
            index = (nir - red) / torch.where(total > 0, total, 1.0)
            scaled = torch.cat([scaled[..., :_NDVI], index[..., None]], dim=-1)
            gaps = torch.cat([gaps[..., :_NDVI], (total <= 0)[..., None]], dim=-1)
        month = torch.bucketize(doys - 1, self.starts, right=True) - 1
        years = F.pad((doys[:, 1:] < doys[:, :-1]).long().cumsum(dim=1), (1, 0))
        elapsed = (month + 12 * years - month[:, :1]).clamp(0, MONTHS - 1)
        cover = torch.full_like(month, UNKNOWN)
        place = torch.full_like(scaled[:, 0, :2], torch.nan)
        return self.encoder(scaled, cover, place, month, gaps, elapsed)

    def last(self, count: int) -> list[nn.Module]:
        """The last ``count`` blocks and the norm, for fine-tuning in part."""
        return [*self.encoder.blocks[-count:], self.encoder.norm]
