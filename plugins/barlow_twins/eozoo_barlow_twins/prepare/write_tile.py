"""Writing the documented tile folder: date by date, with statistics of the clear pixels, complete or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.sealed import FILES, hashes_of, seal
from eozoo_core.run.writing import make_mapped_array, new_folder
from eozoo_core.run.written import write_array, write_text
from eozoo_core.score.statistics import ChannelStatistics

from eozoo_barlow_twins.tiles import TILE_JSON, Tile

STRIP_BYTES = 64 * 2**20


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
    """Takes ``put(date number, row, values, clear)`` in any order; see `new_tile`."""

    def __init__(self, folder: Path, plan: TilePlan):
        t, h, w, c = len(plan.dates), plan.height, plan.width, len(plan.bands)
        self._bands = make_mapped_array(folder / "bands.npy", (t, h, w, c), np.uint16)
        self._masks = make_mapped_array(folder / "masks.npy", (t, h, w), np.uint8)

    def put(self, number: int, row: int, values: np.ndarray, clear: np.ndarray) -> None:
        """Write rows from ``row`` on of one date: values (n, W, C) digital numbers, clear (n, W) bool.

        Values are rounded and clipped to 0..65535; NaN (not finite) is never clear.
        """
        finite = np.isfinite(values).all(axis=-1)
        whole = np.rint(np.where(np.isfinite(values), values, 0)).clip(0, 65535)
        self._bands[number, row : row + values.shape[0]] = whole.astype(np.uint16)
        self._masks[number, row : row + values.shape[0]] = clear & finite

    def close(self) -> None:
        """Flush to disk."""
        self._bands.flush()
        self._masks.flush()


@contextmanager
def new_tile(path: Path, plan: TilePlan) -> Iterator[TileWriter]:
    """Make the tile folder ``path``; it appears when the block ends well. Raises ZooError where it exists already."""
    if not plan.dates:
        raise ZooError(f"{path.name}: no date was found in the raw files; check their names and the bands asked for")
    if path.exists():
        raise ZooError(f"{path}: exists already; delete it or choose another tile name")
    with new_folder(path) as folder:
        writer = TileWriter(folder, plan)
        yield writer
        writer.close()
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
