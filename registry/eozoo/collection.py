"""The maps of a folder as a STAC collection: an item for each scene, with a link to the card of the model.

STAC 1.1 with the extensions projection, raster, classification and processing (stacspec.org, stac-extensions). The link
to the model is that of the machine-learning-model extension: derived_from, with mlm:name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from eozoo_core.raster.georeference import Grid, apply, degrees_of
from eozoo_core.raster.maps_in import MapFile
from eozoo_core.raster.stack import date_of
from eozoo_core.run.written import is_current, write_text
from rasterio.transform import array_bounds
from rasterio.warp import transform as transform_points

_VERSION = "1.1.0"
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_EXTENSIONS = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "classification:": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
}
_ACQUIRED = ("ACQUIRED", "TIME_UTC")  # tags of a map that say when its scene was taken
_UNKNOWN = "1900-01-01T00:00:00Z"
_SIDE = 4  # points of a footprint's side: straight lines of a projection are none in degrees
Json = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """What made the maps: its name, and the file of its card, a STAC item (.json) or a page (.md)."""

    name: str
    title: str
    card: Path


def write_collection(dest: Path, maps: Sequence[MapFile], model: Model, mosaics: Sequence[Path] = ()) -> Path:
    """Write DEST/collection.json and an item per scene below DEST/items; return the collection's path.

    ``maps``: sorted by scene. ``mosaics``: files over all scenes, its assets. Items that are no older than their maps
    and the card are left.
    """
    items = []
    for scene, found in groupby(maps, key=lambda one: one.scene):
        path, of_scene = dest / "items" / f"{scene}.json", list(found)
        if is_current(path, model.card, *(one.path for one in of_scene)):
            items.append((path, json.loads(path.read_text())))
            continue
        items.append((path, _item(dest, path, of_scene, model)))
        write_text(path, _text(items[-1][1]))
    return write_text(dest / "collection.json", _text(_collection(dest, items, model, mosaics)))


def _collection(dest: Path, items: Sequence[tuple[Path, Json]], model: Model, mosaics: Sequence[Path]) -> Json:
    root = dest / "collection.json"
    links = [_link("root", root, root), *(_link("item", path, root) for path, _ in items), _model_link(model, root)]
    boxes = [item["bbox"] for _, item in items if "bbox" in item]
    times = [_times(item["properties"]) for _, item in items]
    assets: Json = {}
    for _, item in items:
        assets |= {key: _of_all(asset) for key, asset in item["assets"].items() if key not in assets}
    kinds = {".vrt": "application/x-gdal-vrt+xml", ".tif": _COG}
    return {
        "type": "Collection",
        "stac_version": _VERSION,
        "stac_extensions": sorted({url for _, item in items for url in item["stac_extensions"]}),
        "id": dest.absolute().name or "maps",
        "title": f"Maps of {model.name}",
        "description": f"{model.title}. {len(items)} scenes, mapped by {model.name}.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [_around(boxes)]},
            "temporal": {"interval": [[min(begin for begin, _ in times), max(end for _, end in times)]]},
        },
        "item_assets": assets,
        "assets": {
            path.stem: {"href": _href(path, root), "type": kinds[path.suffix], "roles": ["data", "mosaic"]}
            for path in mosaics
        },
        "links": links,
    }


def _item(dest: Path, path: Path, maps: Sequence[MapFile], model: Model) -> Json:
    first, root = maps[0], dest / "collection.json"
    assets = {one.layer: _asset(one, path) for one in maps}
    picture, guard = dest / f"{first.scene}.png", dest / f"{first.scene}_guard.json"
    if picture.exists():
        assets["thumbnail"] = {"href": _href(picture, path), "type": "image/png", "roles": ["thumbnail"]}
    if guard.exists():
        assets["guard"] = {"href": _href(guard, path), "type": "application/json", "roles": ["metadata"]}
    item = {
        "type": "Feature",
        "stac_version": _VERSION,
        "stac_extensions": [],
        "id": first.scene.replace("/", "__"),
        "collection": dest.absolute().name or "maps",
        **_place(first.info.grid),
        "properties": _properties(maps, model),
        "assets": assets,
        "links": [
            *(_link(rel, root, path) for rel in ("root", "parent", "collection")),
            _model_link(model, path),
        ],
    }
    text = json.dumps(item)
    item["stac_extensions"] = [url for prefix, url in _EXTENSIONS.items() if f'"{prefix}' in text]
    return item


def _asset(one: MapFile, item: Path) -> Json:
    info, tags = one.info, one.info.tags
    found: Json = {"href": _href(one.path, item), "type": _COG, "roles": ["data"], "raster:sampling": "area"}
    if tags.get("QUANTITY"):
        found["title"] = f"{tags['QUANTITY']} ({one.layer})"
    bands = []
    for name, unit, kind, nodata, scale, offset in zip(
        info.descriptions, info.units, info.dtypes, info.nodata, info.scales, info.offsets, strict=True
    ):
        band: Json = {"name": name} if name else {}
        band |= {"unit": unit} if unit else {}
        band["data_type"] = kind
        if nodata is not None:
            band["nodata"] = "nan" if nodata != nodata else nodata
        if (scale, offset) != (1, 0):
            band |= {"raster:scale": scale, "raster:offset": offset}
        bands.append(band)
    if one.legend:
        bands[0]["classification:classes"] = [_class(code, *told) for code, told in one.legend.items()]
    if "INT8_ERROR" in tags:
        found["description"] = f"stored as int8: no value is off by more than {tags['INT8_ERROR']}"
    return found | {"bands": bands}


def _class(code: int, name: str, colour: Sequence[int]) -> Json:
    slug = re.sub(r"[^0-9A-Za-z]+", "-", name).strip("-").lower() or f"class-{code}"
    return {"value": code, "name": slug, "title": name, "color_hint": "".join(f"{part:02X}" for part in colour)}


def _of_all(asset: Json) -> Json:
    """What the assets of all items share: no file, and no range of values."""
    ranges = ("raster:scale", "raster:offset")
    found = {key: value for key, value in asset.items() if key not in ("href", "bands", "description")}
    if "bands" in asset:
        found["bands"] = [{key: value for key, value in band.items() if key not in ranges} for band in asset["bands"]]
    return found


def _properties(maps: Sequence[MapFile], model: Model) -> Json:
    first, tags = maps[0], {name: text for one in maps for name, text in one.info.tags.items()}
    grid = first.info.grid
    made = datetime.fromtimestamp(max(one.path.stat().st_mtime for one in maps), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: Json = {"title": first.scene, "created": made, **_taken(tags, first.scene, made)}
    if grid.crs is not None and grid.transform is not None:
        code = grid.crs.to_authority()
        found["proj:code"] = ":".join(code) if code else None
        if not code:
            found["proj:wkt2"] = grid.crs.to_wkt()
        found["proj:bbox"] = list(array_bounds(grid.height, grid.width, grid.transform))
        found["proj:transform"] = list(grid.transform)[:6]
    found["proj:shape"] = [grid.height, grid.width]
    versions = [part.rpartition(" ") for part in tags.get("EOZOO_VERSION", "").split(", ") if part]
    found["processing:software"] = {name: version for name, _, version in versions}
    told = {"source": "SOURCE", "checkpoint": "EOZOO_CHECKPOINT", "outside_training": "OUTSIDE_TRAINING"}
    return found | {"eozoo:model": model.name} | {f"eozoo:{key}": tags[tag] for key, tag in told.items() if tag in tags}


def _taken(tags: Mapping[str, str], scene: str, made: str) -> Json:
    """When a scene was taken: by a tag, or on the day in its name; of others only that it was before its map was."""
    said = next((tags[tag] for tag in _ACQUIRED if tag in tags), "")
    first, _, last = said.partition("/")
    try:
        if last:
            return {"datetime": None, "start_datetime": _utc(first), "end_datetime": _utc(last)}
        return {"datetime": _utc(first)}
    except ValueError:
        pass
    try:
        day = datetime.strptime(date_of(Path(scene)), "%Y%m%d").strftime("%Y-%m-%d")
    except ValueError:
        return {"datetime": None, "start_datetime": _UNKNOWN, "end_datetime": made}
    return {"datetime": None, "start_datetime": f"{day}T00:00:00Z", "end_datetime": f"{day}T23:59:59Z"}


def _utc(text: str) -> str:
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=when.tzinfo or UTC).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _times(properties: Mapping[str, Any]) -> tuple[str, str]:
    when = properties["datetime"]
    return (when, when) if when else (properties["start_datetime"], properties["end_datetime"])


def _place(grid: Grid) -> Json:
    """Geometry and bbox in degrees; a footprint across the antimeridian is two boxes, one that has no place null."""
    box = None
    if grid.crs is not None and grid.transform is not None:
        box = degrees_of(grid.crs, array_bounds(grid.height, grid.width, grid.transform))
    if box is None:
        return {"geometry": None}
    first, south, last, north = (round(value, 6) for value in box)
    west, east = _wrapped(first, last)
    bbox = [west, south, east, north]
    if west > east:
        rings = [[_ring((west, south, 180.0, north))], [_ring((-180.0, south, east, north))]]
        return {"geometry": {"type": "MultiPolygon", "coordinates": rings}, "bbox": bbox}
    steps = [i / _SIDE for i in range(_SIDE)]
    sides = (
        [(0, s) for s in steps] + [(s, 1) for s in steps] + [(1, 1 - s) for s in steps] + [(1 - s, 0) for s in steps]
    )
    corners = [apply(grid.transform, col * grid.width, row * grid.height) for col, row in sides]
    lon, lat = transform_points(grid.crs, "EPSG:4326", *map(list, zip(*corners)))
    ring = [[round(x + west - first, 6), round(y, 6)] for x, y in zip(lon, lat, strict=True)]
    return {"geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, "bbox": bbox}


def _wrapped(west: float, east: float) -> tuple[float, float]:
    """Longitudes within -180 to 180; west > east means across the antimeridian."""
    width = east - west if east >= west else east - west + 360
    if width >= 360:
        return -180.0, 180.0
    west = west if -180 <= west < 180 else round((west + 180) % 360 - 180, 6)
    return west, round(west + width - (360 if west + width > 180 else 0), 6)


def _ring(box: Sequence[float]) -> list[list[float]]:
    west, south, east, north = box
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _around(boxes: Sequence[Sequence[float]]) -> list[float]:
    """The box of all; the whole Earth where none has a place or one lies across the antimeridian."""
    if not boxes:
        return [-180.0, -90.0, 180.0, 90.0]
    west, south, east, north = zip(*boxes)
    crosses = any(w > e for w, e in zip(west, east, strict=True))
    return [-180.0 if crosses else min(west), min(south), 180.0 if crosses else max(east), max(north)]


def _model_link(model: Model, start: Path) -> Json:
    """A STAC item of the model, or its page."""
    if model.card.suffix == ".json":
        return {**_link("derived_from", model.card, start), "mlm:name": model.name, "title": f"model {model.name}"}
    return {"rel": "about", "href": _href(model.card, start), "type": "text/markdown", "title": f"model {model.name}"}


def _link(rel: str, path: Path, start: Path) -> Json:
    geo = rel in ("item", "derived_from")
    return {"rel": rel, "href": _href(path, start), "type": "application/geo+json" if geo else "application/json"}


def _href(path: Path, start: Path) -> str:
    found = Path(os.path.relpath(path, start.parent)).as_posix()
    return found if found.startswith("..") else f"./{found}"


def _text(content: Json) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
