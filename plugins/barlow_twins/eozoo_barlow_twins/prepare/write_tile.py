"""Writing the documented tile folder: date by date, with statistics of the clear pixels, complete or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.arrays import map_array
from eozoo_core.run.pool import Pool
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.sealed import FILES, hashes_of, seal
from eozoo_core.run.unfinished import Unfinished, unfinished
from eozoo_core.run.writing import discard, make_folder, make_mapped_array, new_folder, publish, refused
from eozoo_core.run.written import write_array, write_text
from eozoo_core.score.statistics import ChannelStatistics

from eozoo_barlow_twins.tiles import TILE_JSON, Tile

STRIP_BYTES = 64 * 2**20
_ARRAYS = {"bands.npy": np.uint16, "masks.npy": np.uint8}


@dataclass(frozen=True)
class TilePlan:
    """What a tile will hold. ``dates`` in order; ``crs`` as WKT and ``transform`` as 6 numbers, None = unknown;
    ``scaling``: how values became reflectance, in words.
    """

    bands: tuple[str, ...]
    dates: tuple[date, ...]
    height: int
    width: int
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    source: str = ""
    layers: dict[str, np.ndarray] = field(default_factory=dict)  # file name -> (H, W) integers
    scaling: Sequence[str] = ()


class TileWriter:
    """Takes ``put(date number, row, values, clear)`` in any order, from any number of processes; see `new_tile`."""

    def __init__(self, folder: Path):
        self._files = [_RowFile(folder / name) for name in _ARRAYS]

    def put(self, number: int, row: int, values: np.ndarray, clear: np.ndarray) -> None:
        """Write rows from ``row`` on of one date: values (n, W, C) digital numbers, clear (n, W) bool.

        Values are rounded and clipped to 0..65535; NaN (not finite) is never clear.
        """
        finite = np.isfinite(values).all(axis=-1)
        whole = np.rint(np.where(np.isfinite(values), values, 0)).clip(0, 65535)
        for file, rows in zip(self._files, (whole, clear & finite), strict=True):
            file.write(number, row, rows)

    def close(self) -> None:
        """Flush to disk."""
        for file in self._files:
            file.close()


class _RowFile:
    """An array (T, H, ...) that is there, of which rows are written. Not mapped: on NFS a page has one writer only."""

    def __init__(self, path: Path):
        array = map_array(path)
        self._shape, self._dtype, self._start = array.shape, array.dtype, array.offset
        self._path, self._file = path, path.open("r+b")

    def write(self, number: int, row: int, rows: np.ndarray) -> None:
        content = np.ascontiguousarray(rows, self._dtype)
        size = int(np.prod(self._shape[2:])) * self._dtype.itemsize
        with refused(self._path):
            self._file.seek(self._start + (number * self._shape[1] + row) * size)
            self._file.write(content)

    def close(self) -> None:
        with refused(self._path), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())


@contextmanager
def writing(folder: Path) -> Iterator[TileWriter]:
    """Yield a writer of a tile's arrays, flushed when the block ends well."""
    writer = TileWriter(folder)
    yield writer
    writer.close()


@contextmanager
def new_tile(path: Path, plan: TilePlan) -> Iterator[TileWriter]:
    """Make the tile folder ``path``; it appears when the block ends well. Raises ZooError where it exists already."""
    _require_new(path, plan)
    with new_folder(path) as folder:
        _make_arrays(folder, plan)
        with writing(folder) as writer:
            yield writer
        _complete(folder, plan)


@contextmanager
def shared_tile(path: Path, plan: TilePlan, stamp: str) -> Iterator[tuple[Unfinished, Path]]:
    """Do the same for workers, who write dates of their own, and go on where it was stopped, see `unfinished`.

    Yields the work and the folder that they write into, with `writing`.
    """
    _require_new(path, plan)
    with unfinished(path, stamp) as work:
        folder = make_folder(work.folder / path.name)
        _make_arrays(folder, plan)
        yield work, folder
        _complete(folder, plan)
        publish(folder, path)


