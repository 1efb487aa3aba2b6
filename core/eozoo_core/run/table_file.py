"""Tables of any size as columns, and with columns added: CSV (comma, semicolon, tab or bar) and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import reason_of, unreadable
from eozoo_core.run.writing import make_folder_of, write_atomic

SUFFIXES = (".csv", ".tsv", ".parquet", ".geoparquet")
_PARQUET = (".parquet", ".geoparquet")
_DELIMITERS = (",", ";", "\t", "|")
_MISSING = frozenset(("", "na", "n/a", "nan", "null"))
_LOGICAL = {"true": "1", "false": "0"}
_ROWS = 2**15  # of a CSV file in memory as text
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_UNIT = re.compile(r"(.*\S)\s*[\[(]([^\[\]()]+)[\])]")


@dataclass(frozen=True)
class Column:
    """One column of a table, or one place of a column of arrays.

    name:   as settings call it: the header without its unit; "NAME[3]" is place 3 (from 0) of an array.
    unit:   as the header says it, "height [m]" or "height (m)", or a Parquet field's metadata; "" where nobody does.
    values: (n,) float64, NaN = missing, or (n,) object of str, None = missing.
    header: as it stands in the file.
    """

    name: str
    unit: str
    values: np.ndarray
    header: str

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.values.dtype.kind == "f"


def read_table(path: Path) -> dict[str, Column]:
    """Return the columns of a CSV or Parquet file by name. Raises ZooError, one line, for a file that is none.

    Empty fields, "NA", "NaN" and "null" are missing, and "None" among numbers (a class may be called so); columns of
    true and false are 1 and 0; numbers behind another delimiter than a comma may have a decimal comma. What is not
    UTF-8 or UTF-16 is read as Windows-1252. Geometries and other things that are neither number, text nor arrays of
    numbers are left out.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ZooError(f"{path}: is no table; give one of {', '.join(SUFFIXES)}")
    found: dict[str, Column] = {}
    for header, unit, values in _parquet(path) if path.suffix.lower() in _PARQUET else _csv(path):
        name, said = _split_unit(header)
        parts = {name: values} if values.ndim == 1 else {f"{name}[{i}]": values[:, i] for i in range(values.shape[1])}
        for key, part in parts.items():
            if key in found:
                raise ZooError(f"{path}: two columns are called {key!r}; rename one")
            found[key] = Column(key, unit or said, part, header)
    if not found or not len(next(iter(found.values())).values):
        raise ZooError(f"{path}: holds no row; give a table with a line of names and one for each sample")
    return found


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns, without a look at its rows; of arrays that of all places together."""
    if path.suffix.lower() in _PARQUET:
        return [_split_unit(name)[0] for name in _arrow(path, rows=False).names]
    with _opened(path) as (names, _, _):
        return [_split_unit(name)[0] for name in names]


def write_with(source: Path, path: Path, added: Mapping[str, np.ndarray], units: Mapping[str, str]) -> Path:
    """Write ``source`` with columns ``added`` (float, NaN = missing, or object of str) behind its own; return ``path``.

    Rows, their order and the columns that were there stay as they are; CSV becomes UTF-8 and keeps its delimiter and
    decimal comma. In CSV a missing value is an empty field, in Parquet null; ``units`` go into the headers,
    "height [m]", and into the fields of Parquet. Raises ZooError where a column of that name is there already.
    """
    headers = {name: f"{name} [{units[name]}]" if units.get(name, "") not in ("", "1") else name for name in added}
    make_folder_of(path)
    write = _write_parquet if source.suffix.lower() in _PARQUET else _write_csv
    write(
        source,
        path,
        {headers[name]: values for name, values in added.items()},
        {h: units.get(n, "") for n, h in headers.items()},
    )
    return path


def _split_unit(header: str) -> tuple[str, str]:
    found = _UNIT.fullmatch(header.strip())
    return (found[1], found[2].strip()) if found else (header.strip(), "")


# -- CSV --------------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], str, Iterator[list[str]]]]:
    """Yield the names in the header, the delimiter, and the rows behind it, blank ones left out."""
    with path.open(encoding=_coding(path), newline="", errors="replace") as file:
        try:
            line = next((line for line in file if line.strip()), "")
            if not line:
                raise ZooError(f"{path}: is empty; give a table with a line of names")
            while line.count('"') % 2 and (more := next(file, "")):  # a name of two lines
                line += more
            delimiter = max(_DELIMITERS, key=re.sub('"[^"]*"', "", line).count)
            rows = csv.reader(chain([line], file), delimiter=delimiter)
            names = [" ".join(name.split()) for name in next(rows)]
            yield names, delimiter, filter(None, rows)
        except (csv.Error, UnicodeError) as error:
            raise ZooError(f"{path}: cannot be read as CSV ({reason_of(error)})") from None


def _coding(path: Path) -> str:
    """Say how text is written: UTF-16, UTF-8, or else as Windows does it. Raises ZooError for what is no text."""
    try:
        with path.open("rb") as raw:
            start = raw.read(2**16)
            if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                return "utf-16"
            if b"\0" in start:
                raise ZooError(f"{path}: is not text; give a CSV file")
            decoder = codecs.getincrementaldecoder("utf-8")()
            for part in chain([start], iter(lambda: raw.read(2**20), b"")):
                decoder.decode(part)
            decoder.decode(b"", final=True)
    except OSError as error:
        raise unreadable(path, "a table", error) from None
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _blocks(path: Path, width: int, rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Yield many rows at a time. Raises ZooError for one with another number of fields than the header."""
    first = 2
    while block := list(islice(rows, _ROWS)):
        if set(map(len, block)) != {width}:
            number, fields = next((i, len(row)) for i, row in enumerate(block, first) if len(row) != width)
            raise ZooError(f"{path}: row {number} has {fields} fields, the header {width}; correct the file")
        yield block
        first += len(block)


