"""Galileo nano as a network for maps: bands of an image in, values or classes of its pixels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from eozoo_core import ZooError
from eozoo_core.run.published import load_published
from torch import nn
from torch.utils.checkpoint import checkpoint

from eozoo_pretrained.galileo import KERNEL, SPACE, SPACE_TIME, WIDTH, Encoder
from eozoo_pretrained.galileo_bands import PUBLISHED, Bands
from eozoo_pretrained.plugin import GALILEO_SOURCES

_CHUNK = 256  # squares that are encoded at once


def galileo_nano(
    in_channels: int = 12,
    outputs: int = 1,
    bands: Sequence[tuple[str, str]] = (),
    names: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    patch: int = 4,
    window: int = 3,
    margin: int = 1,
    width: int = 64,
    month: int = 0,
    pattern: str = "",
    place: Sequence[float] = (),
    metres: float = 10.0,
    pretrained: str | bool | None = None,
    freeze: bool = False,
) -> nn.Module:
    """Galileo nano's tokens as a map, beside a convolution of the pixels: images of any size.

    in_channels: bands. outputs: channels of the result. bands: name and unit of each; () = VV, VH in dB and ten bands
    of Sentinel-2 in reflectance x 10000. names: of the bands in their order, where files call them otherwise. units: of
    bands whose files say none, {S2: reflectance 0..1, S1: dB}.

    patch: side of a token, 1 to 8 px. window: tokens along the side of a square that is seen at once; ``margin`` of
    them on each side are context alone, so squares overlap by twice that. With 3 and 1 every token is the middle of its
    square. Larger squares are faster, but then where a token lies in its square decides much of what is said of it
    (47 % of the variance with 8 and 0). width: channels beside and after; 0 = a linear map of the features alone.

    month: 1..12 of all images; 0 = of bands called DATE_BAND their own, else not known. pattern: how bands of several
    dates are called, as '{band}_{t}'. place: degrees latitude and longitude of all images; () = their bands lat and
    lon, where they have them. metres: side of a pixel. pretrained: file of the published weights, or 'published'.
    freeze: leave them as they are.

    Raises ZooError for an option out of range, a unit that is not known, weights that do not match, and where no group
    of Galileo's bands is there.
    """
    known = tuple(bands) or PUBLISHED[:in_channels]
    if not 1 <= patch <= KERNEL or not 0 <= 2 * margin < window or width < 0 or not 0 <= month <= 12 or metres <= 0:
        raise ZooError(
            f"model.options: patch {patch} is 1 to {KERNEL} px, window {window} more than twice margin {margin}, width "
            f"{width} at least 0, month {month} 0 to 12, metres {metres} above 0"
        )
    if names and len(names) != len(known):
        raise ZooError(f"model.options.names: {len(names)} names for {len(known)} bands")
    known = tuple((name, unit) for name, (_, unit) in zip(names or [name for name, _ in known], known))
    reader = Bands(known, units or {}, pattern, month, place)
    network = GalileoDense(Encoder(patch), reader, (window, margin), metres, (in_channels, outputs, width))
    if pretrained:
        how = ("galileo_nano", GALILEO_SOURCES, lambda state, _: state, "model.options.pretrained")
        network.receipt = str(load_published(network.encoder, pretrained, *how))
    network.encoder.requires_grad_(False)
    if not freeze:
        network.encoder.learn(network.bands.given)
    return network


class GalileoDense(nn.Module):
    """Features of patches, up-sampled bilinearly, joined with a convolution of the pixels themselves.

    A token stands for ``patch`` px a side, a label for one: alone it would average the label's own pixel away. The
    image is cut into squares of ``seen`` = (tokens along a side, of which so many on each side are context alone); what
    lies outside of the image is masked. ``sizes``: bands, channels of the result, and channels between.
    """

    def __init__(
        self, encoder: Encoder, bands: Bands, seen: tuple[int, int], metres: float, sizes: tuple[int, int, int]
    ):
        super().__init__()
        self.receipt, self.encoder, self.bands = "", encoder, bands
        self.multiple, self.seen, self.metres, (channels, outputs, width) = encoder.patch, seen, metres, sizes
        self.entry = nn.Conv2d(channels, width, 3, padding=1) if width else None
        self.project = nn.Conv2d(WIDTH, width, 1) if width else None
        self.mix = nn.Conv2d(2 * width, width, 1) if width else None
        self.head = nn.Conv2d(width or WIDTH, outputs, 1)

    def forward(self, image: torch.Tensor, values: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Predict pixels (B, outputs, H, W).

        image: (B, C, H, W) standardised, without gaps. values: the same bands in their own units, 0 where missing.
        missing: the same, 1 = missing.
        """
        found = self.features(values, missing)
        if self.project is not None:
            found = self.project(found)
        found = F.interpolate(found, scale_factor=float(self.multiple), mode="bilinear", align_corners=False)
        found = found[..., : values.shape[2], : values.shape[3]]
        if self.entry is not None and self.mix is not None:
            found = F.gelu(self.mix(F.gelu(torch.cat([self.entry(image), found], dim=1))))
        return self.head(found)

    def features(self, values: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Return the mean token of every patch, (B, 128, h, w); patches at the right and lower edge may be cut.

        values: (B, C, H, W) in their own units, 0 where missing. missing: the same, 1 = missing.
        """
        side, (window, margin) = self.multiple, self.seen
        rows, columns = (-(-length // side) for length in values.shape[2:])
        core = min(window - 2 * margin, max(rows, columns))
        squares = [-(-count // core) for count in (rows, columns)]
        after = [(n * core + margin) * side - length for n, length in zip(squares, values.shape[2:])]
        pads, size = (margin * side, after[1], margin * side, after[0]), (core + 2 * margin) * side
        given, gaps = self.bands(values, missing)
        for name in given:
            if name in SPACE_TIME or name in SPACE:
                given[name] = _squares(given[name], pads, size, core * side, 0.0)
                missed = _squares(gaps[name].float(), pads, size, core * side, 1.0)
                gaps[name] = F.max_pool2d(missed.reshape(len(missed), -1, size, size), side).bool()
                gaps[name] = gaps[name][:, 0] if name in SPACE else gaps[name]
            else:  # one for all squares
                many = squares[0] * squares[1]
                given[name], gaps[name] = (x.repeat_interleave(many, dim=0) for x in (given[name], gaps[name]))
        found = self._encoded(given, gaps)[:, margin : margin + core, margin : margin + core]
        found = found.reshape(len(values), *squares, core, core, WIDTH).permute(0, 5, 1, 3, 2, 4)
        return found.flatten(4, 5).flatten(2, 3)[:, :, :rows, :columns]

    def _encoded(self, given: dict[str, torch.Tensor], gaps: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encode squares (N, ...), so many at once that memory does not grow with the image: (N, h, w, 128)."""
        found, many = [], len(next(iter(given.values())))
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.encoder.parameters())
        for start in range(0, many, _CHUNK):
            part = slice(start, start + _CHUNK)
            here, hidden = ({name: values[part] for name, values in group.items()} for group in (given, gaps))
            months = self.bands.months.expand(min(_CHUNK, many - start), -1)
            work = (self.encoder, here, hidden, months, self.metres)
            again = learns and many > _CHUNK  # backward encodes a part again rather than keep all
            found.append(checkpoint(*work, use_reentrant=False) if again else work[0](*work[1:]))
        return torch.cat(found)


def _squares(
    x: torch.Tensor, pads: tuple[int, int, int, int], size: int, step: int, fill: float
) -> torch.Tensor:  # fmt: skip
    """Pad images (B, ..., H, W) and cut them into squares of ``size`` px: (B * rows * columns, ..., size, size)."""
    cut = F.pad(x, pads, value=fill).unfold(-2, size, step).unfold(-2, size, step)
    return cut.movedim((-4, -3), (1, 2)).flatten(0, 2)
