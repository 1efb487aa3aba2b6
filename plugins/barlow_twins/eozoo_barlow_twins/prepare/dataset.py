"""Step 'dataset': a registered dataset, of this plugin or another -> tiles.

Of series each sample becomes a pixel of one tile with H = samples and W = 1; it is no map. Of tiles each sample becomes
a tile of its own. Where samples have a "target" (codes of classes, 0 = no label), tiles get labels.npy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core import ZooError

from eozoo_barlow_twins.prepare.settings import DatasetSettings
from eozoo_barlow_twins.prepare.write_tile import TilePlan, new_tile

if TYPE_CHECKING:
    from eozoo_core.task import Registry


def prepare_dataset(settings: DatasetSettings, registry: Registry, folder: Path) -> list[Path]:
    """Write every sample into ``prepare.dataset.folder``, else into ``folder``; return the tiles.

    Raises ZooError where no dataset is named or a sample does not fit.
    """
    named = settings.series or settings.tiles
    if named is None or (settings.series and settings.tiles):
        raise ZooError("name one of prepare.dataset.series and prepare.dataset.tiles: which dataset is to be written?")
    data = registry.create("dataset", named.name, named.options)
    if not len(data):
        raise ZooError(f"dataset {named.name!r}: holds no sample; check its options")
    folder, tile = settings.folder or folder, settings.tile or named.name
    if settings.series:
        return [_write(folder / tile, _of_series(data, named.name), data, named.name)]
    names = [tile] if len(data) == 1 else [f"{tile}_{i:03d}" for i in range(len(data))]
    return [_write(folder / name, [_Rows(data[i], 0, named.name)], data, named.name) for i, name in enumerate(names)]


class _Rows:
    """Rows of a tile from ``row`` on: values (T, n, W, C), NaN = missing, clear (T, n, W), days of year (T,).

    codes (n, W): classes, 0 = no label; None where the sample has no "target".
    """

    def __init__(self, sample: dict[str, Any], row: int, name: str, height: int | None = None):
        arrays = {key: np.asarray(sample[key]) for key in ("bands", "doys") if key in sample}
        bands, doys = arrays.get("bands"), arrays.get("doys")
        if bands is None or doys is None or bands.ndim not in (2, 4) or doys.shape != bands.shape[:1]:
            shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
            raise ZooError(f"dataset {name!r}: a sample has {shapes}; expected bands (T, C) or (T, H, W, C), doys (T,)")
        if doys.min() < 0 or doys.max() > 366:  # 0 is the last day of the year before
            raise ZooError(f"dataset {name!r}: a sample has days {doys.min()} to {doys.max()}; a day of year is 1..366")
        self.row, self.doys = row, doys
        self.values = bands[:, None, None] if bands.ndim == 2 else bands
        masks = np.asarray(sample["masks"]) != 0 if "masks" in sample else np.ones(self.values.shape[:3], bool)
        self.clear, self.height = masks, height or self.values.shape[1]
        self.codes = self._codes(sample["target"], name) if "target" in sample else None

    def _codes(self, target: Any, name: str) -> np.ndarray:
        codes, shape = np.nan_to_num(np.asarray(target, np.float64)), self.values.shape[1:3]
        if codes.size != shape[0] * shape[1] or codes.min() < 0 or (codes % 1).any():
            raise ZooError(
                f"dataset {name!r}: a sample has target {codes.shape} from {codes.min():g} to {codes.max():g}, "
                f"expected whole numbers from 0 on for {shape[0]} x {shape[1]} pixels"
            )
        return codes.reshape(shape).astype(np.int32)


def _of_series(data: Any, name: str) -> Iterator[_Rows]:
    first = None
    for i in range(len(data)):
        rows = _Rows(data[i], i, name, len(data))
        first = rows.doys if first is None else first
        if not np.array_equal(rows.doys, first):
            raise ZooError(f"dataset {name!r}: sample {i} has other dates than the first; make a tile for each set")
        yield rows


def _write(path: Path, parts: Any, data: Any, name: str) -> Path:
    with ExitStack() as stack:
        writer = None
        for rows in parts:
            if writer is None:
                width, count = rows.values.shape[2:]
                bands = tuple(getattr(data, "bands", ())) or tuple(f"band_{i + 1}" for i in range(count))
                plan = TilePlan(bands, _dates(rows.doys), rows.height, width, source=f"dataset {name}")
                writer = stack.enter_context(new_tile(path, plan))
            if rows.codes is not None:
                empty = np.zeros((plan.height, plan.width), np.int32)
                plan.layers.setdefault("labels.npy", empty)[rows.row : rows.row + len(rows.codes)] = rows.codes
            for number in range(len(rows.doys)):
                writer.put(number, rows.row, rows.values[number].astype(np.float32), rows.clear[number])
    return path


def _dates(doys: np.ndarray) -> tuple[date, ...]:
    """Dates of some years (from 2001 on) with these days of year, which go on over the turn of a year."""
    years = np.concatenate([[0], np.cumsum(np.diff(doys) < 0)])
    return tuple(date(2001 + int(y), 1, 1) + timedelta(int(d) - 1) for y, d in zip(years, doys, strict=True))
