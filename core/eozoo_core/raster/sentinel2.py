"""Sentinel-2's digital numbers as reflectance: one decision for every reader, found, compared and put into words.

reflectance = (number + offset) / quantification, as ESA's product specification has it (BOA_ADD_OFFSET and
BOA_QUANTIFICATION_VALUE of L2A, RADIO_ADD_OFFSET and QUANTIFICATION_VALUE of L1C). The offset is -1000 in products of
processing baseline 04.00 and later, of old dates that were processed again too, and 0 before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.read import Reader
from eozoo_core.raster.sentinel2_metadata import Evidence, evidence_of

QUANTIFICATION = 10_000.0
SPECIAL = (0.0, 65535.0)  # stored values that are no reflectance: no data and saturated (Special_Values of the product)
_PLAUSIBLE = 3.0  # reflectance: glint and snow on slopes reach 2, digital numbers of any land hundreds

_LOOKED_AT = 256  # pixels a side that tell whether values are reflectance


@dataclass(frozen=True)
class Source:
    """What is known of a file before its pixels. tags: of the file; ``scale`` and ``offset``: its packing, which the
    reader has applied (value = number * scale + offset; 1 and 0 = none). ``values``: some of them as read, NaN =
    missing, and whether they are stored as floats: only to see whether they are reflectance already. ``told``: what a
    product or a catalogue says of them; None = what lies beside the file.
    """

    path: Path
    tags: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    offset: float = 0.0
    values: np.ndarray | None = None
    floats: bool = False
    told: tuple[Evidence, ...] | None = None

    @property
    def evidence(self) -> Sequence[Evidence]:
        """What names, metadata and tags say."""
        return evidence_of(self.path, self.tags) if self.told is None else self.told

    @property
    def packed(self) -> bool:
        """Whether the reader has scaled the numbers."""
        return (self.scale, self.offset) != (1.0, 0.0)


@dataclass(frozen=True)
class Scaling:
    """Turns values as read into reflectance: (value + shift) / level. NaN stays, and the values ``missing`` become NaN.

    ``offset``: what digital numbers get in all, by packing too; ``told``: by what, for people.
    """

    shift: float
    level: float
    missing: tuple[float, ...]
    offset: float
    told: str

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return reflectance, float32 of the same shape, not clipped; NaN = missing."""
        values = np.asarray(values, np.float32)
        found = (values + np.float32(self.shift)) / np.float32(self.level)
        return np.where(np.isin(values, np.float32(self.missing)), np.float32(np.nan), found) if self.missing else found

    def __str__(self) -> str:
        moved = f"{'-' if self.shift < 0 else '+'} {abs(self.shift):g}" if self.shift else ""
        if self.level != 1.0:
            rule = f"(number {moved}) / {self.level:g}" if moved else f"number / {self.level:g}"
        else:
            rule = f"value {moved}".strip()
        return f"reflectance = {rule}: {self.told}"


def look_at(reader: Reader, bands: Sequence[int]) -> Source:
    """Return what an open raster says of its 1-based ``bands``. Values are read where they are floats or packed.

    Raises ZooError where bands are packed in different ways.
    """
    info = reader.info
    packing = {(info.scales[band - 1], info.offsets[band - 1]) for band in bands}
    if len(packing) > 1:
        raise ZooError(f"{info.path}: its bands have different scale and offset tags; correct them (gdal_edit.py)")
    source = Source(Path(info.path), info.tags, *packing.pop())
    floats = any("float" in info.dtypes[band - 1] for band in bands)
    if not (floats or source.packed):
        return source
    return replace(source, values=reader.thumbnail(_LOOKED_AT, bands), floats=floats)