def _csv(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    text: set[int] = set()
    while True:  # again where a column turned out to be text behind its first rows
        with _opened(path) as (names, delimiter, rows):
            parts: list[list[np.ndarray]] = [[] for _ in names]
            known = len(text)
            for block in _blocks(path, len(names), rows):
                for number, column in enumerate(zip(*block, strict=True)):
                    values = None if number in text else _numbers(column, delimiter != ",")
                    text |= {number} if values is None else set()
                    parts[number].append(_words(column) if values is None else values)
        if len(text) == known or not any(len({p.dtype for p in one}) > 1 for one in parts):
            break
    empty = [name for name, one in zip(names, parts) if name and not one]
    if empty:
        raise ZooError(f"{path}: holds no row below its line of names")
    yield from ((name, "", np.concatenate(one)) for name, one in zip(names, parts) if name)


def _numbers(column: Sequence[str], comma: bool) -> np.ndarray | None:
    """Return a column as float64, NaN = missing; None where a field is neither a number nor missing."""
    if "_" in "".join(column):
        return None  # float() would take plot 1_2 for 12
    try:
        return np.fromiter(map(float, column), np.float64, len(column))
    except ValueError:
        pass
    filled = ["nan" if field.strip().lower() in (*_MISSING, "none") else field for field in column]
    first = next((field for field in filled if field != "nan"), "").strip().lower()
    if first in _LOGICAL:
        filled = [_LOGICAL.get(field.strip().lower(), field) for field in filled]
    filled = [field.replace(",", ".") for field in filled] if comma else filled
    try:
        return np.fromiter(map(float, filled), np.float64, len(filled))
    except ValueError:
        return None


def _words(column: Sequence[str | None]) -> np.ndarray:
    found = np.empty(len(column), object)
    found[:] = [None if field is None or field.strip().lower() in _MISSING else field.strip() for field in column]
    return found


def _write_csv(source: Path, path: Path, added: Mapping[str, np.ndarray], units: Mapping[str, str]) -> None:
    def write(raw: IO[bytes]) -> None:
        with _opened(source) as (names, delimiter, rows):
            require_new(source, names, added)
            out = io.TextIOWrapper(raw, "utf-8", newline="")
            writer, start, comma = csv.writer(out, delimiter=delimiter, lineterminator="\n"), 0, False
            writer.writerow([*names, *added])
            for block in _blocks(source, len(names), rows):
                if not start and delimiter != ",":
                    comma = any(_DECIMAL_COMMA.fullmatch(field.strip()) for row in block for field in row)
                fields = [_fields(values[start : start + len(block)], comma) for values in added.values()]
                writer.writerows(map(operator.add, block, map(list, zip(*fields, strict=True))))
                start += len(block)
            out.flush()
            out.detach()

    write_atomic(path, write)


def _fields(values: np.ndarray, comma: bool) -> list[str]:
    if values.dtype == object:
        return ["" if value is None else value for value in values.tolist()]
    found = ["" if value != value else "%.7g" % value for value in values.tolist()]  # noqa: UP031 - twice as fast
    return [field.replace(".", ",") for field in found] if comma else found


def require_new(source: Path, names: Sequence[str], added: Mapping[str, Any]) -> None:
    """Raise ZooError where a column that would be added is there."""
    if there := [name for name in added if name in names]:
        raise ZooError(f"{source}: has a column {there[0]!r} already, which would be written; rename it")


# -- Parquet ----------------------------------------------------------------------------------------------------------


def _arrow(path: Path, rows: bool = True) -> Any:
    """Return the table of a Parquet file, or its schema. Raises ZooError where pyarrow is absent, naming the extra."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ZooError(f"{path}: Parquet needs pyarrow: pip install 'eozoo[vector]', or give a CSV file") from None
    try:
        with parquet.ParquetFile(path) as file:
            return file.read() if rows else file.schema_arrow
    except (OSError, ArrowException) as error:
        raise unreadable(path, "Parquet", error) from None


def _parquet(path: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    from_arrow = _arrow(path)
    for field, column in zip(from_arrow.schema, from_arrow.columns, strict=True):
        unit = (field.metadata or {}).get(b"unit", b"").decode(errors="replace")
        if (values := _values(path, field.name, column.combine_chunks())) is not None:
            yield field.name, unit, values


def _values(path: Path, name: str, column: Any) -> np.ndarray | None:
    """Return a column as float64 (n,) or (n, L), or as text; None where it is neither."""
    from pyarrow import compute, string, types

    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = compute.unique(compute.list_value_length(column).drop_null()).to_pylist()
        flat = compute.list_flatten(column) if len(lengths) == 1 else None
        values = None if flat is None or not lengths[0] else _values(path, name, flat)
        if len(lengths) > 1:
            raise ZooError(
                f"{path}: arrays in column {name!r} are {min(lengths)} to {max(lengths)} long; make them of one length"
            )
        if values is None or values.dtype != np.float64 or values.ndim != 1:
            return None
        found = np.full((len(column), lengths[0]), np.nan)
        found[np.asarray(column.is_valid())] = values.reshape(-1, lengths[0])
        return found
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return np.array(compute.cast(column, "float64", safe=False).to_numpy(zero_copy_only=False), np.float64)
    if types.is_dictionary(kind):
        return _values(path, name, column.dictionary_decode())
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_temporal(kind):
        return _words(compute.cast(column, string()).to_pylist())
    return None


def _write_parquet(source: Path, path: Path, added: Mapping[str, np.ndarray], units: Mapping[str, str]) -> None:
    table = _arrow(source)
    import pyarrow as pa
    from pyarrow import parquet

    require_new(source, table.column_names, added)
    for name, values in added.items():
        column = pa.array(values, from_pandas=True)
        told = {"unit": units[name]} if units[name] else None
        table = table.append_column(pa.field(name, column.type, metadata=told), column)
    write_atomic(path, lambda file: parquet.write_table(table, file))
