"""``eozoo prepare prithvi_refine tiles``: products to tiles, filtered, split by place and balanced by season."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster import Grid, RasterReader
from eozoo_core.tiles import Window, windows

from eozoo_prithvi_refine.products import Product, find_products, offset_of
from eozoo_prithvi_refine.settings import BIOMES
from eozoo_prithvi_refine.tile_files import read_sidecar, read_tile, tile_arrays, write_npz

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviPrepareSettings, PrithviSettings

SPLITS = ("train", "val", "test")
_SCL_BAD = (0, 1, 3, 8, 9, 10)  # no data, defective, cloud shadow, cloud medium, cloud high, cirrus
_SCL_CLOUD = (3, 8, 9, 10)
_FMASK_CLOUD = 0b1110  # bits 1-3: cloud, adjacent to cloud, cloud shadow
_KM_PER_DEGREE = 111.195


@dataclass(frozen=True)
class Found:
    """A tile that passed the filters: where it was written for now, its place and its season (0-3)."""

    file: Path
    place: str
    season: int


def prepare_tiles(settings: PrithviSettings) -> list[Path]:
    """Write DATA/train, val and test from ``prepare.source``; return the tiles. Existing tiles are not overwritten.

    Raises ZooError for products without date or biome, of mixed resolution, or of which no tile is left.
    """
    how, data_dir = settings.prepare, settings.runtime.data_dir
    if how.source is None or data_dir is None:
        raise ZooError("set prepare.source (folder of products) and runtime.data_dir (folder for the tiles)")
    if any((data_dir / s).is_dir() and any((data_dir / s).iterdir()) for s in SPLITS):
        raise ZooError(f"{data_dir}: has tiles already; choose another runtime.data_dir")
    products = find_products(how.source)
    _check_resolution(products)
    staging = data_dir / ".staging"
    jobs = [(product, how, staging) for product in products]
    if how.workers > 1:
        with ProcessPoolExecutor(how.workers) as pool:
            results = list(pool.map(_cut, jobs))
    else:
        results = [_cut(job) for job in jobs]
    found = [tile for tiles, _ in results for tile in tiles]
    left_out = sum((Counter(reasons) for _, reasons in results), Counter())
    if not found:
        raise ZooError(
            f"{how.source}: no tile passed the filters ({dict(left_out)}); relax prepare.min_valid or max_cloud"
        )
    written = [_move(tile, data_dir / split) for tile, split in assign(found, how)]
    staging.rmdir()
    record = {"products": len(products), "tiles": len(written), "left_out": dict(left_out)}
    (data_dir / "prepare.json").write_text(json.dumps(record, indent=1) + "\n")
    return sorted(written)


def prepare_season_pairs(settings: PrithviSettings) -> list[Path]:
    """Write runtime.stage1_dir/SPLIT/NAME.npz: for each tile, the image of the date before it at the same spot.

    The refiner then learns to bring a place into the season that it is told. Tiles without an earlier date are moved to
    DATA/first_dates, where training does not look.
    """
    data_dir, stage1_dir = settings.runtime.data_dir, settings.runtime.stage1_dir
    if data_dir is None or stage1_dir is None:
        raise ZooError("set runtime.data_dir (folder of tiles) and runtime.stage1_dir (folder for the pairs)")
    written = []
    for split in SPLITS:
        spots: dict[str, list[tuple[str, Path]]] = {}
        for file in sorted((data_dir / split).glob("*.npz")):
            meta = read_sidecar(file)
            if not meta.get("spot") or not meta.get("date"):
                raise ZooError(f"{file}: its sidecar names no spot and date; make the tiles with 'prepare tiles'")
            spots.setdefault(meta["spot"], []).append((meta["date"], file))
        for dated in spots.values():
            ordered = [file for _, file in sorted(dated)]
            for before, after in pairwise(ordered):
                source = read_tile(before)
                arrays = {"opt_v1": source.image, "source_tile": np.array(before.name)}
                written.append(write_npz(stage1_dir / split / after.name, arrays))
            _set_aside(ordered[0], data_dir / "first_dates" / split)
    if not written:
        raise ZooError(f"{data_dir}: no spot has two dates; pairs need a stack or repeated products")
    return written


def assign(found: list[Found], how: PrithviPrepareSettings) -> Iterator[tuple[Found, str]]:
    """Give every place to one split so that each season comes as near to ``fractions`` as whole places allow.

    Places are taken from the largest down (equal ones in an order drawn from ``seed``) and go where, summed over the
    seasons of the place, most is still wanted.
    """
    places: dict[str, list[Found]] = {}
    for tile in found:
        places.setdefault(tile.place, []).append(tile)
    names = sorted(places)
    order = np.random.default_rng(how.seed).permutation(len(names))
    ordered = sorted((names[i] for i in order), key=lambda n: -len(places[n]))
    total = np.bincount([t.season for t in found], minlength=4)
    wanted = np.outer(how.fractions, total).astype(float)
    for name in ordered:
        seasons = np.bincount([t.season for t in places[name]], minlength=4)
        gain = [(np.minimum(wanted[i], seasons).sum(), wanted[i].sum()) for i in range(3)]
        best = max((i for i in range(3) if how.fractions[i] > 0), key=lambda i: gain[i])
        wanted[best] -= seasons
        yield from ((tile, SPLITS[best]) for tile in places[name])


def _cut(job: tuple[Product, PrithviPrepareSettings, Path]) -> tuple[list[Found], dict[str, int]]:
    """Cut one product into tiles under the staging folder; return them and how many were left out for which reason."""
    product, how, staging = job
    image, cloudy, grid = read_product(product, how)
    month = int(product.date[4:6]) if product.date else how.month
    if month is None:
        raise ZooError(f"{product.name}: has no date in its name; set prepare.month")
    found, left_out = [], Counter()
    for window in windows(grid.height, grid.width, how.tile_size, how.tile_size):
        part, cloud = image[(slice(None), *window.slices)], cloudy[window.slices]
        valid = np.isfinite(part).all(axis=0)
        if valid.mean() < how.min_valid:
            left_out["missing"] += 1
            continue
        if cloud.mean() > how.max_cloud:
            left_out["cloud"] += 1
            continue
        place, spot = _place(product, grid, window, how)
        biome = _biome(product, grid, window, how)
        meta = {"product": product.name, "date": product.date, "month": month, "biome_code": biome}
        meta |= {
            "place": place,
            "spot": spot,
            "pixel": list(map(float, grid.transform[:6])) if grid.transform else None,
        }
        name = f"{product.name}_{window.row:05d}_{window.col:05d}"
        file = write_npz(staging / f"{name}.npz", tile_arrays(part, month, biome), meta)
        found.append(Found(file, place, (month % 12) // 3))
    return found, dict(left_out)


def read_product(product: Product, how: PrithviPrepareSettings) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Return reflectance ``(4, H, W)`` float32, NaN = missing or cloud; cloudy pixels ``(H, W)`` bool; the grid."""
    bands, grid = [], None
    for file, number in product.bands:
        with RasterReader(file) as reader:
            grid = grid or reader.info.grid
            _same_grid(product, grid, reader.info.grid, file)
            bands.append(reader.read(Window(0, 0, grid.height, grid.width), [number])[0])
    stored = np.stack(bands)
    stored[:, (stored <= 0).all(axis=0)] = np.nan  # 0 and -1 stand for no data in products without a nodata tag
    image = (stored + np.float32(offset_of(product, how.offset))) * np.float32(how.scale)
    bad, cloudy = _clouds(product, image, grid, how)
    return np.where(bad, np.float32(np.nan), image).astype(np.float32), cloudy, grid


