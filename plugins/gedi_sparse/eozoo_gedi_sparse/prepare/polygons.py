"""Polygons of a GeoJSON file in the CRS of a map."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_geom


@dataclass(frozen=True)
class Area:
    """A named polygon or multi-polygon as GeoJSON geometry in the map's CRS."""

    name: str
    geometry: dict[str, Any]


def read_polygons(path: Path, crs: CRS, name_key: str | None) -> list[Area]:
    """Read polygons and transform them to ``crs``. Without a "crs" member the file is WGS 84, as GeoJSON says.

    Raises ZooError for a file that is no GeoJSON, holds other geometries or none, or lacks the property ``name_key``.
    """
    try:
        content = json.loads(path.read_text())
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        declared = content.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
        source = CRS.from_user_input(declared)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CRSError) as error:
        raise ZooError(f"{path}: cannot be read as GeoJSON polygons ({' '.join(str(error).split())})") from None
    areas = []
    for number, feature in enumerate(features):
        geometry = feature.get("geometry", feature) or {}
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise ZooError(f"{path}: feature {number} is a {geometry.get('type')}, not a polygon")
        properties = feature.get("properties") or {}
        if name_key is not None and name_key not in properties:
            raise ZooError(f"{path}: feature {number} has no property {name_key!r}; it has {', '.join(properties)}")
        name = str(properties[name_key]) if name_key is not None else str(number)
        areas.append(Area(name, transform_geom(source, crs, geometry)))
    if not areas:
        raise ZooError(f"{path}: holds no polygon")
    return areas