def write_dates(
    work: Unfinished, pool: Pool, write: Callable[[Any], list[int]], dates: Mapping[str, Any]
) -> list[list[int]]:
    """Have workers write dates, name -> what ``write`` takes; return what `Report` counted of each. Shows progress.

    Raises ZooError where nothing is clear: other settings will have to write all dates again.
    """
    with progress_bar("tile", len(dates), "dates") as bar:
        counts = work.results(pool, write, dates, lambda done, name: bar.update(done))
    if not any(clear for _, clear, _ in counts):
        discard(work.folder)
        raise ZooError(f"{work.path.name}: no pixel is clear on any date; check the scene classes in 'clear'")
    return counts


def _require_new(path: Path, plan: TilePlan) -> None:
    if not plan.dates:
        raise ZooError(f"{path.name}: no date was found in the raw files; check their names and the bands asked for")
    if path.exists():
        raise ZooError(f"{path}: exists already; delete it or choose another tile name")


def _make_arrays(folder: Path, plan: TilePlan) -> None:
    """Make the arrays, full of zeros, where they are not there yet."""
    shape = (len(plan.dates), plan.height, plan.width)
    for (name, dtype), full in zip(_ARRAYS.items(), ((*shape, len(plan.bands)), shape), strict=True):
        if not (folder / name).exists():
            part = folder / f"part_{name}"
            make_mapped_array(part, full, dtype).flush()
            publish(part, folder / name)


def _complete(folder: Path, plan: TilePlan) -> None:
    write_array(folder / "doys.npy", np.array([d.timetuple().tm_yday for d in plan.dates], np.int16))
    for name, layer in plan.layers.items():
        write_array(folder / name, layer)
    info: dict[str, Any] = {"bands": list(plan.bands), "dates": [d.isoformat() for d in plan.dates]}
    info |= {"crs": plan.crs, "transform": plan.transform and list(plan.transform), "source": plan.source}
    info |= {"scaling": list(plan.scaling)} if plan.scaling else {}
    _write_info(folder, {**info, FILES: {}})
    write_statistics(Tile(folder))
    note_files(folder, ["bands.npy", "masks.npy", "doys.npy", *plan.layers])


def write_statistics(tile: Tile) -> list[Path]:
    """Write band_mean.npy and band_std.npy over all clear pixels and dates of the tile; return them.

    Raises ZooError where nothing is clear.
    """
    t, h, w, c = tile.shape
    statistics = ChannelStatistics(tile.band_names)
    step = max(1, STRIP_BYTES // (w * c * 8))
    for number in range(t):
        for row in range(0, h, step):
            clear = np.asarray(tile.masks[number, row : row + step]) != 0
            statistics.update(np.asarray(tile.bands[number, row : row + step])[clear].T)
    if not statistics.count.all():
        raise ZooError(f"{tile.path.name}: no pixel is clear on any date; check the scene classes in 'clear'")
    files = [
        write_array(tile.path / "band_mean.npy", statistics.mean),
        write_array(tile.path / "band_std.npy", statistics.std),
    ]
    note_files(tile.path, [file.name for file in files])
    return files


def note_files(folder: Path, names: Sequence[str]) -> None:
    """Write the sha256 of arrays of a tile into its tile.json; one that was written by hand stays as it is."""
    info = Tile(folder).info
    if FILES in info:
        _write_info(folder, {**info, FILES: {**info[FILES], **hashes_of(folder, names)}})


def _write_info(folder: Path, info: dict[str, Any]) -> None:
    write_text(folder / TILE_JSON, json.dumps(seal(info), indent=1) + "\n")


def connected_fields(layers: Iterable[np.ndarray]) -> np.ndarray:
    """Number the connected areas (4 neighbours) where all ``layers (H, W)`` are constant: ``(H, W)`` int32 from 1."""
    from scipy.ndimage import label

    codes = np.unique(np.stack([np.asarray(layer).ravel() for layer in layers], 1), axis=0, return_inverse=True)[1]
    codes = codes.reshape(np.asarray(next(iter(layers))).shape)
    fields = np.zeros(codes.shape, np.int32)
    for code in np.unique(codes):
        parts, _ = label(codes == code)
        fields = np.where(parts > 0, parts + fields.max(), fields)
    return fields
