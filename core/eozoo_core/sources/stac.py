"""STAC items as scenes of several files: which assets are bands, what they are called, and what their numbers mean."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import REFLECTANCE, Assembly, Part
from eozoo_core.raster.bands import find_bands
from eozoo_core.raster.sentinel2_metadata import told_by_item
from eozoo_core.sources.reach import Reach

if TYPE_CHECKING:
    import pystac

_KINDS = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff", "image/geotiff", "application/geotiff")
_ENDS = (".tif", ".tiff", ".jp2", ".vrt")
_NO_DATA = {"thumbnail", "overview", "visual", "metadata"}  # roles of assets that are pictures or text
_OF_ASSETS = {
    "nodata", "unit", "data_type", "raster:scale", "raster:offset", "eo:common_name", "gsd",
    "raster:spatial_resolution", "classification:classes", "classification:bitfields",
}  # fmt: skip
_CODES = ("scl", "qa_pixel", "qa_radsat", "fmask", "qa", "classification")
_SPECTRAL = [f"B{n:02d}" for n in range(1, 13)] + ["B8A"]


def open_item(item: pystac.Item, source: str, reach: Reach) -> Assembly:
    """Return the scene of an item, unopened. ``source``: for messages; ``reach``: where its assets may lie.

    Scale, offset, nodata and names are those of ``bands`` (STAC 1.1) or ``raster:bands`` and ``eo:bands``. Of bands
    that several assets hold, the finest is taken. Raises ZooError where no asset is a raster, or one is out of reach.
    """
    kept: dict[str, tuple[tuple[Any, ...], Part]] = {}
    for order, (key, asset) in enumerate(item.assets.items()):
        if not _is_raster(asset):
            continue
        address = (asset.get_absolute_href() or asset.href).removeprefix("file://")
        fields = _bands(asset.extra_fields)
        for number, band in enumerate(fields or [{}], 1 if fields else 0):
            part = _part(key, address, number, {**_shared(asset.extra_fields), **band}, len(fields) < 2)
            rank = (len(fields) > 1, _size(band, asset), "cloud-optimized" not in (asset.media_type or ""), order)
            if part.names[0] not in kept or rank < kept[part.names[0]][0]:
                kept[part.names[0]] = rank, part
    parts = tuple(part for _, part in kept.values())
    if not parts:
        kinds = ", ".join(sorted({str(asset.media_type) for asset in item.assets.values()})) or "none"
        raise ZooError(f"{source}: no asset is a GeoTIFF or JPEG 2000 of data; its assets are {kinds}")
    told = None
    if _is_sentinel2(item):
        parts = tuple(_spectral(part) for part in parts)
        mine = [part for part in parts if part.unit == REFLECTANCE]
        packing = [(p.scale, p.offset) for p in mine if p.scale is not None and p.offset is not None]
        told = tuple(told_by_item({**item.properties, "id": item.id}, packing))
    date = str(item.properties.get("datetime") or item.properties.get("start_datetime") or "")[:10].replace("-", "")
    tags = (("STAC_ITEM", item.id), ("STAC_COLLECTION", item.collection_id or ""), ("ACQUIRED", _when(item)))
    return Assembly(
        re.sub(r"[^\w.\-]", "_", item.id),
        source,
        tuple(_within(part, source, reach) for part in parts),
        date,
        tuple((key, value) for key, value in tags if value),
        told,
        version=str(item.properties.get("updated", "")),
    )


def _within(part: Part, source: str, reach: Reach) -> Part:
    reach.require(part.address, source)
    return part


def _is_raster(asset: pystac.Asset) -> bool:
    if _NO_DATA & set(asset.roles or ()):
        return False
    if asset.media_type:
        return asset.media_type.lower().startswith(_KINDS)
    return asset.href.partition("?")[0].lower().endswith(_ENDS)


def _bands(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is told of every band of an asset, keys without prefixes; [] where none is named."""
    lists = [fields.get(key) or () for key in ("eo:bands", "raster:bands", "bands")]
    found: list[dict[str, Any]] = [{} for _ in range(max(map(len, lists)))]
    for told in lists:
        for band, one in zip(found, told):
            band |= {key.rpartition(":")[2]: value for key, value in one.items()}
    return found


def _shared(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What an asset says of all its bands (STAC 1.1)."""
    return {key.rpartition(":")[2]: value for key, value in fields.items() if key in _OF_ASSETS}


def _part(key: str, address: str, number: int, band: Mapping[str, Any], alone: bool) -> Part:
    name = str(band.get("name") or "")
    first = name or (key if alone else f"{key} {number}")
    names = (first, key if alone else first, str(band.get("common_name") or first))
    coded = bool({"classes", "bitfields"} & band.keys()) or first.lower() in _CODES or key.lower() in _CODES
    scale, offset = _number(band.get("scale")), _number(band.get("offset"))
    packed = (scale or 1.0, offset or 0.0) != (1.0, 0.0)
    nodata = _number(band.get("nodata"))
    return Part(
        names,
        address,
        number,
        (scale or 1.0) if packed else None,
        offset,
        () if nodata is None else (nodata,),
        str(band.get("unit") or ""),
        coded,
    )


def _spectral(part: Part) -> Part:
    """The part of Sentinel-2, in reflectance where one of its names is a spectral band's."""
    for name in part.names:
        try:
            find_bands(_SPECTRAL, [name])
        except ZooError:
            continue
        return part if part.classes else replace(part, unit=REFLECTANCE)
    return part


def _is_sentinel2(item: pystac.Item) -> bool:
    about = item.properties
    told = [about.get("constellation"), about.get("platform"), item.collection_id]
    hls = any(str(text).upper().startswith("HLS") for text in (item.id, item.collection_id))
    return not hls and any("sentinel-2" in str(text).lower() for text in told)


def _when(item: pystac.Item) -> str:
    about = item.properties
    return str(about.get("datetime") or "/".join(str(about.get(f"{end}_datetime", "..")) for end in ("start", "end")))


def _size(band: Mapping[str, Any], asset: pystac.Asset) -> float:
    found = [_number(v) for v in (band.get("spatial_resolution"), band.get("gsd"), asset.extra_fields.get("gsd"))]
    return next((value for value in found if value), math.inf)


def _number(value: Any) -> float | None:
    """A finite number, as JSON or its text has it; None for anything else ("nan" is missing without being told)."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def unique(scenes: Sequence[Assembly]) -> list[Assembly]:
    """Return scenes of different names: an item of the same id in another collection is called COLLECTION_ID."""
    found: dict[str, Assembly] = {}
    for scene in scenes:
        name = scene.name if scene.name not in found else f"{dict(scene.tags).get('STAC_COLLECTION', '')}_{scene.name}"
        if name in found:
            raise ZooError(f"{scene.source}: holds two items {scene.name}; take one out")
        found[name] = replace(scene, name=name)
    return list(found.values())
