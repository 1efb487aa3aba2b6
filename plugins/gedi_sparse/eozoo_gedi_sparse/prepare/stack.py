"""Step ``stack``: layers of bands, each a raster or a mosaic of tiles, into one raster of named bands."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.raster.arrays import map_array
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.mosaic import Mosaic, find_tiles, union_grid
from eozoo_core.raster.read import RasterInfo, open_reader, read_info
from eozoo_core.raster.sentinel2 import SPECIAL
from eozoo_core.raster.tiles import Window
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.unfinished import unfinished
from eozoo_core.run.written import stamp_of, write_array

from eozoo_gedi_sparse.prepare.grids import make_grid
from eozoo_gedi_sparse.prepare.scaling import make_scale
from eozoo_gedi_sparse.prepare.settings import LayerSettings, StackSettings

STRIP = 256  # rows in memory
_BAND = re.compile(r"[_.-](B0?\d{1,2}|B8A|SCL|VV|VH)(?:_\d\dm)?$", re.IGNORECASE)  # at the end of a file's name


def make_stack(settings: StackSettings, quiet: bool = False, pool: Pool | None = None) -> list[Path]:
    """Write ``dest`` (C, H, W) float32, NaN = missing, bands named and in the order of ``bands``.

    A stack made from the same files with the same settings stays as it is; one that was stopped goes on with its next
    strip of rows. How each layer was scaled is printed and
    stands in the tag SCALING. Raises ZooError for layers that are not on the grid or contradict their scale, bands
    without or with the same name, and an unknown name in ``bands``.
    """
    if not settings.layers:
        raise ZooError("prepare.stack.layers is empty; give a --config file with one entry per source of bands")
    files = [path for layer in settings.layers for path in find_tiles(layer.source)]
    stamp = stamp_of(settings.model_dump(mode="json", exclude={"dest"}), files)
    with suppress(ZooError):  # what cannot be read is made again
        if settings.dest.exists() and read_info(settings.dest).tags.get("PREPARED_FROM") == stamp:
            return [settings.dest]
    grid = _grid(settings)
    layers = [_mosaic(layer, grid) for layer in settings.layers]
    names, scaled = [name for _, found, _ in layers for name in found], [line for _, _, told in layers for line in told]
    order = _order(names, settings.bands)
    tell_once(scaled, quiet)
    bands, tags = [Band(names[i]) for i in order], {"PREPARED_FROM": stamp, "SCALING": "\n".join(scaled)}
    rows = {f"{row:08d}": row for row in range(0, grid.height, STRIP)}
    with (
        unfinished(settings.dest, stamp) as work,
        progress_bar("stack", len(rows), "strips", quiet) as bar,
        CogWriter(settings.dest, grid, bands, tags=tags) as writer,
    ):
        work.results(pool or Here(), _Strips(settings, grid, tuple(order), work.folder), rows, bar.update)
        for row in rows.values():
            writer.write_rows(row, map_array(_strip(work.folder, row), "delete it and run step stack again"))
    return [settings.dest]


@dataclass(frozen=True)
class _Strips:
    """Writes the strip of the stack that begins at a row, (C, n, W) float32, into a file of its own."""

    settings: StackSettings
    grid: Grid
    order: tuple[int, ...]
    folder: Path

    @cached_property
    def layers(self) -> list[tuple[Mosaic, int]]:
        """Mosaics, and how many bands each has; opened once by a worker."""
        found = [_mosaic(layer, self.grid) for layer in self.settings.layers]
        return [(mosaic, len(names)) for mosaic, names, _ in found]

    def __call__(self, row: int) -> None:
        """Write one."""
        window = Window(row, 0, min(STRIP, self.grid.height - row), self.grid.width)
        values = np.concatenate([mosaic.read(window, count) for mosaic, count in self.layers])
        write_array(_strip(self.folder, row), values[list(self.order)])


def _strip(folder: Path, row: int) -> Path:
    return folder / f"{row:08d}.npy"


def _grid(settings: StackSettings) -> Grid:
    if settings.grid.like is not None:
        return read_info(settings.grid.like).grid
    if settings.grid.crs is not None:
        return make_grid(settings.grid, "prepare.stack.grid")
    return union_grid(find_tiles(settings.layers[0].source))


def _mosaic(layer: LayerSettings, grid: Grid) -> tuple[Mosaic, list[str], list[str]]:
    """The mosaic of a layer, the names of its bands, and how its files are scaled, in words."""
    if grid.crs is None or grid.transform is None:
        raise ZooError("prepare.stack.grid: the grid's raster has no CRS; take one that has")
    mosaic = Mosaic(grid, layer.resampling, SPECIAL if layer.scale == "s2" else ())
    names: list[str] = []
    decided = []
    _require_one_band(layer.source, find_tiles(layer.source))
    for path in find_tiles(layer.source):
        with open_reader(path) as reader:
            bands = reader.info.select(layer.bands)
            found = _names(reader.info, bands, layer)
            if names and found != names:
                raise ZooError(f"{path}: has bands {', '.join(found)}, the tiles before it {', '.join(names)}")
            names = found
            scale, told = make_scale(layer, reader, bands)
        mosaic.add(path, bands, scale)
        decided.append(f"{path.name}: {told or 'values as they are'}")
    if len(mosaic) == 0:
        raise ZooError(f"{layer.source}: lies beside the stack's grid; take rasters of that place")
    return mosaic, names, decided


def _require_one_band(source: Path, tiles: list[Path]) -> None:
    """Tiles of a mosaic fill each other's gaps: of files of several bands only the first would be read."""
    codes = {found[1].upper() for path in tiles if (found := _BAND.search(path.stem))}
    if len(codes) > 1:
        raise ZooError(
            f"{source}: holds files of several bands ({', '.join(sorted(codes))}), which are no tiles of one mosaic; "
            "give each band a layer of its own"
        )


def _names(info: RasterInfo, bands: tuple[int, ...], layer: LayerSettings) -> list[str]:
    if layer.names is not None:
        if len(layer.names) != len(bands):
            raise ZooError(f"{info.path}: {len(bands)} bands are taken, 'names' of the layer has {len(layer.names)}")
        return list(layer.names)
    names = [info.descriptions[band - 1] for band in bands]
    if not all(names):
        raise ZooError(f"{info.path}: band {bands[names.index('')]} has no name; give 'names' for the layer")
    return names


def _order(names: list[str], wanted: tuple[str, ...] | None) -> list[int]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ZooError(f"prepare.stack.layers: two bands are called {twice!r}; rename one with 'names'")
    if wanted is None:
        return list(range(len(names)))
    for name in wanted:
        if name not in names:
            raise ZooError(f"prepare.stack.bands: no layer gives {name!r}.{did_you_mean(name, names)}")
    return [names.index(name) for name in wanted]