def scaling_of(source: Source, offset: float | None, setting: str, each: str = "") -> Scaling:
    """Decide how the values of a file become reflectance. ``offset``: as set, None = not set.

    Looked at are the setting, the packing, the product's name, its metadata and the tags; see
    `sentinel2_metadata.evidence_of`. Raises ZooError where nothing tells the offset, where two of them contradict each
    other, and where values that are reflectance would be shifted again; ``setting`` is named as the remedy, and
    ``each`` as the place to say it of one file of many.
    """
    told = [one for one in source.evidence if one.offset is not None]
    _require_agreement(source, told, offset, setting)
    level = next((one.quantification for one in told if one.quantification), QUANTIFICATION)
    if source.packed:
        return _of_packed(source, told, offset, setting)
    if is_reflectance(source):
        if offset:
            raise ZooError(
                f"{source.path}: {_range(source)} are reflectance already, but {setting} is {offset:g}; leave it unset"
            )
        return Scaling(0.0, 1.0, (), 0.0, f"{_range(source)}, floats")
    missing = () if any("HLS" in one.source for one in told) else SPECIAL
    if offset is not None:
        return Scaling(offset, level, missing, offset, f"{setting} is set{_despite(told, offset)}")
    if not told:
        raise ZooError(
            f"{source.path}: neither name, metadata nor tags tell its processing baseline{_untold(source)}; set "
            f"{setting} to -1000 (baseline 04.00 and later) or 0 (before, or harmonised)"
            f"{f', or of each in {each}' if each else ''}: a wrong one is 0.1 off"
        )
    return Scaling(told[0].offset, level, missing, told[0].offset, told[0].source)


def is_reflectance(source: Source) -> bool:
    """Whether stored floats can only be reflectance: above 0, and 99 % of them up to 3."""
    if not source.floats or source.values is None:
        return False
    values = source.values[np.isfinite(source.values)]
    return bool(values.size) and 0 < float(np.percentile(values, 99)) <= _PLAUSIBLE


def _require_agreement(source: Source, told: Sequence[Evidence], offset: float | None, setting: str) -> None:
    """A set offset decides between sources that differ, but none may say that there is nothing to take off."""
    if offset is None and len({one.offset for one in told}) > 1:
        text = ", but ".join(f"{one.source} means {one.offset:g}" for one in _first_of_each(told))
        raise ZooError(f"{source.path}: {text}; set {setting} to what holds")
    if offset and told and all(one.offset == 0 for one in told):
        raise ZooError(f"{source.path}: {setting} is {offset:g}, but {told[0].source} means 0; leave it unset")


def _of_packed(source: Source, told: Sequence[Evidence], offset: float | None, setting: str) -> Scaling:
    """Packing that the reader has applied: it may hold the offset, and nothing is applied twice."""
    own = source.offset / source.scale
    tags = f"scale {source.scale:g} and offset {source.offset:g} in its tags"
    if not 0 < source.scale <= 1 or abs(source.offset) > 1:
        raise ZooError(f"{source.path}: {tags} make no reflectance of its numbers; correct the tags (gdal_edit.py)")
    if own and offset:
        raise ZooError(f"{source.path}: {setting} is {offset:g}, but {tags} are applied already; leave it unset")
    if offset is None and told and abs(told[0].offset - own) > 0.5:
        raise ZooError(
            f"{source.path}: {tags}, but {told[0].source} means {told[0].offset:g}; set {setting} to "
            f"{'0 if the tags are right' if own else '0 if the tags are right, -1000 if they forgot it'}"
        )
    if source.values is not None and np.nanpercentile(np.append(source.values, 0), 99) > _PLAUSIBLE:
        raise ZooError(f"{source.path}: {_range(source)} by {tags} are not reflectance 0..1; correct the tags")
    extra = offset or 0.0
    text = tags if offset is None else f"{tags}; {setting} is set{_despite(told, own + extra)}"
    special = () if any("HLS" in one.source for one in told) else SPECIAL
    missing = tuple(value * source.scale + source.offset for value in special)
    return Scaling(extra * source.scale, 1.0, missing, own + extra, text)


def _first_of_each(told: Sequence[Evidence]) -> list[Evidence]:
    return list({one.offset: one for one in reversed(told)}.values())[::-1]


def _despite(told: Sequence[Evidence], offset: float) -> str:
    other = next((one for one in told if one.offset != offset), None)
    return f" (though {other.source} means {other.offset:g})" if other else ""


def _untold(source: Source) -> str:
    silent = [one.source for one in source.evidence]
    return f" ({silent[0]} does not say)" if silent else ""


def _range(source: Source) -> str:
    values = source.values[np.isfinite(source.values)]
    return f"values {float(values.min()):.3g} to {float(values.max()):.3g}"
