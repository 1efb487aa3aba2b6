"""Air temperature at weather stations: ASOS tables as KMA gives them, and where the stations were, and when.

Times in the files are Korean (KST); everything here is UTC. Missing is NaN.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from eozoo_core import ZooError

KST = np.timedelta64(9, "h")
PLAUSIBLE = (-40.0, 45.0)  # degrees Celsius in Korea; all codes for missing TA (-99, -99.9, -999) lie outside
_TA_COLUMN = 11  # of the text interface: TM STN WD WS GST_WD GST_WS GST_TM PA PS PT PR TA ...
_NAMES = {
    "stn": ("지점", "STN", "STN_ID", "지점번호"),
    "time": ("일시", "TM"),
    "ta": ("기온(°C)", "기온(℃)", "기온", "TA"),
    "start": ("시작일",),
    "end": ("종료일",),
    "lat": ("위도", "LAT"),
    "lon": ("경도", "LON"),
}


@dataclass(frozen=True)
class Labels:
    """Hourly temperatures: time (N,) datetime64[m] UTC, stn (N,) int, ta (N,) float32 degC, NaN = missing."""

    time: np.ndarray
    stn: np.ndarray
    ta: np.ndarray


@dataclass(frozen=True)
class Position:
    """Where a station stood from ``start`` on and before ``end`` (datetime64[m], UTC)."""

    stn: int
    lat: float
    lon: float
    start: np.datetime64
    end: np.datetime64


def read_labels(folder: Path) -> Labels:
    """Read all ``.csv`` and ``.txt`` tables in ``folder`` (or one file), sorted by time and station.

    Each is the text interface's table (lines of '#', 46 columns) or the portal's CSV, in EUC-KR or UTF-8. A time and
    station given twice must be given with the same value. Raises ZooError naming file and line.
    """
    files = [folder] if folder.is_file() else sorted(f for f in folder.glob("*") if f.suffix in (".csv", ".txt"))
    if not files:
        raise ZooError(f"{folder}: holds no .csv or .txt table of temperatures")
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise ZooError(f"{folder}: the tables hold no line of data")
    time = np.array([row[0] for row in rows], "datetime64[m]")
    stn = np.array([row[1] for row in rows], np.int64)
    ta = np.array([row[2] for row in rows], np.float32)
    order = np.lexsort((stn, time))
    time, stn, ta = time[order], stn[order], ta[order]
    again = (time[1:] == time[:-1]) & (stn[1:] == stn[:-1])
    differs = again & (ta[1:] != ta[:-1]) & ~(np.isnan(ta[1:]) & np.isnan(ta[:-1]))
    if differs.any():
        i = int(differs.argmax())
        raise ZooError(f"{folder}: station {stn[i]} has two temperatures at {time[i]} UTC: {ta[i]} and {ta[i + 1]}")
    keep = np.r_[True, ~again]
    return Labels(time[keep], stn[keep], ta[keep])


def read_positions(file: Path) -> dict[int, list[Position]]:
    """Read the portal's table of stations: number, period of validity, latitude and longitude.

    Raises ZooError for a file without these columns, and where two periods of a station overlap: it can have been in
    one place only.
    """
    found: dict[int, list[Position]] = {}
    for number, row in _csv(file, ("stn", "lat", "lon")):
        try:
            stn, lat, lon = int(row["stn"]), float(row["lat"]), float(row["lon"])
            start, end = _day(row.get("start"), "1900-01-01"), _day(row.get("end"), "2100-01-01")
        except ValueError:
            raise ZooError(f"{file} line {number}: station, period or position cannot be read") from None
        if not (-90 <= lat <= 90 and -180 <= lon <= 180):
            raise ZooError(f"{file} line {number}: station {stn} at latitude {lat}, longitude {lon} is nowhere")
        found.setdefault(stn, []).append(Position(stn, lat, lon, start, end))
    for stn, periods in found.items():
        periods.sort(key=lambda p: p.start)
        for a, b in pairwise(periods):
            if a.end > b.start:
                raise ZooError(
                    f"{file}: two positions of station {stn} hold at {b.start} (KST - 9 h); mend the periods"
                )
    return found


def position_at(periods: list[Position], time: np.datetime64) -> Position | None:
    """Return where a station was at ``time`` UTC, or None where no period holds."""
    return next((p for p in periods if p.start <= time < p.end), None)


def _rows(file: Path) -> Iterator[tuple[np.datetime64, int, float]]:
    text = _text(file)
    if text.lstrip().startswith("#"):
        yield from _api_rows(file, text)
        return
    for number, row in _csv(file, ("stn", "time", "ta")):
        try:
            yield _time(row["time"]) - KST, int(row["stn"]), _temperature(row["ta"])
        except ValueError:
            told = ", ".join(row[name][:24] for name in ("stn", "time", "ta"))
            raise ZooError(f"{file} line {number}: {told} cannot be read") from None


def _api_rows(file: Path, text: str) -> Iterator[tuple[np.datetime64, int, float]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = re.split(r"[,\s]+", line.strip())
        if len(cells) <= _TA_COLUMN:
            raise ZooError(f"{file} line {number}: {len(cells)} columns, the hourly ASOS table has about 46")
        try:
            yield _time(cells[0]) - KST, int(cells[1]), _temperature(cells[_TA_COLUMN])
        except ValueError:
            raise ZooError(f"{file} line {number}: time, station or temperature cannot be read") from None


def _csv(file: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, our name -> cell) of a CSV with any of the known column names."""
    reader = csv.reader(_text(file).splitlines())
    try:
        rows = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise ZooError(f"{file} line {reader.line_num}: cannot be read as CSV ({error})") from None
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    places = {ours: next((header.index(n) for n in names if n in header), None) for ours, names in _NAMES.items()}
    for name in needed:
        if places[name] is None:
            raise ZooError(
                f"{file}: has no column {_NAMES[name][0]!r}; found {', '.join(header[:8])[:90] or 'nothing'}"
            )
    for number, cells in rows[1:]:
        if any(cells):
            yield (
                number,
                {k: cells[i].strip() if i < len(cells) else "" for k, i in places.items() if i is not None},
            )


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ZooError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return content.decode("cp949")
        except UnicodeDecodeError:
            raise ZooError(f"{file}: is neither UTF-8 nor EUC-KR text") from None


def _time(text: str) -> np.datetime64:
    """``YYYYMMDDHHMM`` or ``YYYY-MM-DD HH:MM``. Raises ValueError."""
    digits = re.sub(r"[^0-9]", "", text)
    if len(digits) < 10:
        raise ValueError(text)
    digits = digits.ljust(12, "0")
    day = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
    return np.datetime64(f"{day}T{digits[8:10]}:{digits[10:12]}", "m")


def _day(text: str | None, otherwise: str) -> np.datetime64:
    return np.datetime64((text or otherwise)[:10].replace("/", "-"), "m") - KST


def _temperature(text: str) -> float:
    """Blank and everything implausible is missing; -9.0 is a winter's day. Raises ValueError for other text."""
    value = float(text) if text else np.nan
    return value if PLAUSIBLE[0] <= value <= PLAUSIBLE[1] else np.nan
