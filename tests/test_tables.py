"""Tables of samples: what is read, what is chosen and divided, what ``check`` says, tables and maps that come out."""

import csv

import numpy as np
import pytest
import torch
from affine import Affine
from eozoo.builtin.classification import Classification
from eozoo.builtin.scalar_regression import ScalarRegression
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.checking import Findings
from eozoo_core.errors import NoSplit
from eozoo_core.raster.cog import Band
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import read_whole
from eozoo_core.raster.small import write_small
from eozoo_core.run.table_file import column_names, read_table, write_with
from eozoo_core.tables.data import TableData, Target, open_samples, survey_table
from eozoo_core.tables.settings import TableDataSettings
from eozoo_core.tables.survey import TableSurvey
from eozoo_core.tables.system import per_band
from eozoo_core.tables.values import metres
from eozoo_core.task.survey import BandSurvey
from eozoo_core.train.loading import Draw
from rasterio.crs import CRS

QUIET = {"device": "cpu", "workers": 0, "tensorboard": False, "quiet": True}
SMALL = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2}


def columns_of(path):
    return {name: (column.unit, column.values.tolist()) for name, column in read_table(path).items()}


# -- files ------------------------------------------------------------------------------------------------------------


def test_csv_as_people_write_it(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        '\ufeffid;"höhe [m]";x (K);note;wet\n1;1,5;NA;"a;b";True\n\n2;;3;"line\nbreak";false\n007;-2,25;4;;\n'
    )
    found = columns_of(file)
    assert repr(found) == repr(
        {
            "id": ("", [1.0, 2.0, 7.0]),
            "höhe": ("m", [1.5, np.nan, -2.25]),
            "x": ("K", [np.nan, 3.0, 4.0]),
            "note": ("", ["a;b", "line\nbreak", None]),
            "wet": ("", [1.0, 0.0, np.nan]),
        }
    )


def test_words_are_no_numbers_and_classes_may_be_called_none(tmp_path):
    (tmp_path / "a.csv").write_text('"plot, old; id",damage\n1_2,none\n12,minor\n,NA\n')
    assert columns_of(tmp_path / "a.csv") == {
        "plot, old; id": ("", ["1_2", "12", None]),
        "damage": ("", ["none", "minor", None]),
    }
    (tmp_path / "b.csv").write_text("a\n1\nNone\n")
    assert repr(columns_of(tmp_path / "b.csv")) == repr({"a": ("", [1.0, np.nan])})


def test_csv_of_windows_comes_back_as_utf_8(tmp_path):
    source, out = tmp_path / "a.csv", tmp_path / "b.csv"
    source.write_bytes('"höhe\r\ngemessen [m]";ort\r\n2,5;Zürich €\r\n'.encode("cp1252"))
    assert columns_of(source) == {"höhe gemessen": ("m", [2.5]), "ort": ("", ["Zürich €"])}
    write_with(source, out, {"p": np.array([1.25])}, {})
    assert out.read_text(encoding="utf-8") == "höhe gemessen [m];ort;p\n2,5;Zürich €;1,25\n"
    source.write_text("a;b\n1.5;x,y\n")
    write_with(source, out, {"p": np.array([1.25])}, {})
    assert out.read_text() == "a;b;p\n1.5;x,y;1.25\n"


def test_a_column_that_becomes_text_behind_many_rows(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("a,b\n" + "1,2\n" * 40_000 + "x,3\n")
    found = read_table(file)
    assert not found["a"].numeric
    assert found["a"].values[[0, -1]].tolist() == ["1", "x"]
    assert found["b"].values.sum() == 80_003


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1\n", "row 2 has 1 fields, the header 2"),
        ("", "is empty"),
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a [m],a\n1,2\n", "two columns are called 'a'"),
        ("a,b\n", "holds no row"),
        ("a\0,b\n", "is not text"),
    ],
)
def test_csv_that_is_refused(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ZooError, match=said) as error:
        read_table(tmp_path / "a.csv")
    assert "\n" not in str(error.value)


