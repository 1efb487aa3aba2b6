"""What keeps the splits apart: times, or the ground of the stations. Described to core, which judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.checking import Place, Separation, Split

from eozoo_clay_ta.chunks import Chunk
from eozoo_clay_ta.grid import HALF, WINDOW, KoGrid

if TYPE_CHECKING:
    from eozoo_clay_ta.settings import ClaySettings


def samples_of(settings: ClaySettings, chunks: Mapping[str, Sequence[Chunk]]) -> tuple[list[Split], Separation]:
    """Describe the splits (name -> chunks) as ``prepare.build_index`` made them: no sample twice, and their times or,
    where it went by stations, the windows around these apart."""
    how = settings.prepare.build_index
    by_stations = how.split_by == "stations"
    grid = KoGrid(**settings.data.grid.model_dump())
    splits = [_split(name, found, grid if by_stations else None) for name, found in chunks.items()]
    separation = Separation(
        by_time=not by_stations,
        gap=np.timedelta64(how.gap_hours, "h"),
        repair="put stations whose windows overlap into one split: build the index again",
    )
    return splits, separation


def _split(name: str, chunks: Sequence[Chunk], grid: KoGrid | None) -> Split:
    """Samples of one split; one for each station and place where the ``grid`` is given, else one for each time."""
    keys = {f"station {m[1]} at {m[0]}": str(chunk.path) for chunk in chunks for m in chunk.meta}
    times = np.unique(np.array([m[0] for chunk in chunks for m in chunk.meta], "datetime64[s]"))
    files = [chunk.path for chunk in chunks]
    if grid is None:
        return Split(name, times.astype(str).tolist(), None, files, times=times, keys=keys, key="samples")
    crs, windows = grid.crs.to_string(), sorted({m[1:] for chunk in chunks for m in chunk.meta})

    def place(i: int) -> Place:
        station, col, row = windows[i]
        left, top = grid.left + (col - HALF) * grid.metres, grid.top - (row - HALF) * grid.metres
        side = WINDOW * grid.metres
        return Place(f"station {station}", (left, top - side, left + side, top), crs, grid.metres)

    names = [f"station {window[0]}" for window in windows]
    return Split(name, names, None, files, place, times, keys=keys, key="samples", what="stations")
