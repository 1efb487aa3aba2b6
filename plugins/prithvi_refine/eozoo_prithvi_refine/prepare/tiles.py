"""``eozoo prepare prithvi_refine tiles``: products to tiles, filtered, split by place and balanced by season."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.checking.assign import assign as assign_blocks
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.tiles import Window
from eozoo_core.run.pool import Pool
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.unfinished import folder_of, unfinished
from eozoo_core.run.writing import discard, make_folder, publish
from eozoo_core.run.written import is_current, stamp_of
from eozoo_core.words import counted
from rasterio import Affine

from eozoo_prithvi_refine.coordinates import known, location_of
from eozoo_prithvi_refine.places import biome_of, place_of
from eozoo_prithvi_refine.prepare.pixels import check_resolution, read_product
from eozoo_prithvi_refine.prepare.plan import Planned, plan_products
from eozoo_prithvi_refine.prepare.products import Product, find_products
from eozoo_prithvi_refine.prepare.report import in_words, record, write_record
from eozoo_prithvi_refine.tile_files import read_sidecar, read_tile, tile_arrays, write_npz

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviPrepareSettings, PrithviSettings

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Found:
    """A tile that passed the filters: where it was written for now, its place and its season (0-3)."""

    file: Path
    place: str
    season: int


def prepare_tiles(settings: PrithviSettings, pool: Pool) -> list[Path]:
    """Write DATA/train, val and test from ``prepare.source``; return the tiles. Existing tiles are not overwritten.

    Prints how values became reflectance, what was read, skipped and left out, and how places were divided; all of it is
    in DATA/prepare.json. Raises ZooError for products of which nothing tells offset, month or biome, of mixed
    resolution, or of which no tile is left, and where there are fewer places than splits.
    """
    how, data_dir = settings.prepare, settings.runtime.data_dir
    if how.source is None or data_dir is None:
        raise ZooError("set prepare.source (folder of products) and runtime.data_dir (folder for the tiles)")
    found = find_products(how.source, how.band_names, how.on_unreadable == "skip")
    stamp = _stamp(found.products, how)
    begun = folder_of(data_dir / "tiles", stamp).exists()
    if not begun and any((data_dir / s).is_dir() and any((data_dir / s).iterdir()) for s in SPLITS):
        raise ZooError(f"{data_dir}: has tiles already; choose another runtime.data_dir")
    check_resolution(found.products)
    planned = plan_products(found.products, how)
    tell_once([f"{one.product.name}: {one.scaling}" for one in planned], settings.runtime.quiet)
    with (
        unfinished(data_dir / "tiles", stamp) as work,
        progress_bar("tiles", len(planned), "products", settings.runtime.quiet) as bar,
    ):
        items = {one.product.name: one for one in planned}
        cut = work.results(pool, Cutter(how, work.folder), items, bar.update)
        results = [([Found(work.folder / name, *rest) for name, *rest in tiles], lost) for tiles, lost in cut]
        try:
            require_places(results, how)
        except ZooError:
            discard(work.folder)  # products or settings must change, and then all is cut again
            raise
        return _divide(results, planned, found.skipped, how, data_dir)


def _stamp(products: Sequence[Product], how: PrithviPrepareSettings) -> str:
    files = [file for product in products for file in product.files]
    files += [file for file in (how.products, how.biome_raster) if file is not None and file.exists()]
    return stamp_of(how.model_dump(mode="json", exclude={"workers", "dask"}), files)


def _divide(
    results: list[tuple[list[Found], dict[str, int]]],
    planned: list[Planned],
    skipped: dict[Path, str],
    how: PrithviPrepareSettings,
    data_dir: Path,
) -> list[Path]:
    """Move the tiles of all products to their splits, and say what became of them."""
    found = [tile for tiles, _ in results for tile in tiles]
    assigned = assign(found, how)
    written = [_move(tile.file, data_dir / split) for tile, split in assigned]
    splits = {
        name: {
            "tiles": sum(split == name for _, split in assigned),
            "places": len({tile.place for tile, split in assigned if split == name}),
        }
        for name in SPLITS
    }
    made = record(planned, [(len(tiles), reasons) for tiles, reasons in results], skipped, splits)
    write_record(data_dir, made)
    print(in_words(made))
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
        firsts = data_dir / "first_dates" / split  # also those that were moved before a stop
        for file in sorted([*(data_dir / split).glob("*.npz"), *firsts.glob("*.npz")]):
            meta = read_sidecar(file)
            if not meta.get("spot") or not meta.get("date"):
                raise ZooError(f"{file}: its sidecar names no spot and date; make the tiles with 'prepare tiles'")
            spots.setdefault(meta["spot"], []).append((meta["date"], file))
        for dated in spots.values():
            ordered = [file for _, file in sorted(dated)]
            for before, after in pairwise(ordered):
                target = stage1_dir / split / after.name
                if not is_current(target, before):
                    source = read_tile(before)
                    write_npz(target, {"opt_v1": source.image, "source_tile": np.array(before.name)})
                written.append(target)
            if ordered[0].parent != firsts:
                _move(ordered[0], firsts)
    if not written:
        raise ZooError(f"{data_dir}: no spot has two dates; pairs need a stack or repeated products")
    return written


def require_places(results: list[tuple[list[Found], dict[str, int]]], how: PrithviPrepareSettings) -> None:
    """Raise ZooError where there is no tile, or fewer places than splits that are to get some: each belongs to one."""
    found = [tile for tiles, _ in results for tile in tiles]
    if not found:
        left_out = sum((Counter(reasons) for _, reasons in results), Counter())
        raise ZooError(
            f"{how.source}: no tile passed the filters ({dict(left_out)}); relax prepare.min_valid or max_cloud"
        )
    places = {tile.place for tile in found}
    wanted = [split for split, share in zip(SPLITS, how.fractions, strict=True) if share > 0]
    if len(places) < len(wanted):
        raise ZooError(
            f"{how.source}: {counted(len(found), 'tiles')} of {counted(len(places), 'places')} of "
            f"{how.block_km:g} km cannot be divided into {', '.join(wanted)}; add products of other places, set a "
            "smaller prepare.block_km, or prepare.fractions=[1,0,0] to put all into train"
        )


def assign(found: list[Found], how: PrithviPrepareSettings) -> list[tuple[Found, str]]:
    """Give every place to one split so that tiles, and those of each season, come as near to ``fractions`` as whole
    places allow; seeded, and the same in whatever order tiles come."""
    place = np.unique([tile.place for tile in found], return_inverse=True)[1]
    seasons = np.zeros((place.max() + 1, 4))
    np.add.at(seasons, (place, [tile.season for tile in found]), 1)
    wanted = [i for i, share in enumerate(how.fractions) if share > 0]
    owner = assign_blocks(seasons.sum(axis=1), seasons, np.array(how.fractions)[wanted], how.seed)
    return [(tile, SPLITS[wanted[split]]) for tile, split in zip(found, owner[place], strict=True)]


@dataclass(frozen=True)
class Cutter:
    """Cuts a product into tiles in ``folder``.

    Returns the name, place and season of each, and how many were left out for which reason.
    """

    how: PrithviPrepareSettings
    folder: Path

    def __call__(self, planned: Planned) -> tuple[list[tuple[str, str, int]], dict[str, int]]:
        """Cut one product. Raises ZooError where it cannot be read and that is not to be skipped."""
        return _cut(planned, self.how, self.folder)


def _cut(
    planned: Planned, how: PrithviPrepareSettings, folder: Path
) -> tuple[list[tuple[str, str, int]], dict[str, int]]:
    product, month = planned.product, planned.month
    try:
        image, cloudy, grid = read_product(product, planned.scalings, how)
    except ZooError as error:
        if how.on_unreadable == "stop":
            raise
        return [], {f"unreadable: {error}": 1}
    found, left_out = [], Counter()
    for window in _windows(grid, how.tile_size):
        part, cloud = image[(slice(None), *window.slices)], cloudy[window.slices]
        valid = np.isfinite(part).all(axis=0)
        if cloud.mean() > how.max_cloud:
            left_out["cloud"] += 1
            continue
        if valid.mean() < how.min_valid:
            left_out["missing"] += 1
            continue
        place, spot = place_of(product, grid, window, how)
        biome = planned.biome if planned.biome is not None else biome_of(product, grid, window, how)
        meta = {"product": product.name, "date": planned.date, "month": month, "biome_code": biome}
        meta |= {"scaling": planned.scaling, **_where(grid, window, place, spot)}
        name = f"{product.name}_{window.row:05d}_{window.col:05d}.npz"
        write_npz(folder / name, tile_arrays(part, month, biome), meta)
        found.append((name, place, (month % 12) // 3))
    return found, dict(left_out)


def _where(grid: Grid, window: Window, place: str, spot: str) -> dict[str, Any]:
    """What a sidecar says of the ground of a tile."""
    meta: dict[str, Any] = {}
    location = location_of(grid, window)
    if known(location):
        meta |= {"lat": round(location[0], 6), "lon": round(location[1], 6)}
    meta |= {"place": place, "spot": spot}
    meta["pixel"] = list(map(float, grid.transform[:6])) if grid.transform else None
    if grid.crs is not None and grid.transform is not None:
        corner = grid.transform @ Affine.translation(window.col, window.row)
        meta |= {"crs": grid.crs.to_string(), "transform": list(map(float, corner[:6]))}
    return meta


def _move(file: Path, folder: Path) -> Path:
    """Move a tile and its sidecar, those that were not moved before a stop."""
    make_folder(folder)
    for each in (file.with_suffix(".json"), file):
        if each.exists():
            publish(each, folder / each.name)
    return folder / file.name


def _windows(grid: Grid, size: int) -> list[Window]:
    """Tiles of ``size`` px side by side; the last in a row or column is shifted inside."""
    rows, cols = ([*range(0, length - size, size), max(length - size, 0)] for length in (grid.height, grid.width))
    height, width = min(size, grid.height), min(size, grid.width)
    return [Window(row, col, height, width) for row in rows for col in cols]
