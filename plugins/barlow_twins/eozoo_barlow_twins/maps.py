"""From tiles to arrays of outputs per pixel: blocks of rows, several at once, bounded memory, able to go on.

The outputs of a tile are collected in a memory-mapped array in a hidden folder beside the maps, with a list of the
rows that are done. A stopped run finds them again and encodes only what is missing; finished maps are not made twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import sha256
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.progress import progress_bar
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.precision import precision_in_use

from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder
from eozoo_barlow_twins.files import publish
from eozoo_barlow_twins.tiles import Tile

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run

    from eozoo_barlow_twins.batches import PixelIndex

_KEEP_EVERY = 5.0  # seconds between notes of what is done


def find_tiles(source: Path) -> list[Tile]:
    """The tile at ``source``, or every tile of that folder, by name. Raises ZooError where there is none."""
    source = Path(source)
    if (source / "bands.npy").exists():
        return [Tile(source)]
    folders = sorted(p.parent for p in source.glob("*/bands.npy")) if source.is_dir() else []
    if not folders:
        raise ZooError(f"{source}: is no tile folder (bands.npy in it) and holds none; 'eozoo prepare' makes one")
    return [Tile(p) for p in folders]


def stamp_of(run: Run, tile: Tile) -> str:
    """What a map depends on, as one hash: weights, input, how dates are chosen, and the arithmetic."""
    s = run.settings.infer
    precision = precision_in_use(run, "infer", resolve_device(run.settings.runtime.device))
    parts = [sha256(run.file("best")), fingerprint([tile.path / "bands.npy", tile.path / "masks.npy"], tile.path)]
    parts += [s.selection, s.passes, s.seed, precision]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@contextmanager
def encoded(run: Run, encoder: SeriesEncoder, tile: Tile, dest: Path) -> Iterator[np.ndarray]:
    """The outputs of every pixel of a tile, ``(H, W, K)`` float32 memory-mapped, NaN = too few clear dates.

    The array is deleted when the block ends well and kept, to go on from, when it does not.
    """
    info = EncoderInfo.of(run)
    channels = tile.select(info.bands)
    tile.counts  # noqa: B018 - checks the masks before anything is written
    tile.doys  # noqa: B018
    dest.mkdir(parents=True, exist_ok=True)
    work = dest / f".{tile.name}.part"
    _, h, w, _ = tile.shape
    values, progress = _open_part(work, (h, w, encoder.outputs), stamp_of(run, tile))
    step = max(1, run.settings.infer.block_pixels // w)
    todo = [row for row in range(0, h, step) if row not in progress.done]

    def block(row: int) -> None:
        stop = min(row + step, h)
        bands, clear = tile.rows(row, stop)
        items = np.arange(row * w, stop * w)
        whole = np.array_equal(channels, np.arange(bands.shape[2]))
        result = encoder(bands if whole else bands[:, :, channels], clear, tile.doys, items)
        values[row:stop] = result.reshape(stop - row, w, -1)

    with progress_bar(tile.name, h, "rows", run.settings.runtime.quiet) as bar:
        try:
            with ThreadPoolExecutor(run.settings.infer.workers) as pool:
                for row, _ in zip(todo, pool.map(block, todo), strict=True):
                    progress.add(row, values)
                    bar.update(min(row + step, h))
        finally:
            progress.keep(values)
    yield values
    shutil.rmtree(work)


def encode_numbers(
    encoder: SeriesEncoder, index: PixelIndex, numbers: np.ndarray, bands: tuple[str, ...]
) -> np.ndarray:
    """Outputs ``(n, K)`` float32 of the pixels ``numbers`` of an index."""
    out = np.full((len(numbers), encoder.outputs), np.nan, np.float32)
    for number, places, pixels in index.groups(numbers):
        tile = index.tiles[number]
        channels = tile.select(bands)
        for start in range(0, len(pixels), 4096):  # bounds the memory of whole series
            part = slice(start, start + 4096)
            series, clear = tile.series(pixels[part])
            out[places[part]] = encoder(series[:, :, channels], clear, tile.doys, pixels[part])
    return out


class _Progress:
    """Which blocks of rows are done; on disk only after their values are."""

    def __init__(self, file: Path, stamp: str, done: set[int]):
        self._file, self._stamp, self.done = file, stamp, done
        self._kept, self._lock = time.monotonic(), threading.Lock()

    def add(self, row: int, values: Any) -> None:
        self.done.add(row)
        if time.monotonic() - self._kept > _KEEP_EVERY:
            self.keep(values)

    def keep(self, values: Any) -> None:
        with self._lock:
            values.flush()
            publish(self._file, json.dumps({"stamp": self._stamp, "done": sorted(self.done)}).encode())
            self._kept = time.monotonic()


def _open_part(work: Path, shape: tuple[int, ...], stamp: str) -> tuple[np.ndarray, _Progress]:
    """The unfinished array of a tile: an earlier one of the same stamp, else a new one."""
    file, note = work / "values.npy", work / "done.json"
    try:
        kept = json.loads(note.read_text())
        values = np.load(file, mmap_mode="r+", allow_pickle=False)
        if kept["stamp"] == stamp and values.shape == shape:
            return values, _Progress(note, stamp, set(kept["done"]))
    except (OSError, ValueError, KeyError):
        pass  # none there, or cut short by a crash: begin again
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        free, needed = shutil.disk_usage(work).free, 4 * int(np.prod(shape, dtype=np.int64))
        if needed > free:
            raise ZooError(f"{work.parent}: needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f} GB free")
        values = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    except OSError as error:
        raise ZooError(f"{work.parent}: cannot be written ({error.strerror}); choose another --output") from error
    return values, _Progress(note, stamp, set())
