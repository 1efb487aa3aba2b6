"""Maps against stations: what a map says at the pixel of each station, beside what was measured there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.score.metrics import RegressionMetrics

from eozoo_clay_ta.prepare.index import read_rows
from eozoo_clay_ta.sample_schema import KELVIN

if TYPE_CHECKING:
    from eozoo_clay_ta.settings import ClaySettings


def compare_maps(settings: ClaySettings, split: str) -> dict[str, float]:
    """Return rmse_K, mae_K, bias_K and n of the maps in ``eval.maps_dir`` at the stations of the split's index.

    {} where no folder is set. A station whose pixel is missing in the map is not counted but for ``missing``. Raises
    ZooError where the folder has no map of any time of the index.
    """
    if not settings.eval.maps_dir:
        return {}
    folder = Path(settings.eval.maps_dir)
    index = Path(settings.runtime.index_dir) / f"index_{split}.csv"
    rows = [row for part in read_rows(index, 100_000) for row in part]
    metrics, missing = RegressionMetrics(), 0
    for stamp in sorted({r.timestamp_utc for r in rows}):
        file = folder / f"ta_{''.join(c for c in stamp if c.isdigit())}.tif"
        if not file.exists():
            continue
        here = [r for r in rows if r.timestamp_utc == stamp]
        values = _values(file, here)
        missing += int(np.isnan(values).sum())
        metrics.update(values, np.array([r.ta for r in here]))
    found = metrics.compute()
    if not found["n"]:
        raise ZooError(f"{folder}: has no map ta_YYYYMMDDHHMM.tif with a value at a time and station of {index}")
    return {
        "rmse_K": found["rmse"],
        "mae_K": found["mae"],
        "bias_K": found["bias"],
        "n": float(found["n"]),
        "missing": float(missing),
    }


def _values(file: Path, rows: list) -> np.ndarray:
    """Return degC at the rows' pixels, whatever the unit of the map."""
    from eozoo_core.raster.read import RasterReader

    with RasterReader(file) as reader:
        grid = reader.info.grid
        values = reader.read(grid.whole)[0].astype(np.float64)
        if reader.info.units[0] == "K":
            values = values - KELVIN
    if max(r.pixel_y for r in rows) >= grid.height or max(r.pixel_x for r in rows) >= grid.width:
        raise ZooError(f"{file}: is smaller than the grid of the index; give maps made by this run")
    return np.array([values[r.pixel_y, r.pixel_x] for r in rows])
