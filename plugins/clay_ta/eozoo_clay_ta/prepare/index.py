"""Step build_index: scenes and station tables -> index_train.csv, index_val.csv and index_test.csv."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.parsed import reason_of
from eozoo_core.run.written import write_table, write_text

from eozoo_clay_ta.grid import WINDOW, KoGrid
from eozoo_clay_ta.scenes import ScenePaths, find_scenes
from eozoo_clay_ta.settings import IndexSettings
from eozoo_clay_ta.stations import Labels, Position, read_labels, read_positions

SPLITS = ("train", "val", "test")
OBSERVATIONS = "observations.csv"
_PATHS = ("path_bt", "path_rf", "path_sza")
_LETTERS = {"t": "train", "v": "val", "e": "test"}


@dataclass(frozen=True)
class Row:
    """One sample of the index. ta in degC, pixel_x = column, pixel_y = row, timestamp_utc = YYYY-MM-DDTHH:MM.

    Paths in the file are relative to its folder, so that index and scenes can be moved together.
    """

    timestamp_utc: str
    stn: int
    lat: float
    lon: float
    pixel_x: int
    pixel_y: int
    year: int
    ta: float
    path_bt: str
    path_rf: str
    path_sza: str


def build_index(settings: IndexSettings, folder: Path, grid: KoGrid) -> tuple[list[Path], dict[str, int]]:
    """Write the three indices, all observations and a summary into ``folder``; return files and counts.

    The counts are the rows of each split and, under "dropped: ...", what was left out and why. Raises ZooError where a
    split stays empty or two splits leak into each other.
    """
    scenes = find_scenes(Path(settings.scenes_dir))
    labels = read_labels(Path(settings.labels))
    counts: Counter[str] = Counter()
    rows = _match(scenes, labels, read_positions(Path(settings.stations)), grid, counts)
    split = _split(rows, settings, counts)
    for name in SPLITS:
        if not split[name]:
            raise ZooError(f"{folder}: split {name!r} would be empty; {_hint(settings)} ({_said(counts)})")
    check_leakage(split, settings)
    files = [_write_rows(folder / f"index_{name}.csv", split[name]) for name in SPLITS]
    files.append(_write_observations(folder / OBSERVATIONS, labels))
    summary = {**{name: len(split[name]) for name in SPLITS}, **dict(sorted(counts.items()))}
    how = settings.model_dump(mode="json", exclude={"scenes_dir", "labels", "stations"})
    text = json.dumps({"counts": summary, "settings": how}, indent=2, ensure_ascii=False)
    return [*files, write_text(folder / "index_summary.json", text)], summary


def read_rows(path: Path, chunk: int) -> Iterator[list[Row]]:
    """Yield the rows of an index, at most ``chunk`` at a time. Raises ZooError for other columns or values."""
    types = {f.name: {"int": int, "float": float, "str": str}[f.type] for f in fields(Row)}
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in types if name not in (reader.fieldnames or [])]
            if missing:
                raise ZooError(
                    f"{path}: has no column {missing[0]!r}; build it with 'eozoo prepare clay_ta build_index'"
                )
            while part := list(islice(reader, chunk)):
                rows = [Row(**{name: kind(line[name]) for name, kind in types.items()}) for line in part]
                yield [replace(row, **{name: _absolute(getattr(row, name), path) for name in _PATHS}) for row in rows]
    except OSError as error:
        raise ZooError(f"{path}: cannot be read ({error.strerror}); run 'eozoo prepare clay_ta build_index'") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise ZooError(f"{path} line {reader.line_num}: a value cannot be read ({reason_of(error)})") from None


def check_leakage(split: dict[str, list[Row]], settings: IndexSettings) -> None:
    """Raise ZooError where samples of two splits are too close: in time, or by overlapping windows of stations."""
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    for one, two in pairs:
        if settings.split_by == "stations":
            _check_stations(split, one, two)
            continue
        a, b = (np.unique([np.datetime64(r.timestamp_utc, "m") for r in split[s]]) for s in (one, two))
        after = np.searchsorted(a, b)
        nearest = min(
            np.abs(b - a[np.clip(after - 1, 0, None)]).min(), np.abs(b - a[np.clip(after, None, len(a) - 1)]).min()
        )
        if nearest < np.timedelta64(settings.gap_hours, "h") or nearest == np.timedelta64(0, "h"):
            raise ZooError(f"index: samples of {one} and {two} lie only {nearest} apart; raise block_days or gap_hours")


def _check_stations(split: dict[str, list[Row]], one: str, two: str) -> None:
    a, b = (sorted({(r.pixel_x, r.pixel_y, r.stn) for r in split[s]}) for s in (one, two))
    for x, y, stn in a:
        for other_x, other_y, other in b:
            if abs(x - other_x) < WINDOW and abs(y - other_y) < WINDOW:
                raise ZooError(
                    f"index: the windows of stations {stn} ({one}) and {other} ({two}) overlap; put both in one split"
                )


def _match(
    scenes: dict[str, ScenePaths],
    labels: Labels,
    positions: dict[int, list[Position]],
    grid: KoGrid,
    counts: Counter[str],
) -> list[Row]:
    """One row per label that has a scene, a temperature and a place on the grid; the others are counted."""
    stamps = np.array([f"{s[:4]}-{s[4:6]}-{s[6:8]}T{s[8:10]}:{s[10:12]}" for s in scenes], "datetime64[m]")
    by_time = dict(zip(stamps.tolist(), scenes.values()))
    seen = np.isin(labels.time, stamps)
    counts["dropped: no scene at that time"] += int((~seen).sum())
    counts["dropped: temperature missing"] += int((seen & np.isnan(labels.ta)).sum())
    usable = seen & ~np.isnan(labels.ta)
    rows = []
    for stn in np.unique(labels.stn[usable]).tolist():
        mine = np.flatnonzero(usable & (labels.stn == stn))
        placed = 0
        for period in positions.get(stn, []):
            held = mine[(labels.time[mine] >= period.start) & (labels.time[mine] < period.end)]
            placed += len(held)
            col, row = (int(np.rint(v)) for v in grid.pixel_of(period.lat, period.lon))
            if not grid.holds_window(np.int64(col), np.int64(row)):
                counts[f"dropped: station {stn} outside the grid or at its edge"] += len(held)
                continue
            for i in held.tolist():
                time = labels.time[i]
                paths = by_time[time.item()]
                year = time.item().year
                value = round(float(labels.ta[i]), 2)
                where = (period.lat, period.lon, col, row)
                rows.append(Row(str(time), stn, *where, year, value, paths.bt, paths.rf, paths.sza))
        if placed < len(mine):
            why = "no position at that time" if stn in positions else "not in the table of stations"
            counts[f"dropped: station {stn} {why}"] += len(mine) - placed
    return sorted(rows, key=lambda r: (r.timestamp_utc, r.stn))


def _split(rows: list[Row], settings: IndexSettings, counts: Counter[str]) -> dict[str, list[Row]]:
    split: dict[str, list[Row]] = {name: [] for name in SPLITS}
    if settings.split_by == "stations":
        for row in rows:
            name = (
                "test" if row.stn in settings.test_stations else "val" if row.stn in settings.val_stations else "train"
            )
            split[name].append(row)
        return split
    where = _split_times(sorted({r.timestamp_utc for r in rows}), settings)
    for row in rows:
        name = where[row.timestamp_utc]
        if name in split:
            split[name].append(row)
        else:
            counts[f"dropped: {name}"] += 1
    return split


def _split_times(times: list[str], settings: IndexSettings) -> dict[str, str]:
    """Time stamp -> split, or why it is in none: skipped by the pattern, or within the gap after another split."""
    where, last = {}, {}
    gap = np.timedelta64(settings.gap_hours, "h")
    for text in times:
        time = np.datetime64(text, "m")
        name = _by_date(text, settings) if settings.split_by == "dates" else _by_block(text, times[0], settings)
        if name in SPLITS:
            if any(time - before < gap for other, before in last.items() if other != name):
                name = "in the gap between two splits"
            else:
                last[name] = time
        where[text] = name
    return where


def _by_date(text: str, settings: IndexSettings) -> str:
    if not settings.val_from < settings.test_from:
        raise ZooError("prepare.build_index: split_by=dates needs val_from before test_from, both YYYY-MM-DD")
    return "test" if text >= settings.test_from else "val" if text >= settings.val_from else "train"


def _by_block(text: str, first: str, settings: IndexSettings) -> str:
    days = (np.datetime64(text[:10]) - np.datetime64(first[:10])).astype(int)
    letter = settings.pattern[int(days) // settings.block_days % len(settings.pattern)]
    return _LETTERS.get(letter, "left out by the pattern")


def _write_rows(path: Path, rows: list[Row]) -> Path:
    folder = path.parent.resolve()
    shown = {
        p: os.path.relpath(Path(p).resolve(), folder) if p else ""
        for r in rows
        for p in (r.path_bt, r.path_rf, r.path_sza)
    }
    cells = [[shown[value] if name in _PATHS else value for name, value in vars(row).items()] for row in rows]
    return write_table(path, [f.name for f in fields(Row)], cells)


def _write_observations(path: Path, labels: Labels) -> Path:
    """All temperatures, also without a scene: persistence needs those of the day before."""
    known = ~np.isnan(labels.ta)
    lines = [f"{t},{s},{v:.2f}\n" for t, s, v in zip(labels.time[known], labels.stn[known], labels.ta[known])]
    return write_text(path, "timestamp_utc,stn,ta\n" + "".join(lines))


def _absolute(given: str, index: Path) -> str:
    return str(index.parent / given) if given else ""


def _hint(settings: IndexSettings) -> str:
    if settings.split_by == "stations":
        return "name stations in prepare.build_index.val_stations and test_stations"
    return "look at prepare.build_index: pattern, block_days, val_from and test_from"


def _said(counts: Counter[str]) -> str:
    return "; ".join(f"{why}: {n}" for why, n in counts.most_common(4)) or "nothing was dropped"
