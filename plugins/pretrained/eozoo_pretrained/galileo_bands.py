"""Which bands of an image are what to Galileo, in which units, of which dates, and what of them is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from eozoo_core import ZooError
from eozoo_core.tables.groups import ABSENT, places_of
from torch import nn

from eozoo_pretrained.galileo import DATES, SPACE, SPACE_TIME, STATIC, TIME, UNKNOWN_MONTH
from eozoo_pretrained.galileo_scales import SCALES
from eozoo_pretrained.units import DB, S2, converted

READ = SPACE_TIME | SPACE | TIME
PUBLISHED = tuple(
    (name, S2 if name[0] == "B" else DB) for name in ("VV", "VH", *(f"B{n}" for n in range(2, 9)), "B8A", "B11", "B12")
)
UNITS = dict(PUBLISHED) | {
    "elevation": "m",
    "slope": "degree",
    "temperature_2m": "K",
    "total_precipitation_sum": "m",
}  # of the others any unit passes: an index, shares, and sums that only their publishers have
_STACKED = re.compile(r"\d{8}_.+")  # what core calls the bands of several dates

Groups = dict[str, torch.Tensor]


class Bands(nn.Module):
    """Bands of images in their own units -> Galileo's normalised groups, and where they are missing.

    bands: name and unit of each channel. units: of bands by name, or of all of a sensor by "S1" and "S2"; they come
    before those in ``bands``. pattern: how bands of several dates are called, as '{t}_{band}'; "" = there is one date,
    but for names as 20200531_B4. month: 1..12 of all dates, 0 = that of names with a date, else not known. place:
    degrees latitude and longitude of all images; () = their bands lat and lon where they have them.

    Raises ZooError where no band is known to Galileo, a unit is not, and for too many dates.
    """

    def __init__(
        self,
        bands: Sequence[tuple[str, str]],
        units: Mapping[str, str],
        pattern: str = "",
        month: int = 0,
        place: Sequence[float] = (),
    ):
        super().__init__()
        names = [_renamed(name) for name, _ in bands]
        pattern = pattern or ("{t}_{band}" if names and all(map(_STACKED.fullmatch, names)) else "")
        days = _days(names, pattern)
        found = {group: _places(names, group, pattern) for group in READ}
        self.groups = {group: index for group, index in found.items() if index is not None}
        if not self.groups.keys() & (SPACE_TIME | SPACE).keys():
            given = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            known = ", ".join(name for of in SPACE_TIME.values() for name in of)
            raise ZooError(f"galileo_nano: no group of its bands ({known}, elevation and slope) is whole among {given}")
        for group, index in self.groups.items():
            factors = [_factors(band, bands, column, units) for band, column in zip(READ[group], index.T)]
            scale = torch.tensor([SCALES[band] for band in READ[group]]).T
            shape = (2, 1, -1) if group in TIME else (2, 1, -1, 1, 1)
            self._keep(group, "index", torch.from_numpy(index).clamp(min=0))
            self._keep(group, "absent", torch.from_numpy((index == ABSENT).any(axis=1)))
            self._keep(group, "factors", torch.tensor(factors).T.reshape(shape))
            self._keep(group, "scale", scale.reshape(shape))
        self.derives = "NDVI" not in self.groups and {"S2_RGB", "S2_NIR_10m"} <= self.groups.keys()
        months = [month - 1 if month else _month(day) for day in days]
        self.register_buffer("months", torch.tensor([months], device="cpu"), persistent=False)
        where = places_of(names, ("lat", "lon"))[0]
        self.where = [int(i) for i in where] if not place and (where != ABSENT).all() else []
        self.place = tuple(float(degrees) for degrees in place)

    @property
    def given(self) -> set[str]:
        """Names of the groups that ``forward`` gives."""
        derived = {"NDVI"} if self.derives else set()
        return {*self.groups, *derived, *({"location"} if self.place or self.where else ())}

    def forward(self, values: torch.Tensor, missing: torch.Tensor) -> tuple[Groups, Groups]:
        """Return groups and what is missing of them, as the encoder takes them but for pixels in place of tokens.

        values: (B, C, H, W), 0 where missing. missing: the same, 1 = missing.
        """
        given, gaps = {}, {}
        for group in self.groups:
            given[group], gaps[group] = self._taken(group, values, missing)
        if self.derives:
            red, nir = given["S2_RGB"][:, :, 2:], given["S2_NIR_10m"]
            total = red + nir
            given["NDVI"] = (nir - red) / torch.where(total > 0, total, 1.0)
            gaps["NDVI"] = gaps["S2_RGB"] | gaps["S2_NIR_10m"] | (total <= 0)[:, :, 0]
        for group, found in given.items():
            mean, std = self._scale(group, found)
            given[group] = (found - (mean - 2 * std)) / (4 * std)
        if self.place or self.where:
            given["location"], gaps["location"] = self._location(values, missing)
        return {n: given[n] for n in READ | STATIC if n in given}, gaps

    def _taken(self, group: str, values: torch.Tensor, missing: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a group in the published units, and where any band of it is missing."""
        index, factors = getattr(self, f"{group}_index"), getattr(self, f"{group}_factors")
        absent = getattr(self, f"{group}_absent")
        found = values[:, index.flatten()].unflatten(1, index.shape)
        gap = missing[:, index.flatten()].unflatten(1, index.shape).amax(dim=2) > 0
        gap = gap | absent[None, :, None, None]
        if group in TIME:  # weather is the same for all pixels
            kept = (~gap).to(found)[:, :, None]
            found, gap = (found * kept).sum(dim=(3, 4)) / kept.sum(dim=(3, 4)).clamp(min=1), gap.all(dim=3).all(dim=2)
        found = found * factors[0] + factors[1]
        return (found[:, 0], gap[:, 0]) if group in SPACE else (found, gap)

    def _location(self, values: torch.Tensor, missing: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the place of each image on the unit sphere (B, 3), normalised, and whether it is not known (B,)."""
        if self.place:
            degrees = values.new_tensor(self.place).expand(values.shape[0], 2)
            unknown = torch.zeros_like(degrees[:, 0], dtype=torch.bool)
        else:
            kept = 1 - missing[:, self.where].amax(dim=1, keepdim=True)
            degrees = (values[:, self.where] * kept).sum(dim=(2, 3)) / kept.sum(dim=(2, 3)).clamp(min=1)
            unknown = kept.sum(dim=(1, 2, 3)) == 0
        lat, lon = (degrees * (math.pi / 180)).unbind(dim=1)
        sphere = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)
        mean, std = values.new_tensor([SCALES[name] for name in STATIC["location"]]).T
        return (sphere - (mean - 2 * std)) / (4 * std), unknown

    def _scale(self, group: str, found: torch.Tensor) -> torch.Tensor:
        if group in self.groups:
            scale = getattr(self, f"{group}_scale")
            return scale[:, 0] if group in SPACE else scale
        return found.new_tensor(SCALES[group])  # of NDVI

    def _keep(self, group: str, what: str, values: torch.Tensor) -> None:
        self.register_buffer(f"{group}_{what}", values, persistent=False)


def _renamed(name: str) -> str:
    """Return a band's name with the words that Galileo has for terrain and rain."""
    name = re.sub(r"(?i)(?<![a-z])(dem|srtm)$", "elevation", name)
    return re.sub(r"total_precipitation$", "total_precipitation_sum", name)


def _places(names: list[str], group: str, pattern: str) -> np.ndarray | None:
    """Return where the bands of a group are (T, D), of maps (1, D); None where there is no date with all of them."""
    every = [band for of in READ.values() for band in of]
    index = places_of(names, every, pattern)
    if group in SPACE and pattern:
        index = np.concatenate([index, places_of(names, every)])  # a map may have no date
    index = index[:, [every.index(band) for band in READ[group]]]
    whole = (index != ABSENT).all(axis=1)
    if not whole.any():
        return None
    return index[whole][:1] if group in SPACE else index


def _days(names: Sequence[str], pattern: str) -> list[int]:
    """Return the numbers by which dates are called, in their order. Raises ZooError for too many."""
    from eozoo_core.tables.columns import series_pattern

    if not pattern:
        return [0]
    days = sorted({int(found["t"]) for found in map(series_pattern(pattern).fullmatch, names) if found})
    if len(days) > DATES:
        raise ZooError(f"galileo_nano: {len(days)} dates by options.pattern {pattern!r}; it knows {DATES} at most")
    return days or [0]


def _month(day: int) -> int:
    """Return the month, from 0, of 20200531."""
    month = day // 100 % 100
    return month - 1 if 19000101 <= day <= 21001231 and 1 <= month <= 12 else UNKNOWN_MONTH


def _factors(
    band: str, bands: Sequence[tuple[str, str]], column: np.ndarray, units: Mapping[str, str]
) -> tuple[float, float]:
    """Return factor and summand from the unit of the channels ``column`` to the published one."""
    name, unit = bands[int(column[column != ABSENT][0])]
    sensor = "S1" if band in ("VV", "VH") else "S2" if band in UNITS and band[0] == "B" else ""
    given = next((units[key] for key in (name, band, sensor) if key in units), unit)
    if band not in UNITS:
        return 1.0, 0.0
    remedy = f"say it: model.options.units={{{sensor or name}: {UNITS[band]}}}"
    return converted("galileo_nano", name, given, UNITS[band], remedy)
