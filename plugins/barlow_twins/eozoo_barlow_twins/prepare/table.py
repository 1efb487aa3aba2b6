"""Step 'table': a parquet table of pixel time series -> a tile whose pixels are the rows of the table.

Columns OPTICAL-<band>-ts<N>-<resolution>m hold one monthly composite each, ``label`` a class per row and
``start_date`` the month of ts0. The tile has H = rows and W = 1; it is no map, and the split by place uses blocks.npy,
which numbers the groups of equal ``h3_l3_cell`` or, without that column, whole degrees of lat and lon.
"""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.sentinel2 import Source, scaling_of
from eozoo_core.run.written import write_text

from eozoo_barlow_twins.prepare.report import Report
from eozoo_barlow_twins.prepare.settings import TableSettings
from eozoo_barlow_twins.prepare.write_tile import TilePlan, new_tile

_COLUMN = re.compile(r"OPTICAL-(B\d\d|B8A)-ts(\d+)-\d+m")


def prepare_table(settings: TableSettings, folder: Path) -> Path:
    """Make the tile; legend.json in it maps label codes to names. Raises ZooError for missing columns."""
    if not settings.file or not settings.tile:
        raise ZooError("prepare.table.file and prepare.table.tile must be given with --set")
    table = _read(Path(settings.file))
    columns = {m.groups(): n for n in table.column_names if (m := _COLUMN.fullmatch(n))}
    steps = sorted({int(step) for _, step in columns})
    missing = [b for b in settings.bands if any((b, str(s)) not in columns for s in steps)]
    if missing or not steps:
        raise ZooError(f"{settings.file}: lacks columns OPTICAL-{missing[0] if missing else 'Bxx'}-tsN-..m")
    if settings.label not in table.column_names:
        raise ZooError(f"{settings.file}: has no column {settings.label!r}; name one with prepare.table.label")
    rows = table.num_rows
    names = [str(v) if v is not None else "" for v in table[settings.label].to_pylist()]
    legend = {name: code for code, name in enumerate(sorted(set(names) - {""}), 1)}
    labels = np.array([legend.get(name, 0) for name in names], np.uint8)[:, None]
    layers = {"labels.npy": labels, "blocks.npy": _places(table)[:, None]}
    dates = _months(table, steps)
    source = Path(settings.file)
    rule = scaling_of(Source(source), settings.offset, "prepare.table.offset")
    report = Report({source: rule})
    plan = TilePlan(
        settings.bands, dates, rows, 1, source=f"table {source.name}", layers=layers, scaling=report.scaling()
    )  # fmt: skip
    with new_tile(folder / settings.tile, plan) as writer:
        for number, step in enumerate(steps):
            values = np.stack([table[columns[b, str(step)]].to_numpy() for b in settings.bands], -1)
            values = values.astype(np.float32)[:, None, :]
            observed = (values != settings.nodata).all(-1)
            writer.put(number, 0, *report.numbers(rule(values), observed))
    report.tell(settings.tile, dates, {"labels.npy": labels})
    write_text(folder / settings.tile / "legend.json", json.dumps({c: n for n, c in legend.items()}, indent=1))
    return folder / settings.tile


def _read(file: Path) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise ZooError("step 'table' reads Parquet with pyarrow; pip install 'eozoo-barlow-twins[table]'") from None
    try:
        return parquet.read_table(file)
    except (OSError, ValueError) as error:
        raise ZooError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())})") from None


def _months(table: Any, steps: list[int]) -> tuple[date, ...]:
    """The middle of each month, counted from the most frequent start month of the rows."""
    starts = (
        [str(v)[:7] for v in table["start_date"].to_pylist()] if "start_date" in table.column_names else ["2020-01"]
    )
    year, month = map(int, max(sorted(set(starts)), key=starts.count).split("-"))
    return tuple(date(year + (month - 1 + s) // 12, (month - 1 + s) % 12 + 1, 15) for s in steps)


def _places(table: Any) -> np.ndarray:
    """A number per row for the place it lies in."""
    if "h3_l3_cell" in table.column_names:
        keys = [str(v) for v in table["h3_l3_cell"].to_pylist()]
    else:
        lat, lon = (np.floor(table[n].to_numpy()).astype(int).tolist() for n in ("lat", "lon"))
        keys = [f"{a} {b}" for a, b in zip(lat, lon, strict=True)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int32)
