"""How stored values become reflectance, for tiles and for maps: core's decision, or the scale of a setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eozoo_core.errors import ZooError
from eozoo_core.raster.read import Reader
from eozoo_core.raster.sentinel2 import Scaling, is_reflectance, look_at, scaling_of


def decide(reader: Reader, bands: Sequence[int], scale: float | None, offset: float | None, group: str) -> Scaling:
    """Decide for the 1-based ``bands`` of an open raster. ``scale`` and ``offset``: the settings of ``group``.

    Raises ZooError where nothing tells, and where settings contradict the file.
    """
    source, setting = look_at(reader, bands), f"{group}.offset"
    if scale is None:
        return scaling_of(source, offset, setting)
    if source.packed:
        raise ZooError(f"{source.path}: its scale tags are applied already; leave {group}.scale unset")
    if scale == 1:
        if offset:
            raise ZooError(f"{source.path}: {group}.scale 1 means reflectance, {setting} {offset:g} numbers; unset one")
        return Scaling(0.0, 1.0, None, 0.0, f"{group}.scale is 1")
    if is_reflectance(source):
        raise ZooError(f"{source.path}: holds reflectance as floats already; leave {group}.scale unset")
    found = scaling_of(source, offset, setting)
    return replace(found, level=1 / scale, told=f"{found.told}, {group}.scale is set")