def _clouds(
    product: Product, image: np.ndarray, grid: Grid, how: PrithviPrepareSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels to be masked and pixels that are cloud, by SCL, Fmask or brightness in the blue."""
    if product.quality is None:
        cloudy = image[0] > how.cloud_blue if how.cloud_blue is not None else np.zeros(image.shape[1:], bool)
        return cloudy, cloudy
    file, number, kind = product.quality
    with RasterReader(file) as reader:
        size = reader.info.grid
        codes = reader.read(Window(0, 0, size.height, size.width), [number])[0]
    if (grid.height % size.height, grid.width % size.width) != (0, 0):
        raise ZooError(f"{file}: {size.height} x {size.width} px do not divide those of the bands")
    step = (grid.height // size.height, grid.width // size.width)
    codes = np.nan_to_num(np.kron(codes, np.ones(step, np.float32)), nan=0 if kind == "SCL" else 255).astype(int)
    if kind == "SCL":
        return np.isin(codes, _SCL_BAD), np.isin(codes, _SCL_CLOUD)
    return (codes == 255) | (codes & _FMASK_CLOUD > 0), (codes != 255) & (codes & _FMASK_CLOUD > 0)


def _same_grid(product: Product, first: Grid, other: Grid, file: Path) -> None:
    if (first.height, first.width) != (other.height, other.width):
        raise ZooError(
            f"{file}: {other.height} x {other.width} px beside {first.height} x {first.width} in {product.name}; "
            "resolutions are not mixed, resample the band first"
        )
    if first.transform != other.transform or first.crs != other.crs:
        raise ZooError(f"{file}: lies on another grid than the first band of {product.name}; resample it first")


def _check_resolution(products: list[Product]) -> None:
    """Raise ZooError where pixel sizes of two products differ by more than a quarter."""
    sizes = {}
    for product in products:
        with RasterReader(product.bands[0][0]) as reader:
            sizes[product.name] = pixel_metres(reader.info.grid)
    known = {n: s for n, s in sizes.items() if s is not None}
    if known and max(known.values()) > 1.25 * min(known.values()):
        fine, coarse = min(known, key=known.get), max(known, key=known.get)
        raise ZooError(
            f"mixed resolutions: {fine} has {known[fine]:.1f} m and {coarse} {known[coarse]:.1f} m pixels; "
            "prepare them into data sets of their own"
        )


def pixel_metres(grid: Grid) -> float | None:
    """Return the side of a pixel in m (geometric mean; degrees at their latitude), None without georeference."""
    if grid.transform is None:
        return None
    area = abs(grid.transform.a * grid.transform.e - grid.transform.b * grid.transform.d)
    if grid.crs is not None and grid.crs.is_geographic:
        latitude = grid.transform.f + grid.transform.e * grid.height / 2
        return math.sqrt(area * math.cos(math.radians(latitude))) * _KM_PER_DEGREE * 1000
    return math.sqrt(area)


def _place(product: Product, grid: Grid, window: Window, how: PrithviPrepareSettings) -> tuple[str, str]:
    """Return the place (a square of ``block_km``) and the spot (the very tile) as names that dates share."""
    if grid.transform is None or grid.crs is None:
        return product.name.replace(product.date, "") or product.name, f"{product.name}:{window.row}:{window.col}"
    from rasterio.warp import transform

    x, y = _at(grid.transform, window.col + window.width / 2, window.row + window.height / 2)
    (lon,), (lat,) = transform(grid.crs, "EPSG:4326", [x], [y])
    across = _KM_PER_DEGREE * math.cos(math.radians(lat))
    block = (math.floor(lat * _KM_PER_DEGREE / how.block_km), math.floor(lon * across / how.block_km))
    return f"{block[0]}_{block[1]}", f"{lat:.5f}_{lon:.5f}"


def _biome(product: Product, grid: Grid, window: Window, how: PrithviPrepareSettings) -> int:
    """Return the biome code of a tile: as set, or the commonest code of ``biome_raster`` in it."""
    if how.biome is not None:
        return how.biome
    if how.biome_raster is None:
        raise ZooError(f"{product.name}: no biome; set prepare.biome (0-16) or prepare.biome_raster")
    codes = _sample_raster(how.biome_raster, grid, window)
    codes = codes[np.isfinite(codes)]
    if not codes.size:
        raise ZooError(f"{how.biome_raster}: has no value where {product.name} lies; set prepare.biome")
    values, counts = np.unique(codes, return_counts=True)
    code = float(values[counts.argmax()])
    if code != int(code) or not 0 <= code < BIOMES:
        raise ZooError(f"{how.biome_raster}: code {code:g} is not a biome 0-{BIOMES - 1}")
    return int(code)


def _sample_raster(path: Path, grid: Grid, window: Window) -> np.ndarray:
    """Values of another raster at a lattice of 5 x 5 points of a tile."""
    from rasterio.warp import transform

    with RasterReader(path) as reader:
        other = reader.info.grid
        if other.crs is None or grid.crs is None or grid.transform is None:
            raise ZooError(f"{path}: raster and products need a CRS to be laid over one another; set prepare.biome")
        rows, cols = np.meshgrid((np.arange(5) + 0.5) / 5 * window.height, (np.arange(5) + 0.5) / 5 * window.width)
        points = [_at(grid.transform, window.col + c, window.row + r) for r, c in zip(rows.ravel(), cols.ravel())]
        xs, ys = transform(grid.crs, other.crs, [p[0] for p in points], [p[1] for p in points])
        values = []
        for x, y in zip(xs, ys):
            col, row = (math.floor(v) for v in _at(~other.transform, x, y))
            if 0 <= row < other.height and 0 <= col < other.width:
                values.append(reader.read(Window(row, col, 1, 1), [1]).item())
    return np.array(values, np.float64)


def _at(transform: Any, x: float, y: float) -> tuple[float, float]:
    """Apply an affine transform to a point; its operator for that differs between versions of its package."""
    return transform.a * x + transform.b * y + transform.c, transform.d * x + transform.e * y + transform.f


def _move(tile: Found, folder: Path) -> Path:
    """Move a tile and its sidecar to their split."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in (tile.file.with_suffix(".json"), tile.file):
        file.replace(folder / file.name)
    return folder / tile.file.name


def _set_aside(file: Path, folder: Path) -> Any:
    return _move(Found(file, "", 0), folder)
