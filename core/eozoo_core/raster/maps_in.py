"""The maps in a folder: found by their tags, grouped into what can lie in one mosaic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor
from pathlib import Path

from rasterio import Affine

from eozoo_core.raster.files import LAYER
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import RasterReader

MOSAIC = "MOSAIC"  # the tag of what is made of several maps
Legend = Mapping[int, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class MapFile:
    """One layer of one scene: its file, the scene's name (with folders, "2024/T31"), and what the file says."""

    path: Path
    scene: str
    layer: str
    info: RasterInfo
    legend: Legend


@dataclass(frozen=True)
class Group:
    """Maps of one layer that share CRS, pixel size and bands, by name."""

    maps: tuple[MapFile, ...]

    @property
    def first(self) -> MapFile:
        """The one that lies on top."""
        return self.maps[0]

    @property
    def crs(self) -> str:
        """The CRS in few words."""
        return self.first.info.grid.crs.to_string() if self.first.info.grid.crs.to_epsg() else "a CRS without a code"

    @cached_property
    def grid(self) -> Grid:
        """The grid around all of them, on the pixels of the first."""
        t = self.first.info.grid.transform
        grids = [one.info.grid for one in self.maps]
        west, north = min(g.transform.c for g in grids), max(g.transform.f for g in grids)
        cols, rows = -_nearest((west - t.c) / t.a), -_nearest((north - t.f) / t.e)  # halves inwards: no empty edge
        west, north = t.c - t.a * cols, t.f - t.e * rows
        east = max(g.transform.c + g.transform.a * g.width for g in grids)
        south = min(g.transform.f + g.transform.e * g.height for g in grids)
        size = _nearest((south - north) / t.e), _nearest((east - west) / t.a)
        return Grid(*size, self.first.info.grid.crs, Affine(t.a, 0.0, west, 0.0, t.e, north))

    def place(self, one: MapFile) -> tuple[int, int]:
        """Return row and column of a map's corner on ``grid``, the nearest where its pixels lie between."""
        row, col = self._exact(one)
        return _nearest(row), _nearest(col)

    @cached_property
    def between(self) -> int:
        """How many maps lie between the pixels of the grid, by more than a hundredth."""
        return sum(any(abs(v - round(v)) > 0.01 for v in self._exact(one)) for one in self.maps)

    def _exact(self, one: MapFile) -> tuple[float, float]:
        t, corner = self.grid.transform, one.info.grid.transform
        return (corner.f - t.f) / t.e, (corner.c - t.c) / t.a


def _nearest(value: float) -> int:
    """Round halves up: of a map and of the grid around it, so that no row or column is cut off."""
    return floor(value + 0.5 + 1e-6)


def maps_in(dest: Path, tags: Mapping[str, str]) -> tuple[list[MapFile], int]:
    """Return the maps below ``dest`` that carry all ``tags``, sorted, and how many others there are. Raises ZooError.

    What is made of several of them is not among them, nor is a file without the tag LAYER.
    """
    found, others = [], 0
    for path in sorted(dest.rglob("*.tif")):
        if any(part.startswith(".") for part in path.relative_to(dest).parts):
            continue
        with RasterReader(path) as reader:
            info, legend = reader.info, reader.legend()
        layer = info.tags.get(LAYER, "")
        if not layer or MOSAIC in info.tags or not path.stem.endswith(f"_{layer}"):
            continue
        if any(info.tags.get(name) != text for name, text in tags.items()):
            others += 1
            continue
        scene = path.relative_to(dest).with_name(path.stem.removesuffix(f"_{layer}")).as_posix()
        found.append(MapFile(path, scene, layer, info, legend))
    return sorted(found, key=lambda one: (one.scene, one.layer)), others


def groups_of(maps: Sequence[MapFile]) -> dict[str, list[Group]]:
    """Return the groups of each layer, the largest first; maps that have no place or are turned are in none."""
    found: dict[str, dict[tuple, list[MapFile]]] = {}
    for one in maps:
        t, crs = one.info.grid.transform, one.info.grid.crs
        if t is not None and crs is not None and t.b == t.d == 0 and t.a > 0 > t.e:
            size = f"{t.a:.6g}", f"{t.e:.6g}"  # a pixel of a million at most
            of_layer = found.setdefault(one.layer, {})
            of_layer.setdefault((crs.to_wkt(), size, one.info.dtypes, one.info.descriptions), []).append(one)
    return {
        layer: sorted((Group(tuple(one)) for one in groups.values()), key=lambda group: -len(group.maps))
        for layer, groups in found.items()
    }
