"""Step ``totals``: biomass of polygons in Mg, and how far the sum may be off.

The total is the sum of mean x area. A pixel counts with its area on the ground (`eozoo_core.raster.area`), whatever the
CRS; one on the border with the share that lies inside. The uncertainty depends on what neighbouring pixels have in
common, which no map of standard deviations tells, so that the assumption is stated:

- the noise (aleatoric) is fully correlated within square cells of ``correlation`` m and independent between cells;
- the members' disagreement (epistemic) is that of the members' own totals where NAME_members.tif is there; else it is
  taken as fully correlated over the whole polygon, the upper bound.

Beside it stand the two extremes, all pixels independent and all fully correlated. None of them holds what every pixel
has in common with the labels: an error of GEDI's own biomass model, or of the place where no shot was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.area import pixel_area, pixel_size
from eozoo_core.raster.coverage import coverage, edges_of, extent, polygon_area
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window
from eozoo_core.run.parsed import read_json, unreadable
from eozoo_core.run.written import write_table
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eozoo_gedi_sparse.prepare.grids import require_same_grid
from eozoo_gedi_sparse.prepare.settings import TotalsSettings

STRIP = 512  # rows in memory


@dataclass(frozen=True)
class Area:
    """A named polygon or multi-polygon: edges (n, 4) in columns and rows of the map, see ``edges_of``; its area, ha."""

    name: str
    edges: np.ndarray
    ha: float


@dataclass(frozen=True)
class Total:
    """One polygon. Areas in ha: all of it, and what has a prediction; the total covers only the latter. Rest in Mg."""

    name: str
    area_ha: float
    predicted_ha: float
    total_mg: float
    std_mg: float
    std_noise_mg: float
    std_members_mg: float
    std_if_independent_mg: float
    std_if_correlated_mg: float


class Maps:
    """The maps of one raster: mean, noise (std, Mg/ha), and what is known of the members' disagreement."""

    def __init__(self, stack: ExitStack, mean: Path | None):
        if mean is None or not mean.name.endswith("_mean.tif"):
            raise ZooError(f"prepare.totals.maps: give the mean map NAME_mean.tif, not {mean}")
        self.path = mean
        self.mean = self._open(stack, "mean")
        unit = self.mean.info.units[0]
        if unit != "Mg/ha":
            raise ZooError(f"{mean}: is in {unit or 'no unit'}; totals are sums of biomass density in Mg/ha")
        if self.grid.crs is None or self.grid.transform is None:
            raise ZooError(f"{mean}: has no CRS, so its pixels have no area; give a georeferenced map")
        self.members = self._open(stack, "members", needed=False)
        self.epistemic = self._open(stack, "epistemic_std", needed=False)
        self.noise = self._open(stack, "aleatoric_std" if self.epistemic else "std")
        self.factor = float(self.mean.info.tags.get("VARIANCE_FACTOR", "1").split()[0])

    def _open(self, stack: ExitStack, what: str, needed: bool = True) -> RasterReader | None:
        path = self.path.with_name(self.path.name.removesuffix("mean.tif") + f"{what}.tif")
        if not path.exists() and not needed:
            return None
        reader = stack.enter_context(RasterReader(path))
        if what != "mean":
            require_same_grid(reader.info.grid, self.mean.info.grid, path, self.path)
        return reader

    @property
    def grid(self) -> Grid:
        """The grid of all maps."""
        return self.mean.info.grid


def make_totals(settings: TotalsSettings) -> list[Path]:
    """Write the table and print it. Raises ZooError for maps not in Mg/ha or without CRS, polygons beside them."""
    with ExitStack() as stack:
        maps = Maps(stack, settings.maps)
        if settings.polygons is None:
            raise ZooError("prepare.totals.polygons is not set; give a GeoJSON file of polygons")
        areas = read_polygons(settings.polygons, maps.grid, settings.name)
        totals = [total_of(area, maps, settings.correlation) for area in areas]
    for t in totals:
        print(
            f"{t.name}: {t.total_mg:,.0f} Mg +- {t.std_mg:,.0f} over {t.predicted_ha:,.1f} of {t.area_ha:,.1f} ha;"
            f" +- {t.std_if_independent_mg:,.0f} if all pixels were independent, {t.std_if_correlated_mg:,.0f} if none"
        )
    print(f"+- is one std, noise taken as one within {settings.correlation:g} m; GEDI's own model error is not in it")
    rows = [[v if isinstance(v, str) else f"{v:.6g}" for v in astuple(t)] for t in totals]
    return [write_table(settings.dest, [f.name for f in fields(Total)], rows)]


