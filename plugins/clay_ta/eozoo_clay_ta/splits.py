"""What keeps the splits apart: times, or the ground of the stations. Described to core, which judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.checking import Item, Place, Separation, Split

from eozoo_clay_ta.chunks import Chunk
from eozoo_clay_ta.grid import HALF, WINDOW, KoGrid
from eozoo_clay_ta.station_windows import StationWindows

if TYPE_CHECKING:
    from eozoo_clay_ta.data import Samples
    from eozoo_clay_ta.settings import ClaySettings


def samples_of(settings: ClaySettings, data: Mapping[str, Samples]) -> tuple[list[Split], Separation]:
    """Describe the splits (name -> samples): no sample twice, and their times or, where ``prepare.build_index`` goes by
    stations, the windows around these apart."""
    chunks = {name: found.samples.chunks for name, found in data.items() if not isinstance(found, StationWindows)}
    if chunks:
        return chunks_of(settings, chunks)
    grid, apart = _how(settings)
    return [_of_windows(name, found, grid) for name, found in data.items()], apart


def chunks_of(settings: ClaySettings, chunks: Mapping[str, Sequence[Chunk]]) -> tuple[list[Split], Separation]:
    """Describe splits of chunks in the same way."""
    grid, apart = _how(settings)
    return [_of_chunks(name, found, grid) for name, found in chunks.items()], apart


def _how(settings: ClaySettings) -> tuple[KoGrid | None, Separation]:
    """The grid where the splits are made by stations, and the separation."""
    how = settings.prepare.build_index
    by_stations = how.split_by == "stations"
    separation = Separation(
        by_time=not by_stations,
        gap=np.timedelta64(how.gap_hours, "h"),
        repair="put stations whose windows overlap into one split: build the index again",
    )
    return KoGrid(**settings.data.grid.model_dump()) if by_stations else None, separation


def _of_chunks(name: str, chunks: Sequence[Chunk], grid: KoGrid | None) -> Split:
    """Samples of one split; one for each station and place where the ``grid`` is given, else one for each time."""
    keys = {_key(m): str(chunk.path) for chunk in chunks for m in chunk.meta}
    times = np.unique(np.array([m[0] for chunk in chunks for m in chunk.meta], "datetime64[s]"))
    files = [chunk.path for chunk in chunks]
    if grid is None:
        return Split(name, times.astype(str).tolist(), None, files, times=times, keys=keys, key="samples")
    windows = sorted({m[1:] for chunk in chunks for m in chunk.meta})
    names = [f"station {window[0]}" for window in windows]
    place = lambda i: _place(windows[i], grid)  # noqa: E731
    return Split(name, names, None, files, place, times, keys=keys, key="samples", what="stations")


def _of_windows(name: str, data: StationWindows, grid: KoGrid | None) -> Split:
    """Samples of one split of another plugin, one by one, as `check` reads them."""

    def read(i: int) -> Item:
        sample = data.item(i)
        return Item(sample["x"], sample["target"])

    meta, names = data.meta(), [data.name(i) for i in range(len(data))]
    keys = {_key(m): found for m, found in zip(meta, names, strict=True)}
    place = None if grid is None else lambda i: _place(meta[i][1:], grid)
    return Split(name, names, read, (), place, data.times, keys=keys, key="samples")


def _key(meta: tuple) -> str:
    return f"station {meta[1]} at {meta[0]}"


def _place(window: tuple, grid: KoGrid) -> Place:
    """The ground of the window around (station, column, row)."""
    station, col, row = window
    left, top = grid.left + (col - HALF) * grid.metres, grid.top - (row - HALF) * grid.metres
    side = WINDOW * grid.metres
    return Place(f"station {station}", (left, top - side, left + side, top), grid.crs.to_string(), grid.metres)
