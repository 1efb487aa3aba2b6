"""From tiles to rows of maps: blocks of rows, several at once, bounded memory, able to go on.

The outputs of a tile are collected in a memory-mapped array in a hidden folder beside the maps, with a list of the
rows that are done. A stopped run finds them again and encodes only what is missing; finished maps are not made twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.arrays import map_array
from eozoo_core.run.parsed import read_object
from eozoo_core.run.writing import make_folder, make_mapped_array
from eozoo_core.run.written import write_text
from eozoo_core.task.scenes import Block, Scene

from eozoo_barlow_twins.pixel_store import source_of
from eozoo_barlow_twins.settings import SelectDates
from eozoo_barlow_twins.survey import PixelSurvey
from eozoo_barlow_twins.tiles import Tile
from eozoo_barlow_twins.views import Dates

if TYPE_CHECKING:
    from eozoo_core.task.windows import Drawn

_KEEP_EVERY = 5.0  # seconds between notes of what is done
_STRIP = 64  # rows of a block
_LOOKED_AT = 256  # pixels whose units are compared with those of the training data


@dataclass(frozen=True)
class TileScene(Scene):
    """A tile to map. ``tile``: its arrays."""

    tile: Tile | None = None


def find_tiles(source: Path) -> list[Path]:
    """The tile at ``source``, or every tile of that folder, by name. Raises ZooError where there is none."""
    source = Path(source)
    if (source / "bands.npy").exists():
        return [source]
    folders = sorted(p.parent for p in source.glob("*/bands.npy")) if source.is_dir() else []
    if not folders:
        raise ZooError(f"{source}: is no tile folder (bands.npy in it) and holds none; 'eozoo prepare' makes one")
    return folders


def open_tile(folder: Path, survey: PixelSurvey, select: SelectDates) -> TileScene:
    """Open a tile that has the bands of ``survey``; its maps depend on its arrays and on how dates are chosen."""
    tile = Tile(folder)
    tile.select(survey.names)
    tile.doys  # noqa: B018 - checked before anything is written
    stamp = hashlib.sha256(
        json.dumps([source_of(tile.path), select.selection, select.passes, select.seed]).encode()
    ).hexdigest()
    return TileScene(tile.path, tile.grid, name=tile.name, stamp=stamp, tile=tile)


def map_tile(drawn: Drawn, scene: TileScene, settings: SelectDates, workers: int) -> Iterator[Block]:
    """Yield the quantities of all rows of a tile, NaN = too few clear dates."""
    tile, series = scene.tile, _Series(drawn, scene.tile, settings)
    _, h, w, _ = tile.shape
    series.look()
    step, shape = max(1, settings.block_pixels // w), (h, w, sum(series.widths.values()))
    values, progress = _open_part(part_of(scene, drawn.dest), shape, f"{scene.stamp} {step}")
    todo = [row for row in range(0, h, step) if row not in progress.done]

    def block(row: int) -> None:
        stop = min(row + step, h)
        values[row:stop] = series.rows(row, stop).reshape(stop - row, w, -1)

    try:
        with ThreadPoolExecutor(workers) as pool:
            for row, _ in zip(todo, pool.map(block, todo), strict=True):
                progress.add(row, min(row + step, h), values)
                drawn.progress(min(row + step, h), h)
    finally:
        progress.keep(values)
    for row in range(0, h, _STRIP):
        rows = np.moveaxis(np.array(values[row : row + _STRIP]), 2, 0)
        yield Block(row, _split(rows, series.widths))


def part_of(scene: TileScene, dest: Path) -> Path:
    """The folder of what is encoded so far; the task deletes it when the maps are written."""
    return dest / f".{scene.name}.part"


class _Series:
    """The pixels of a tile as arrays for the network, and its quantities as columns.

    widths: quantity -> number of columns, found by predicting one series.
    """

    def __init__(self, drawn: Drawn, tile: Tile, settings: SelectDates):
        survey: PixelSurvey = drawn.survey
        self._drawn, self._tile, self._batch, self._survey = drawn, tile, drawn.at_once(64 * settings.passes), survey
        self._dates, self._channels = Dates(survey.sample_size, settings), tile.select(survey.names)
        shape = (1, settings.passes, survey.sample_size)
        any_series = np.broadcast_to(np.array(survey.mean, np.float32), (*shape, len(survey.bands)))
        found = drawn.unwatched({"bands": any_series, "doys": np.ones(shape, np.int64)})
        self.widths = {name: values.shape[1] for name, values in found.items()}

    def look(self) -> None:
        """Raise ZooError where the tile's values are in other units than the training data's, or a mask is none."""
        usable = np.flatnonzero(self._tile.counts > self._survey.min_valid)
        some = usable[:: max(1, len(usable) // _LOOKED_AT)]
        if len(some):
            bands, clear = self._tile.series(some)
            values = np.where(clear[..., None], bands[:, :, self._channels], np.float32(np.nan))
            self._drawn.look({"bands": values})

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Columns (n, K) of all pixels of rows ``first`` to ``stop - 1``, NaN = too few clear dates."""
        bands, clear = self._tile.rows(first, stop)
        out = np.full((len(bands), sum(self.widths.values())), np.nan, np.float32)
        usable = np.flatnonzero(clear.sum(axis=1) > self._survey.min_valid)
        for start in range(0, len(usable), self._batch):
            part = usable[start : start + self._batch]
            items = part + first * self._tile.shape[2]
            found = self._drawn(self._dates(bands[part][:, :, self._channels], clear[part], self._tile.doys, items))
            out[part] = np.concatenate([found[name] for name in self.widths], axis=1)
        return out


def _split(rows: np.ndarray, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    return dict(zip(widths, np.split(rows, np.cumsum(list(widths.values()))[:-1]), strict=True))


class _Progress:
    """Which blocks of rows are done: first row -> (the one after the last, checksum); on disk after their values."""

    def __init__(self, file: Path, stamp: str, done: dict[int, tuple[int, int]]):
        self._file, self._stamp, self.done = file, stamp, done
        self._kept, self._lock = time.monotonic(), threading.Lock()

    def add(self, row: int, stop: int, values: Any) -> None:
        self.done[row] = stop, _crc(values[row:stop])
        if time.monotonic() - self._kept > _KEEP_EVERY:
            self.keep(values)

    def keep(self, values: Any) -> None:
        with self._lock:
            values.flush()
            done = [[row, *told] for row, told in sorted(self.done.items())]
            write_text(self._file, json.dumps({"stamp": self._stamp, "done": done}))
            self._kept = time.monotonic()


def _open_part(work: Path, shape: tuple[int, ...], stamp: str) -> tuple[np.ndarray, _Progress]:
    """The unfinished array of a tile: an earlier one of the same stamp, else a new one."""
    file, note = work / "values.npy", work / "done.json"
    with suppress(ZooError, KeyError, TypeError, ValueError):  # none there, or damaged: begin again
        kept, found = read_object(note), map_array(file)
        if kept["stamp"] == stamp and found.shape == shape and found.dtype == np.float32 and found.flags.c_contiguous:
            values = np.load(file, mmap_mode="r+", allow_pickle=False)
            rows = {int(row): (int(stop), int(crc)) for row, stop, crc in kept["done"]}
            whole = {row: (stop, crc) for row, (stop, crc) in rows.items() if _crc(values[row:stop]) == crc}
            return values, _Progress(note, stamp, whole)
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    try:
        values = make_mapped_array(file, shape, np.float32)
    except ZooError:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return values, _Progress(note, stamp, {})


def _crc(rows: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(rows))
