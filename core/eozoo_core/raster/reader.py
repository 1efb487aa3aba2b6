"""What every reader of rasters is, whatever it reads, and what it looks for in stored values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from eozoo_core.raster.info import RasterInfo

_HUGE = 1e18  # no quantity of this field is as large in its usual unit; the fill values of CF and of float32 are


class Reader:
    """What `open_reader` opens: a context manager with ``info``, ``read(window, bands)`` and ``thumbnail(longest)``.

    fillers: what `find_fillers` found in the stored values that were read so far, value -> pixels; None = not asked.
    """

    info: RasterInfo
    block_rows: int  # rows that the file stores together
    fillers: Counter[float] | None = None

    def close(self) -> None:
        """Let go of what is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Openable:
    """A scene that is more than one file; `open_reader` takes it where it takes a path.

    ``name``: what its maps are called; ``date``: of the scene, as 20200531, "" = not known.
    """

    name: str
    date: str

    def open(self, missing: Sequence[float] = ()) -> Reader:
        """Open it. ``missing``: stored values that mean missing, beside what is declared."""
        raise NotImplementedError


def find_fillers(stored: np.ndarray, hidden: Sequence[np.ndarray | None]) -> Counter[float]:
    """Count stored values (C, h, w) that people write for "nothing here", value -> how often.

    They are -9999, -32768, 65535 (uint16), huge floats, and 0 where three quarters of the bands or more are 0 (of three
    bands at least; such a pixel counts once). Not all bands, because a stack may hold two sensors.
    ``hidden``: per band the pixels that are known to be missing; None = none.
    """
    known = [np.False_ if one is None else one for one in hidden]
    found: Counter[float] = Counter()
    ends = [(np.fmin.reduce(values, None), np.fmax.reduce(values, None)) for values in stored]  # NaN aside
    for values, missing, (low, high) in zip(stored, known, ends, strict=True):
        if (mark := _filler_like(values, low, high)) is not None and mark.any():
            found.update(values[mark & ~missing].astype(float).tolist())
    if len(stored) > 2 and 4 * sum(low <= 0 <= high for low, high in ends) >= 3 * len(stored):
        zeros = sum(((band == 0) & ~gone).astype(np.int16) for band, gone in zip(stored, known, strict=True))
        found[0.0] += int((4 * zeros >= 3 * len(stored)).sum())
    return +found


def _filler_like(values: np.ndarray, low: float, high: float) -> np.ndarray | None:
    """Where the stored values of a band, ``low`` to ``high``, mean "nothing here" but 0; None = nowhere."""
    kind, odd = values.dtype.kind, None
    if kind in "fi" and values.dtype.itemsize > 1 and low <= -9999:
        odd = (values == -9999) | (values == -32768)
    if kind == "f" and max(-low, high) > _HUGE:
        huge = (np.abs(values) > _HUGE) & np.isfinite(values)
        return huge if odd is None else odd | huge
    return values == 65535 if values.dtype == np.uint16 and high == 65535 else odd