def read_polygons(path: Path, grid: Grid, name_key: str | None) -> list[Area]:
    """Read polygons and lay them on ``grid``. Without a "crs" member the file is WGS 84, as GeoJSON says.

    Raises ZooError for a file that is no GeoJSON, holds other geometries or none, or lacks the property ``name_key``.
    """
    content = read_json(path, "GeoJSON polygons")
    try:
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        declared = content.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
        source = CRS.from_user_input(declared)
    except (KeyError, TypeError, AttributeError, CRSError) as error:
        raise unreadable(path, "GeoJSON polygons", error) from None
    areas = []
    for number, feature in enumerate(features):
        geometry = feature.get("geometry", feature) or {}
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise ZooError(f"{path}: feature {number} is a {str(geometry.get('type'))[:40]}, not a polygon")
        properties = feature.get("properties") or {}
        if name_key is not None and name_key not in properties:
            raise ZooError(f"{path}: feature {number} has no property {name_key!r}; it has {', '.join(properties)}")
        name = str(properties[name_key]) if name_key is not None else str(number)
        try:
            areas.append(Area(name, edges_of(geometry, source, grid), polygon_area(geometry, source) / 1e4))
        except (ZooError, ValueError, TypeError, KeyError) as error:
            raise ZooError(f"{path}: polygon {name!r}: {' '.join(str(error).split())}") from None
    if not areas:
        raise ZooError(f"{path}: holds no polygon")
    return areas


def total_of(area: Area, maps: Maps, correlation: float) -> Total:
    """Sum one polygon, strip by strip. Raises ZooError where it covers no pixel."""
    side = _cell(area, maps.grid, correlation)
    cells: dict[tuple[int, int], float] = {}
    members = np.zeros(len(maps.members.info.bands) if maps.members else 0)
    covered, predicted = False, 0.0
    total = independent = noise_sum = epistemic_sum = 0.0
    for window, ha in _strips(area, maps.grid):
        mean, noise = (reader.read(window)[0].astype(np.float64) for reader in (maps.mean, maps.noise))
        known = (ha > 0) & np.isfinite(mean) & np.isfinite(noise)
        inside = ha[known]
        covered, predicted = covered or bool((ha > 0).any()), predicted + float(inside.sum())
        total += float(inside @ mean[known])
        _add_cells(cells, window, known, ha * noise, side)
        noise_sum += float(inside @ noise[known])
        independent += float(((inside * noise[known]) ** 2).sum())
        if maps.epistemic is not None:
            spread = inside * maps.epistemic.read(window)[0].astype(np.float64)[known]
            epistemic_sum += float(spread.sum())
            independent += float((spread**2).sum())
        if maps.members is not None:
            members += maps.members.read(window)[:, known].astype(np.float64) @ inside
    if not covered:
        raise ZooError(f"polygon {area.name!r}: covers no pixel of {maps.path}; is it in the right place?")
    clustered = float(np.sqrt(sum(v**2 for v in cells.values())))
    disagreement = float(members.std() * maps.factor**0.5) if maps.members is not None else epistemic_sum
    return Total(
        name=area.name,
        area_ha=area.ha,
        predicted_ha=predicted,
        total_mg=total,
        std_mg=float(np.hypot(clustered, disagreement)),
        std_noise_mg=clustered,
        std_members_mg=disagreement,
        std_if_independent_mg=float(np.sqrt(independent)),
        std_if_correlated_mg=float(np.hypot(noise_sum, epistemic_sum)),
    )


def _cell(area: Area, grid: Grid, correlation: float) -> tuple[int, int]:
    """Rows and columns of a cell of ``correlation`` ground m, as large as pixels are in the polygon's middle."""
    ends = area.edges.reshape(-1, 2)
    middle = ((ends.min(axis=0) + ends.max(axis=0)) / 2).clip(0, (grid.width, grid.height))
    width, height = pixel_size(grid, *middle)
    rows, cols = (max(1, round(correlation / side)) if side > 0 else 1 for side in (height, width))
    return rows, cols


def _add_cells(
    cells: dict[tuple[int, int], float], window: Window, known: np.ndarray, noise: np.ndarray, side: tuple[int, int]
) -> None:
    """Add the noise of known pixels to the cells of ``side`` rows and columns that they lie in."""
    row, col = np.nonzero(known)
    keys = np.stack([(row + window.row) // side[0], (col + window.col) // side[1]])
    unique, inverse = np.unique(keys, axis=1, return_inverse=True)
    sums = np.bincount(inverse.ravel(), noise[row, col], minlength=unique.shape[1])
    for key, value in zip(unique.T.tolist(), sums.tolist()):
        cells[tuple(key)] = cells.get(tuple(key), 0.0) + value


def _strips(area: Area, grid: Grid) -> Iterator[tuple[Window, np.ndarray]]:
    """Windows over the polygon's extent, and the ha (h, w) of every pixel that lie in it."""
    around = extent(area.edges, grid)
    if around is None:
        return
    for row in range(around.row, around.row + around.height, STRIP):
        window = Window(row, around.col, min(STRIP, around.row + around.height - row), around.width)
        yield window, coverage(area.edges, window) * pixel_area(grid, window) / 1e4
