"""The index: who is in which split, and that splits do not leak into each other."""

import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.prepare.index import Row, _split_times, build_index, check_leakage, read_rows
from eozoo_clay_ta.settings import IndexSettings
from eozoo_core import ZooError

ROW = Row("2022-01-03T03:00", 100, 37.0, 127.0, 10, 20, 2022, -5.0, "bt.npy", "rf.npy", "")


def rows_of(settings, split):
    return [r for part in read_rows(Path(settings.runtime.index_dir) / f"index_{split}.csv", 7) for r in part]


def test_columns_and_content(prepared):
    with (Path(prepared.runtime.index_dir) / "index_train.csv").open() as file:
        header = next(csv.reader(file))
    assert ",".join(header) == "timestamp_utc,stn,lat,lon,pixel_x,pixel_y,year,ta,path_bt,path_rf,path_sza"
    rows = rows_of(prepared, "train")
    grid = KoGrid(**prepared.data.grid.model_dump())
    for row in rows:
        col, line = grid.pixel_of(row.lat, row.lon)
        assert (row.pixel_x, row.pixel_y) == (round(float(col)), round(float(line)))
    assert Path(rows[0].path_bt.replace("*", "ir105_ko020lc")).exists()
    assert rows[0].path_sza == ""


def test_the_station_that_moved_has_two_places(prepared):
    places = {(r.pixel_x, r.pixel_y) for s in ("train", "val", "test") for r in rows_of(prepared, s) if r.stn == 100}
    assert len(places) == 2


def test_splits_share_no_time(prepared):
    times = [{r.timestamp_utc for r in rows_of(prepared, s)} for s in ("train", "val", "test")]
    assert not times[0] & times[1]
    assert not (times[0] | times[1]) & times[2]


def test_blocks_and_gap():
    times = [f"2022-01-{day:02d}T{hour:02d}:00" for day in range(1, 13) for hour in (0, 12)]
    where = _split_times(times, IndexSettings(block_days=4, pattern="tve", gap_hours=24))
    assert [where[t] for t in times[:8]] == ["train"] * 8
    assert where["2022-01-05T00:00"] == "in the gap between two splits"  # 12 hours after the last of train
    assert where["2022-01-05T12:00"] == "val"
    assert where["2022-01-09T00:00"] == "in the gap between two splits"
    assert where["2022-01-12T12:00"] == "test"
    skipping = _split_times(times, IndexSettings(block_days=4, pattern="tvse", gap_hours=0))
    assert skipping["2022-01-09T00:00"] == "left out by the pattern"


def test_dates():
    settings = IndexSettings(split_by="dates", val_from="2022-02-01", test_from="2022-03-01", gap_hours=0)
    where = _split_times(["2022-01-31T23:00", "2022-02-01T00:00", "2022-03-01T00:00"], settings)
    assert list(where.values()) == ["train", "val", "test"]
    with pytest.raises(ZooError, match=r"needs val_from before test_from"):
        _split_times(["2022-01-31T23:00"], settings.model_copy(update={"val_from": "2022-04-01"}))


def test_leaks_are_errors():
    later = replace(ROW, timestamp_utc="2022-01-03T15:00")
    with pytest.raises(ZooError, match=r"samples of train and val lie only 720 minutes apart"):
        check_leakage({"train": [ROW], "val": [later], "test": [later]}, IndexSettings())
    stations = IndexSettings(split_by="stations")
    near, far = replace(ROW, stn=101, pixel_x=18), replace(ROW, stn=102, pixel_x=19)
    check_leakage({"train": [ROW], "val": [far], "test": [replace(far, stn=103, pixel_x=28)]}, stations)
    with pytest.raises(ZooError, match=r"windows of stations 100 .train. and 101 .val. overlap"):
        check_leakage({"train": [ROW], "val": [near], "test": [far]}, stations)


def test_what_is_dropped_is_counted(prepared, tmp_path):
    given = prepared.prepare.build_index
    stations = tmp_path / "stations.csv"
    text = Path(given.stations).read_bytes().decode("cp949").splitlines()
    lines = [line for line in text if not line.startswith("103,")]  # 103 is not in the table
    lines = ["104,2000-01-01,,x,30.0,150.0" if line.startswith("104,") else line for line in lines]
    stations.write_text("\n".join(lines))
    grid = KoGrid(**prepared.data.grid.model_dump())
    _, counts = build_index(given.model_copy(update={"stations": str(stations)}), tmp_path, grid)
    assert counts["dropped: station 103 not in the table of stations"] >= 8
    assert counts["dropped: station 104 outside the grid or at its edge"] >= 8
    assert counts["dropped: no scene at that time"] > 100  # the days before, kept for persistence
    assert json.loads((tmp_path / "index_summary.json").read_text())["counts"] == counts
    with pytest.raises(ZooError, match=r"split 'val' would be empty"):
        build_index(given.model_copy(update={"split_by": "stations"}), tmp_path, grid)


def test_observations_hold_the_day_before(prepared):
    lines = (Path(prepared.runtime.index_dir) / "observations.csv").read_text().splitlines()[1:]
    times = {np.datetime64(line.split(",")[0]) for line in lines}
    for row in rows_of(prepared, "test"):
        assert np.datetime64(row.timestamp_utc) - np.timedelta64(24, "h") in times


def test_an_index_that_cannot_be_read(tmp_path):
    file = tmp_path / "index_train.csv"
    with pytest.raises(ZooError, match=r"run 'eozoo prepare clay_ta build_index'"):
        list(read_rows(file, 10))
    file.write_text("timestamp_utc,stn\n2022,1\n")
    with pytest.raises(ZooError, match=r"has no column 'lat'"):
        list(read_rows(file, 10))
    file.write_text(",".join(f.name for f in fields(Row)) + "\n2022-01-03T03:00,1,37,127,a,1,2022,1,b,r,\n")
    with pytest.raises(ZooError, match=r"index_train.csv line 2: a value cannot be read"):
        list(read_rows(file, 10))