def test_a_table_comes_back_with_columns_behind_its_own(tmp_path):
    source, out = tmp_path / "a.csv", tmp_path / "new" / "b.csv"
    source.write_text('id;h\n007;"a;b"\n8;1,50\n9;\n', encoding="utf-8")
    added = {"p": np.array([0.1, np.nan, 3], np.float32), "c": np.array(["x", None, "ü"], object)}
    write_with(source, out, added, {"p": "m", "c": ""})
    assert out.read_text(encoding="utf-8") == 'id;h;p [m];c\n007;"a;b";0,1;x\n8;1,50;;\n9;;3;ü\n'  # its decimal comma
    with pytest.raises(ZooError, match="has a column 'h' already"):
        write_with(source, out, {"h": added["p"]}, {})
    assert out.read_text(encoding="utf-8").startswith("id;h;p [m]")  # the old one stays


def test_a_table_is_read_and_written_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("eozoo_core.run.table_file._ROWS", 2)
    source, numbers = tmp_path / "a.csv", np.arange(7, dtype=np.float32)
    source.write_text("a\n" + "".join(f"{i}\n" for i in range(7)))
    assert read_table(source)["a"].values.tolist() == numbers.tolist()
    write_with(source, tmp_path / "b.csv", {"b": 10 * numbers}, {})
    assert read_table(tmp_path / "b.csv")["b"].values.tolist() == (10 * numbers).tolist()
    source.write_text(source.read_text() + "1,2\n")
    with pytest.raises(ZooError, match="row 9 has 2 fields"):
        read_table(source)


