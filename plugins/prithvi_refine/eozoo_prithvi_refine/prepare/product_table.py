"""Dates, biomes and offsets per product from a CSV file, for products whose names and files do not tell them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from eozoo_core.errors import ZooError, did_you_mean

from eozoo_prithvi_refine.settings import BIOMES

_COLUMNS = ("product", "date", "month", "biome", "offset")


@dataclass(frozen=True)
class Row:
    """What the table says of a product; "" and None = nothing. date: YYYYMMDD; offset: added to its numbers."""

    date: str = ""
    month: int | None = None
    biome: int | None = None
    offset: float | None = None


def read_product_table(path: Path | None, products: Sequence[str]) -> dict[str, Row]:
    """Return product -> row. Raises ZooError, one line, for a column, product or value that is none, and for a product
    that comes twice. Without ``path`` the table is empty.
    """
    if path is None:
        return {}
    found: dict[str, Row] = {}
    for number, cells in enumerate(_cells(path), 2):
        where, name = f"{path}, line {number}", cells.get("product", "")
        if name not in products:
            raise ZooError(f"{where}: no product is called {name!r}.{did_you_mean(name, products)}")
        if name in found:
            raise ZooError(f"{where}: {name} comes twice; keep one line of it")
        day = _day(cells.get("date", ""), where)
        month = _number(cells, "month", 1, 12, where)
        if day and month is not None and month != int(day[4:6]):
            raise ZooError(f"{where}: month {month:g} is not that of date {cells['date']}; keep one of them")
        biome = _number(cells, "biome", 0, BIOMES - 1, where)
        offset = _number(cells, "offset", -1e6, 1e6, where)
        found[name] = Row(day, None if month is None else int(month), None if biome is None else int(biome), offset)
    return found


def _cells(path: Path) -> list[Mapping[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = csv.reader(text.splitlines(), delimiter=";" if ";" in text.partition("\n")[0] else ",")
        rows = [[cell.strip() for cell in row] for row in lines if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"prepare.products {path}: cannot be read as a CSV file ({error})") from None
    header = rows[0] if rows else []
    for column in header:
        if column not in _COLUMNS:
            raise ZooError(f"{path}: has a column {column!r}.{did_you_mean(column, _COLUMNS)}")
    if "product" not in header:
        raise ZooError(f"{path}: has no column 'product'; it may have {', '.join(_COLUMNS)}")
    wrong = next((i for i, row in enumerate(rows[1:], 2) if len(row) != len(header)), None)
    if wrong is not None:
        raise ZooError(f"{path}, line {wrong}: has {len(rows[wrong - 1])} cells, the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


def _day(text: str, where: str) -> str:
    if not text:
        return ""
    try:
        return date.fromisoformat(text).strftime("%Y%m%d")
    except ValueError:
        raise ZooError(f"{where}: date {text!r} is no day; write YYYY-MM-DD") from None


def _number(cells: Mapping[str, str], column: str, low: float, high: float, where: str) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or (column != "offset" and value != int(value)):
        what = "a number" if column == "offset" else f"a whole number from {low:g} to {high:g}"
        raise ZooError(f"{where}: {column} {text!r} is not {what}")
    return value