def test_parquet_with_arrays_and_units(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file, out = tmp_path / "a.parquet", tmp_path / "b.parquet"
    table = {"B": [[1, 2], None, [3, 4]], "d": pa.array(["x", None, "x"]).dictionary_encode()}
    parquet.write_table(pa.table({**table, "n": pa.array([1, None, 3], pa.int64())}), file)
    found = columns_of(file)
    assert repr(found["B[1]"]) == repr(("", [2.0, np.nan, 4.0]))
    assert found["d"] == ("", ["x", None, "x"])
    assert repr(found["n"]) == repr(("", [1.0, np.nan, 3.0]))
    assert column_names(file) == ["B", "d", "n"]
    write_with(file, out, {"h": np.array([1, np.nan, 2], np.float32)}, {"h": "m"})
    again = parquet.read_table(out)
    assert again.column_names == ["B", "d", "n", "h [m]"]
    assert again["h [m]"].to_pylist() == [1.0, None, 2.0]
    assert read_table(out)["h"].unit == "m"
    parquet.write_table(pa.table({"a": [1, 2], "none": [[], []], "w": pa.array([" x", ""], pa.string_view())}), file)
    assert columns_of(file) == {"a": ("", [1.0, 2.0]), "w": ("", ["x", None])}
    parquet.write_table(pa.table({"B": [[1, 2], [3]]}), file)
    with pytest.raises(ZooError, match="'B' are 1 to 2 long"):
        read_table(file)


# -- columns ----------------------------------------------------------------------------------------------------------


def write_rows(path, rows=60, seed=0):
    """lon, lat, a, b, c (text), e = 65535 in row 4; y = 2 a + noise; k = north or south by b."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, rows)).round(4)
    lines = ["lon,lat,a [mm],b,c,e,field,y [m],k"]
    for i in range(rows):
        e = 65535 if i == 4 else i % 7
        y = "" if i == 5 else f"{2 * a[i] + 0.1 * random.normal():.4f}"
        lines.append(
            f"{10 + i / 100},{50 + i % 8 / 100},{a[i]},{b[i]},t{i},{e},{i // 4},{y},{'north' if b[i] > 0 else 'south'}"
        )
    path.write_text("\n".join(lines) + "\n")
    return path


def opened(path, wanted=None, known=None, **how):
    return open_samples(path, TableDataSettings(**how), wanted or Target(""), known or TableSurvey())


def test_features_are_the_numbers_that_are_nothing_else(tmp_path):
    file = write_rows(tmp_path / "t.csv")
    found = opened(file, target="y", group="field", nodata=[65535])
    assert [(column.name, column.unit) for column in found.features] == [("a", "mm"), ("b", ""), ("e", "")]
    assert np.isnan(found.values[4, 2])
    assert np.isfinite(found.values[4, :2]).all()
    assert (found.unit, found.classes) == ("m", ())
    assert np.flatnonzero(~found.usable).tolist() == [5]
    chosen = opened(
        file, target="y [m]", features=["e", "*"], exclude=["lon", "lat", "field", "c", "k"], units={"e": "s"}
    )
    assert [(column.name, column.unit) for column in chosen.features] == [("e", "s"), ("a", "mm"), ("b", "")]


def test_rows_of_a_group_stay_together_and_a_column_may_say_the_split(tmp_path):
    file = write_rows(tmp_path / "t.csv")
    found = opened(file, target="y", group="field")
    assert all(len({*found.split[start : start + 4]}) == 1 for start in range(0, 60, 4))
    assert all(len(found.rows(split)) for split in ("train", "val", "test"))
    assert len(found.rows("all")) == 59
    lines = file.read_text().splitlines()
    words = ["split", *("train", "val", "test", "train") * 15]
    file.write_text("\n".join(f"{line},{word}" for line, word in zip(lines, words, strict=True)))
    given = opened(file, target="y", split={"column": "split"})
    assert given.rows("val").tolist() == [i for i in range(60) if i % 4 == 1 and i != 5]
    assert "split" not in [column.name for column in given.features]
    given.division.judge(findings := Findings())  # 25 % each: no shares were asked for
    assert [f.level for f in findings.found] == ["ok"]


def test_a_batch_holds_the_rows_of_its_split(tmp_path):
    samples = opened(write_rows(tmp_path / "t.csv"), target="y", features=["a", "b"])
    data, rows = TableData(samples, "val"), samples.rows("val")
    assert len(rows) == len(data) > 3
    assert not set(rows) & {*samples.rows("train"), *samples.rows("test")}
    batch = data.batch([Draw(3, 0), Draw(0, 0)])
    columns = read_table(tmp_path / "t.csv")
    expected = np.stack([columns[name].values[rows[[3, 0]]] for name in ("a", "b")], axis=1)
    assert batch["features"].tolist() == expected.astype("float32").tolist()
    assert batch["target"].tolist() == columns["y"].values[rows[[3, 0]]].astype("float32").tolist()
    assert data.name(0).endswith(f"row {rows[0] + 2}")
    same = [TableData(samples, split).selection for split in ("train", "val", "test", "val")]
    assert len(set(same)) == 3  # kept features of rows of one file belong to one split
    assert same[1] == same[3]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "data.target is not set"),
        ({"target": "yy"}, r"no column 'yy' \(data.target\). Did you mean 'y'"),
        ({"target": "b"}, "nothing says the unit of b"),
        ({"target": "k"}, "k holds text"),
        ({"target": "y", "features": ["c"]}, "column c holds text .*text is no feature"),
        ({"target": "y", "features": ["y"]}, "y is the target"),
        ({"target": "y", "features": ["z*"]}, r"no column is called 'z\*'"),
        ({"target": "y", "units": {"a": "C"}}, "a is in 'C', its header says 'mm'"),
        ({"target": "y", "exclude": ["a", "b", "e", "field"]}, "no column of numbers is left"),
        ({"target": "y", "x": "a", "y": "b"}, "data.crs is not set"),
        ({"target": "y", "x": "a", "y": "b", "crs": "EPSG:0"}, "is not known"),
        ({"target": "y", "x": "e", "y": "e", "crs": "EPSG:4326"}, "hold more than degrees"),
        ({"target": "y", "series": "{band}"}, "where the number of the date stands"),
        ({"target": "y", "group": "plot"}, "no column 'plot'"),
    ],
)
def test_settings_that_do_not_fit_the_table(tmp_path, how, said):
    file = write_rows(tmp_path / "t.csv")
    with pytest.raises(ZooError, match=said) as error:
        opened(file, **how).division  # noqa: B018 - raises
    assert "\n" not in str(error.value)


def test_unit_of_setting_and_header_may_not_differ(tmp_path):
    with pytest.raises(ZooError, match=r"data\.unit is 'cm', the header of y says 'm'"):
        opened(write_rows(tmp_path / "t.csv"), Target("cm"), target="y")


def test_units_of_a_run_hold_for_other_tables(tmp_path):
    known = TableSurvey(target="y", bands=(BandSurvey(name="a", unit="mm"),), label=BandSurvey(name="y", unit="cm"))
    file = write_rows(tmp_path / "t.csv")
    with pytest.raises(ZooError, match=r"data\.unit is 'cm', the header of y says 'm'"):
        opened(file, Target(""), known, target="y")
    file.write_text(file.read_text().replace("y [m]", "y").replace("[mm]", "[m]"))
    with pytest.raises(ZooError, match="column a is in 'm', in training it was 'mm'"):
        opened(file, Target(""), known, target="y")
    file.write_text(file.read_text().replace("a [m]", "a"))
    assert opened(file, Target(""), known, target="y").unit == "cm"


def test_missing_and_too_large_values_of_targets_features_and_places(tmp_path):
    (tmp_path / "t.csv").write_text("lon,lat,a,b,k\n10,50,1,2,1\n-99,-99,1e39,3,-99\n10,50,2,4,2\n10,51,3,5,inf\n")
    found = opened(tmp_path / "t.csv", Target(None), target="k", nodata=[-99], split={"val": 0, "test": 0})
    assert found.classes == ("1", "2")
    assert np.isnan(found.labels).tolist() == [False, True, False, True]
    assert np.isnan(found.values[1, 0])  # no float32 holds it
    with pytest.raises(ZooError, match="1 of 4 rows have no place on the ground"):
        _ = found.division


def test_columns_called_x_and_y_may_be_features(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,k,b\n" + "1,2,3,4\n2,2,4,5\n3,5,4,6\n" * 4)
    with pytest.raises(ZooError, match=r"data\.crs is not set"):
        _ = opened(tmp_path / "t.csv", Target("1"), target="k").division
    for how in ({"features": ["x", "y"]}, {"exclude": ["y"]}):
        found = opened(tmp_path / "t.csv", Target("1"), target="k", **how)
        assert found.division.split.shape == (12,)
        assert found.features[0].name == "x"


def test_classes_are_sorted_names_and_those_of_a_run_stay(tmp_path):
    file = write_rows(tmp_path / "t.csv")
    found = opened(file, Target(None), target="k", features=["a"])
    assert found.classes == ("north", "south")
    first = read_table(file)["k"].values
    assert found.labels.tolist() == [0.0 if word == "north" else 1.0 for word in first]
    known = TableSurvey(target="k", bands=(BandSurvey(name="a"),), classes=("east", "north", "south"))
    again = opened(file, Target(None), known, target="k")
    assert again.labels.tolist() == [1.0 if word == "north" else 2.0 for word in first]
    with pytest.raises(ZooError, match="holds south, which is none of the classes north, west"):
        opened(file, Target(None, ("north", "west")), target="k", features=["a"])
    numbers = opened(file, Target(None), target="field", features=["a"])
    assert numbers.classes[:3] == ("0", "1", "2")  # as numbers, not as words


def test_places_are_metres_on_the_ground(tmp_path):
    (tmp_path / "t.csv").write_text("lon,lat\n10,50\n10,50.01\n10.01,50\n,50\n")
    columns = read_table(tmp_path / "t.csv")
    x, y = metres(columns["lon"], columns["lat"], None, tmp_path)
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(1112.3, abs=0.5)  # a hundredth of a degree at 50 N
    assert np.hypot(x[2] - x[0], y[2] - y[0]) == pytest.approx(717.0, abs=0.5)
    assert np.isnan([x[3], y[3]]).all()


def test_series_are_columns_date_by_date(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("S1_B3,S0_B2,S0_B3,S1_B2,S10_B2,S10_B3,y\n1,2,3,4,5,6,0\n" + "1,2,3,4,5,7,1\n" * 9)
    found = opened(file, Target("1"), target="y", series="S{t}_{band}", split={"by": "samples"})
    assert [column.name for column in found.features] == ["S0_B3", "S0_B2", "S1_B3", "S1_B2", "S10_B3", "S10_B2"]
    assert found.dates == 3
    ordered = opened(file, Target("1", bands=("B02", "B03")), target="y", series="S{t}_{band}")
    assert [column.name for column in ordered.features][:2] == ["S0_B2", "S0_B3"]
    with pytest.raises(ZooError, match="finds no column for B3 of date 1"):
        opened(file, Target("1"), target="y", series="S{t}_{band}", exclude=["S1_B3"])
    with pytest.raises(ZooError, match="2 days for the 3 dates"):
        opened(file, Target("1"), target="y", series="S{t}_{band}", days=[1, 2])


def test_a_band_is_scaled_over_all_dates_together():
    # Band 1: dates (0, 2) each with deviation 0 and counts 1 and 3: mean 1.5, variance (2.25 + 3 * 0.25) / 4 = 0.75.
    bands = [
        BandSurvey(name=n, mean=m, std=0.0, count=c) for n, m, c in (("a", 0, 1), ("b", 5, 1), ("c", 2, 3), ("d", 5, 1))
    ]
    mean, std = per_band(TableSurvey(bands=tuple(bands), target="y", dates=2))
    assert mean.tolist() == [1.5, 5.0, 1.5, 5.0]
    assert std.tolist() == pytest.approx([0.75**0.5, 0.0] * 2)


def test_what_is_always_the_same_is_no_feature_and_rare_flags_are_not_absurd(tmp_path):
    file = write_rows(tmp_path / "t.csv", 400)
    lines = file.read_text().splitlines()
    extra = ["same,flag,late", *(f"1,{int(i == 7)},{int(i > 300)}" for i in range(400))]
    file.write_text("\n".join(f"{line},{more}" for line, more in zip(lines, extra, strict=True)))
    found = opened(file, target="y", exclude=["field", "late"], split={"val": 0, "test": 0})
    assert [column.name for column in found.features] == ["a", "b", "e", "flag"]
    survey = survey_table(TableData(found, "train"), (), ())
    flag = survey.bands[-1]
    assert survey.widths == (*(band.std for band in survey.bands[:3]), 0.5)
    assert (flag.quantiles[0], flag.quantiles[-1]) == (0, 1)
    assert flag.mean == pytest.approx(1 / 399)
    words = ["split", *("train" if i < 300 else "test" for i in range(400))]
    file.write_text("\n".join(f"{a},{b}" for a, b in zip(file.read_text().splitlines(), words, strict=True)))
    late = opened(file, target="y", features=["a", "late"], split={"column": "split"})
    with pytest.raises(ZooError, match=r"late: constant or missing in all training rows; --set data.exclude=\[late\]"):
        survey_table(TableData(late, "train"), (), ())


def test_an_encoder_of_another_run_gets_the_scaling_of_that_run():
    scaling = (BandSurvey(name="B2", mean=3, std=2), BandSurvey(name="B3", mean=5, std=4))
    bands = tuple(BandSurvey(name=f"c{i}", mean=i, count=1) for i in range(4))
    mean, std = per_band(TableSurvey(bands=bands, scaling=scaling, target="y", dates=2))
    assert (mean.tolist(), std.tolist()) == ([3, 5, 3, 5], [2, 4, 2, 4])


# -- check ------------------------------------------------------------------------------------------------------------


def looked(task_class, **settings):
    findings = Findings()
    task_class(task_class.Settings(**settings), Registry.discover()).check(findings)
    return {(found.level, found.subject): found.measured for found in findings.found}, findings


def test_check_tells_leaks_copies_constants_and_fillers(tmp_path):
    file = write_rows(tmp_path / "t.csv")
    header, *rows = csv.reader(file.read_text().splitlines())
    for i, row in enumerate(rows):
        row += [f"{-3 * float(row[7] or 0)}", "2" if i % 4 == 3 else "1", ("train", "train", "val", "test")[i % 4]]
    rows[19][2:] = [*rows[16][2:11], "test"]  # row 18 (from 2 on) once more, in another split
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([[*header, "again", "same", "split"], *rows])
    data = {"target": "y", "split": {"column": "split"}, "exclude": ["field"]}
    found, findings = looked(ScalarRegression, data=data, runtime={"table": file, **QUIET})
    assert found["warning", "leakage: target"].startswith("again: gives y away")
    assert found["warning", "leakage train/test: rows"] == (
        "1 test rows have the features of a train row: row 21 of row 18"
    )
    assert found["error", "features"].startswith("same: constant")
    assert found["warning", "missing values"].startswith("e: an extreme is 65535")
    assert found["ok", "rows"].startswith("60 rows, 1 without a target; train ")
    assert findings.preview is not None
    assert not [subject for level, subject in found if (level, subject) == ("warning", "features")]


def test_check_tells_columns_that_are_text_by_accident_or_count_rows(tmp_path):
    file = write_rows(tmp_path / "t.csv")
    rows = [f"{line},{i},{i if i != 4 else '<5'}" for i, line in enumerate(file.read_text().splitlines())]
    file.write_text("\n".join([rows[0].replace(",0,0", ",fid,d"), *rows[1:]]))
    _, findings = looked(ScalarRegression, data={"target": "y"}, runtime={"table": file, **QUIET})
    told = [found.measured for found in findings.found if (found.level, found.subject) == ("warning", "features")]
    assert told == ["d is left out: it holds text, '<5' in row 5", "fid: counts the rows"]


def test_a_code_that_means_one_class_gives_it_away(tmp_path):
    file = write_rows(tmp_path / "t.csv", 200)
    lines = file.read_text().splitlines()
    codes = ["code", *(str(3 if line.endswith("north") else i % 2) for i, line in enumerate(lines[1:]))]
    file.write_text("\n".join(f"{line},{code}" for line, code in zip(lines, codes, strict=True)))
    found, _ = looked(Classification, data={"target": "k", "exclude": ["b"]}, runtime={"table": file, **QUIET})
    assert found["warning", "leakage: target"].startswith("code: gives k away")


# -- runs -------------------------------------------------------------------------------------------------------------


def trained(task_class, folder, **settings):
    given = task_class.Settings(**{"train": SMALL, **settings})
    task = task_class(given, Registry.discover())
    name = "scalar_regression" if task_class is ScalarRegression else "classification"
    run = Run.create(folder, name, given, "eozoo 0.1.0")
    task.train(run)
    return task, run


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regression")
    table = write_rows(folder / "t.csv", 200)
    data = {"target": "y", "features": ["a", "b"], "nodata": [-9]}
    model = {"name": "linear", "loss": {"name": "mse"}}
    train = {"epochs": 40, "validate_every": 40, "batch_size": 64, "learning_rate": 0.1, "weight_decay": 0.0}
    return trained(ScalarRegression, folder / "run", data=data, model=model, train=train,
                   runtime={"table": table, **QUIET})  # fmt: skip


def test_a_line_is_learned_and_missing_values_are_the_mean(regression):
    task, run = regression
    mean = run.info()["survey"]["bands"][0]["mean"]
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [np.nan, 0.0], [mean, 0.0], [np.nan, np.nan]], np.float32)
    found = task.predict(run, {"features": rows})["mean"]
    assert found.shape == (5,)
    assert found[1] - found[0] == pytest.approx(2.0, abs=0.1)  # y = 2 a
    assert found[2] == pytest.approx(found[3], abs=1e-5)
    assert np.isnan(found[4])


def test_a_table_and_a_raster_say_the_same_as_predict(regression, tmp_path):
    task, run = regression
    values = np.random.default_rng(1).normal(size=(2, 5, 7)).astype("float32")
    values[:, 0, 0], values[0, 1, 1], values[:, 2, 2] = np.nan, np.nan, -9
    grid = Grid(5, 7, CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5500000))
    source = tmp_path / "in"
    source.mkdir()
    write_small(source / "map.tif", values[::-1], grid, [Band("b", ""), Band("a", "mm")])  # found by name
    with (source / "t.csv").open("w") as out:
        out.write("b,id,a [mm]\n")
        np.savetxt(
            out, np.column_stack([values[1].ravel(), np.arange(35), values[0].ravel()]), delimiter=",", fmt="%.9g"
        )
    files = {file.name: file for file in task.infer(run, source, tmp_path / "out")}
    clean = np.where(values == -9, np.nan, values)
    expected = task.predict(run, {"features": clean.reshape(2, -1).T})["mean"]
    table = columns_of(files["t_predicted.csv"])
    assert table["predicted_y"][0] == "m"
    assert table["id"][1] == list(range(35))
    np.testing.assert_allclose(table["predicted_y"][1], expected, rtol=1e-5)
    np.testing.assert_allclose(read_whole(files["map_mean.tif"])[0].ravel(), expected, rtol=1e-5)
    assert np.isnan(expected).sum() == 2
    band = read_table(files["t_predicted.csv"])
    assert band["predicted_y"].header == "predicted_y [m]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a [mm]\n1\n", "lacks 1 columns that the run was trained on: b"),
        ("a [C],b\n1,2\n", "column a is in 'C', in training it was 'mm'"),
        ("a,b\nx,2\n", "column a holds text"),
        ("a,b,predicted_y [m]\n0,0.1,2\n", "has a column 'predicted_y"),
    ],
)
def test_a_table_that_does_not_fit_a_run(regression, tmp_path, text, said):
    task, run = regression
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ZooError, match=said):
        task.infer(run, tmp_path / "t.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_raster_that_does_not_fit_a_run(regression, tmp_path):
    task, run = regression
    grid = Grid(2, 2, CRS.from_epsg(32631), Affine(10, 0, 500000, 0, -10, 5500000))
    values = np.zeros((2, 2, 2), np.float32)
    for bands, said in (
        ((Band("a", "mm"), Band("z", "")), "no band for 1 columns of the run: b; it has a, z"),
        ((Band("a", "C"), Band("b", "")), "band a is in 'C', the column was in 'mm'"),
        ((Band("", ""), Band("", "")), "no names to find the columns of the run by; --set infer.bands"),
    ):
        write_small(tmp_path / "m.tif", values, grid, bands)
        with pytest.raises(ZooError, match=said):
            task.infer(run, tmp_path / "m.tif", tmp_path / "out")


def test_another_table_is_scored_whole_by_the_classes_of_the_run(tmp_path):
    table = write_rows(tmp_path / "t.csv", 120)
    data = {"target": "k", "features": ["b"]}
    train = {"epochs": 15, "validate_every": 15, "batch_size": 16, "learning_rate": 0.05}
    _, run = trained(Classification, tmp_path / "run", data=data, runtime={"table": table, **QUIET}, train=train,
                     model={"name": "linear"})  # fmt: skip
    other = tmp_path / "south.csv"
    lines = [line for line in table.read_text().splitlines() if not line.endswith("north")]
    other.write_text("\n".join(lines))  # "south" alone would be class 0 here, and is class 1 of the run
    again = Run.open(run.path, Classification.Settings, "classification", [f"runtime.table={other}"])
    scores = Classification(again.settings, Registry.discover()).score(again, "all")
    assert scores["model"]["n"] == len(lines) - 1
    assert scores["model"]["accuracy"] > 0.9
    other.write_text("\n".join(lines).replace("south", "west"))
    with pytest.raises(ZooError, match="holds west, which is none of the classes north, south"):
        Classification(again.settings, Registry.discover()).score(again, "all")


def test_an_encoder_of_series_sees_bands_and_days(tmp_path):
    pytest.importorskip("eozoo_barlow_twins")
    file = tmp_path / "t.csv"
    random, names = np.random.default_rng(0), [f"{band}_{t}" for band in ("B2", "B3") for t in range(4)]
    values = random.normal(100, 20, size=(60, 8))
    rows = [[f"{v:.3f}" for v in row] + [f"{row[0]:.3f}"] for row in values]
    file.write_text("\n".join(",".join(row) for row in [[*names, "y"], *rows]))
    settings = {"target": "y", "unit": "1", "series": "{band}_{t}", "days": [10, 100, 190, 280]}
    encoder = {"name": "btfm_transformer", "options": {"latent_dim": 8, "heads": 2, "layers": 1, "feedforward": 8}}
    task, run = trained(ScalarRegression, tmp_path / "run", data=settings, runtime={"table": file, **QUIET},
                        model={"encoder": encoder, "options": {"width": 8}}, train={**SMALL, "epochs": 1})  # fmt: skip
    seen = []
    built = task.system(TableSurvey.model_validate(run.info()["survey"]), False)
    built.encoder.register_forward_pre_hook(lambda module, given: seen.append(given))
    built.raw(built.stage({"features": torch.tensor(values[:3], dtype=torch.float32)}))
    bands, days = seen[0]
    assert tuple(bands.shape) == (3, 4, 2)
    assert days.tolist() == [[10, 100, 190, 280]] * 3
    no_days = {**settings, "days": []}
    with pytest.raises(ZooError, match=r"data\.days is not set"):
        trained(ScalarRegression, tmp_path / "two", data=no_days, runtime={"table": file, **QUIET},
                model={"encoder": encoder})  # fmt: skip


class Half:
    """A stranger's dataset: 40 samples of two features, of which y = 2 a - b; no test split."""

    def __init__(self, split):
        if split == "test":
            raise NoSplit("there is no test")
        self.values = np.random.default_rng(["train", "val"].index(split)).normal(size=(40, 2))

    def __len__(self):
        return 40

    def __getitem__(self, i):
        a, b = self.values[i]
        return {"features": self.values[i], "target": np.nan if i == 3 else 2 * a - b}


def test_a_registered_dataset_instead_of_a_table(tmp_path):
    class Theirs:
        def create(self, kind, name, options):
            return Half(**options) if kind == "dataset" else Registry.discover().create(kind, name, options)

    data = {"dataset": {"name": "half"}, "unit": "m"}
    settings = ScalarRegression.Settings(data=data, train=SMALL, runtime=QUIET, model={"name": "linear"})
    task = ScalarRegression(settings, Theirs())
    train, val = task.data("train"), task.data("val")
    assert (len(train), len(val), train.bands, list(train.files)) == (39, 39, ("f0", "f1"), [])
    values = Half("val").values[[0, 4]].astype(np.float32)  # sample 3 has no target
    assert np.array_equal(val.items([0, 3])["features"], values)
    assert val.items([0, 3])["target"] == pytest.approx(2 * values[:, 0] - values[:, 1], abs=1e-6)
    assert not task.has_split("test")
    run = Run.create(tmp_path / "run", "scalar_regression", settings, "eozoo 0.1.0")
    task.train(run)
    assert task.score(run, "val")["model"]["n"] == 39


def test_an_epoch_of_several_passes_goes_on_within_one(tmp_path):
    """26 rows: an epoch of 7 steps of 8 or more passes them three times, 9.75 steps; 14 is within one."""
    table = write_rows(tmp_path / "t.csv", 37)
    schedule = {"name": "constant", "warmup_steps": 0}
    how = {"epochs": 3, "batch_size": 8, "epoch_steps": 7, "schedule": schedule}
    given = {"data": {"target": "y", "features": ["a", "b"], "split": {"by": "samples"}}, "model": {"name": "linear"}}
    given |= {"runtime": {"table": table, **QUIET}, "eval": {"baselines": []}}
    whole = trained(ScalarRegression, tmp_path / "whole", train=how, **given)[1]
    trained(ScalarRegression, tmp_path / "parts", train={**how, "steps": 14}, **given)
    parts = trained(ScalarRegression, tmp_path / "parts", train=how, **given)[1]
    found = [torch.load(run.file("current"), weights_only=True) for run in (whole, parts)]
    assert found[0]["step"] == found[1]["step"] > 21
    assert all(torch.equal(value, found[1]["model"][name]) for name, value in found[0]["model"].items())
