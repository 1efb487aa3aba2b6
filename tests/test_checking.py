"""What ``eozoo check`` finds in described splits: hand-worked numbers, and one planted fault at a time."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.checking import (
    Channel,
    Classes,
    Findings,
    Item,
    Place,
    Separation,
    Split,
    channel,
    check_splits,
    judge_splits,
    require_separate,
)
from eozoo_core.checking.findings import percent, to_json
from eozoo_core.checking.preview import enlarged, label_panel, panels_of
from eozoo_core.checking.units import likely_mistake, out_of_range

BANDS = [channel("red", "reflectance 0..1"), channel("nir", "reflectance 0..1")]
HEIGHT = Channel("height", "m", -10, 120)


def world(train=8, test=4, seed=0):
    """Images (2, 24, 24) of places of their own, a third of the pixels labelled."""
    random = np.random.default_rng(seed)
    images = {
        n: random.uniform(0.02, 0.5, (k, 2, 24, 24)).astype("float32") for n, k in (("train", train), ("test", test))
    }
    labels = {n: np.where(random.random((len(a), 1, 24, 24)) < 1 / 3, 40 * a[:, :1], np.nan) for n, a in images.items()}
    return images, labels


def described(images, labels=None):
    def read(name, i):
        item = images[name][i]
        if isinstance(item, Exception):
            raise item
        return Item(item, None if labels is None else labels[name][i])

    def split(name, count):
        return Split(name, [f"{name}/{i}.tif" for i in range(count)], lambda i: read(name, i))

    return [split(name, len(many)) for name, many in images.items()]


def look(images, labels=None, label=None, bands=BANDS, samples=200):
    findings = Findings(samples)
    check_splits(findings, described(images, labels), bands, label)
    return findings


def told(findings, *levels):
    return {
        f.subject: f"{f.measured} -> {f.remedy}" for f in findings.found if f.level in (levels or ("warning", "error"))
    }


def numbers(findings, subject):
    return next(f.numbers for f in findings.found if f.subject == subject)


# -- units ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "low", "high", "what", "remedy"),
    [
        ("reflectance 0..1", 0.02, 0.6, None, None),
        ("reflectance 0..1", 200, 6000, "digital numbers (x 10000)", "divide by 10000"),
        ("reflectance 0..1", 2, 60, "per cent", "divide by 100"),
        ("reflectance 0..1", 5, 250, "bytes (0..255)", "take the product in reflectance, or divide by 255"),
        ("reflectance 0..1", 2e-6, 6e-5, "divided by 10000 once too often", "multiply by 10000"),
        ("reflectance x 10000", 200, 6000, None, None),
        ("reflectance x 10000", 0.02, 0.6, "reflectance 0..1", "multiply by 10000"),
        ("K", 230, 300, None, None),
        ("K", -40, 30, "degrees Celsius", "add 273.15"),
        ("K", 23_000, 30_000, "hundredths of a kelvin", "divide by 100"),
        ("degC", -20, 35, None, None),
        ("degC", 250, 310, "kelvin", "subtract 273.15"),
        ("degC", -200, 350, "tenths of a degree", "divide by 10"),
        ("degC", 20, 95, "degrees Fahrenheit", "convert with (F - 32) * 5 / 9"),
        ("m", 0, 250_000, "centimetres", "divide by 100"),
        ("Mg/ha", 0, 35_000, "g/m2", "divide by 100"),
        ("parsec", 0, 1e9, None, None),
    ],
)
def test_a_wrong_unit_is_recognised_with_its_remedy(unit, low, high, what, remedy):
    values = np.linspace(low, high, 101)
    known = channel("band", unit)
    mistake = likely_mistake(known, values)
    assert (out_of_range(known, values) is not None) == (what is not None)
    if what is not None:
        assert (mistake.what, mistake.remedy) == (what, remedy)


def test_single_odd_pixels_are_no_wrong_unit_and_missing_ones_no_pixel():
    values = np.full(1000, 0.2)
    values[:15], values[15:30] = 5000, np.nan
    assert out_of_range(BANDS[0], values) is None
    values[:30] = 5000
    assert out_of_range(BANDS[0], values) == "0.2 to 5000 where -0.2 to 1.6 [reflectance 0..1] is plausible"
    assert out_of_range(BANDS[0], np.full(10, np.nan)) is None


# -- samples, bands, missing values -----------------------------------------------------------------------------------


def test_good_data_give_no_warning_and_numbers_that_add_up():
    images, labels = world()
    images["train"][:2, 0, :12] = np.nan  # half of the red pixels of 2 of 8 images
    labels["train"][:, :, :12] = np.nan
    found = look(images, labels, HEIGHT)
    assert told(found) == {}
    assert numbers(found, "train") == {"samples": 8, "read": 8, "unreadable": 0, "shapes": [[2, 24, 24]]}
    assert numbers(found, "missing values")["train"] == {"red": 0.125, "nir": 0.0}
    assert "most in red (12.5 % of train)" in told(found, "ok")["missing values"]
    valid = labels["test"][np.isfinite(labels["test"])]
    assert numbers(found, "test: labels")["values"] == valid.size
    assert numbers(found, "test: labels")["mean"] == pytest.approx(valid.mean())
    table = next(t for t in found.tables if t.title == "labels of what was read")
    counts = [int(row[2].split(" ")[0].replace(",", "")) for row in table.rows]
    assert sum(counts) == valid.size
    assert counts[0] == ((valid >= 0) & (valid < float(table.rows[0][0].split(" to ")[1].split()[0]))).sum()
    json.dumps([f.numbers for f in found.found], allow_nan=False)


def scaled(array, index, factor):
    array[index] *= factor


FAULTS = [
    (
        lambda i, v: scaled(i["train"], 3, 1e4),
        "values",
        r"\(train/3.tif\).*\(x 10000\) -> divide by 10000 in these files",
    ),
    (lambda i, v: [scaled(a, ..., 1e4) for a in i.values()], "values", "8 of 8 train, 4 of 4 test samples read"),
    (lambda i, v: scaled(v["train"], ..., 100), "labels", "height holds .*centimetres -> divide by 100"),
    (lambda i, v: np.nan_to_num(v["test"], copy=False, nan=-9999), "test: labels", "hold -9999, which usually means"),
    (lambda i, v: i["train"][:, 1].fill(np.nan), "train: bands", "every value read of nir is missing -> leave"),
    (lambda i, v: i["train"][:, 1].fill(0.25), "train: bands", r"nir \(always 0.25\): the same"),
    (lambda i, v: i["test"][1].fill(np.nan), "test: missing values", "1 of 4 .* no pixel with all bands: test/1.tif"),
    (lambda i, v: i["test"][1, 0, 0].fill(np.inf), "test: values", "hold infinite values: test/1.tif"),
    (
        lambda i, v: np.nan_to_num(v["train"], copy=False, nan=-1),
        "train: labels",
        r"\d+.* % are exactly -1 m -> if it means that there is no label, ",
    ),
    (lambda i, v: v["train"].fill(np.nan), "train: labels", "none has a value where the input has data"),
    (lambda i, v: scaled(v["train"], ..., 0), "train: labels", "one and the same value"),
]


@pytest.mark.parametrize(("spoil", "subject", "words"), FAULTS, ids=[words[:24] for _, _, words in FAULTS])
def test_one_fault_gives_one_finding_with_file_and_remedy(spoil, subject, words):
    images, labels = world()
    spoil(images, labels)
    found = told(look(images, labels, HEIGHT))
    assert list(found) == [subject]
    assert re.search(words, found[subject])


def test_values_that_look_like_missing_ones_are_told():
    images, _ = world()
    bands = [*BANDS, channel("swir", "reflectance 0..1")]
    images = {n: np.concatenate([a, a[:, :1] * 0.5], axis=1) for n, a in images.items()}
    images["train"][2, :, :6] = 0
    found = told(look(images, bands=bands))
    assert found["train: missing values"].startswith(
        "1 of 8 samples read hold pixels in which every band is exactly 0 (25.0 % of train/2.tif): train/2.tif -> "
    )


def test_what_cannot_be_read_is_an_error_and_the_rest_goes_on():
    images, _ = world()
    images = {n: list(a) for n, a in images.items()}
    images["train"][3] = ZooError("train/3.tif: cannot be read")
    images["train"][5] = images["train"][5][:1]
    found = look(images)
    assert told(found) == {"train": "2 of 8 samples read cannot be used: train/3.tif: cannot be read -> "}
    assert numbers(found, "missing values")
    images["test"] = [ZooError("gone")] * 4
    assert told(look(images))["test"].startswith("4 of 4 samples read cannot be used: gone")


def test_a_split_of_nothing_is_an_error():
    images, _ = world()
    assert told(look({"train": [], "val": images["test"]}))["train"].startswith("holds no samples -> ")
    images["train"] = images["train"][:, :, :0]
    assert "holds no pixel (shape (2, 0, 24))" in told(look(images))["train"]


def test_where_everything_is_missing_nothing_is_within_its_unit():
    images, _ = world()
    found = look({n: np.full_like(a, np.nan) for n, a in images.items()})
    assert "every value read of red, nir is missing" in told(found)["train: bands"]
    assert "values" not in told(found, "ok")


def test_places_that_cannot_be_laid_over_one_another_are_not_called_apart():
    findings = Findings()
    judge_splits(findings, [grid_of("train", [(float("nan"), 0, 1, 1)]), grid_of("test", [(0, 0, 1, 1)])])
    assert [f.level for f in findings.found] == ["ok", "unknown"]
    assert findings.found[1].subject == "leakage train/test: ground"


def test_only_some_samples_of_many_are_read_and_that_is_said():
    images, labels = world(train=40)
    asked = []
    splits = described(images, labels)
    train = Split("train", splits[0].names, lambda i: (asked.append(i), splits[0].read(i))[1])
    found = Findings(samples=10)
    check_splits(found, [train, splits[1]], BANDS, HEIGHT)
    assert asked == [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]
    assert "40 samples, 10 of 40 read" in told(found, "ok")["train"]
    none = {n: np.full_like(v, np.nan) for n, v in labels.items()}
    few = look(images, none, HEIGHT, samples=10)
    assert [f.level for f in few.found if f.subject == "train: labels"] == ["warning"]  # 30 were not looked at
    assert [f.level for f in look(images, none, HEIGHT, samples=0).found if f.subject == "train: labels"] == ["error"]


def test_samples_of_another_scale_are_found_without_a_unit():
    images, _ = world()
    images["train"][6] *= 1000
    found = look(images, bands=[Channel("a"), Channel("b")])
    assert "about 1e+03 times as large as those of the others: train/6.tif" in told(found)["train: values"]
    found = look(world()[0], bands=[Channel("a"), Channel("b")])
    assert "no unit says what is plausible in a, b" in told(found, "unknown")["values"]


def test_statistics_that_are_not_of_these_data_are_told():
    images, _ = world()
    bands = [Channel("red", "", mean=0.26, std=0.14), Channel("nir", "", mean=2600.0, std=1400.0)]
    found = told(look(images, bands=bands))
    assert list(found) == ["train: statistics"]
    assert "its statistics say 2600 +- 1400" in found["train: statistics"]
    for mean, std, wrong in ((0.26, 0.14, False), (0.8, 0.14, True), (0.26, 0.01, True), (0.26, 2.0, True)):
        found = told(look(images, bands=[Channel("red", "", mean=mean, std=std), Channel("nir")]))
        assert bool(found) == wrong, (mean, std)


def test_classes_are_counted_and_those_without_name_or_training_are_told():
    images, _ = world()
    labels = {n: np.full((len(a), 1, 24, 24), np.nan) for n, a in images.items()}
    labels["train"][:, :, 0], labels["train"][:, :, 1], labels["test"][:, :, 0] = 1, 2, 3
    labels["test"][2, 0, 1, :5] = 9
    found = look(images, labels, Classes({1: "water", 2: "forest", 3: "town"}))
    assert [t.rows for t in found.tables if t.title.startswith("labels")] == [
        [["1 water", "192 (50.0 %)", "0 (0.0 %)"], ["2 forest", "192 (50.0 %)", "0 (0.0 %)"],
         ["3 town", "0 (0.0 %)", "96 (95.0 %)"], ["9 (no name)", "0 (0.0 %)", "5 (5.0 %)"]]
    ]  # fmt: skip
    levels = [(f.level, f.measured) for f in found.found if f.level in ("warning", "error")]
    assert levels == [
        ("error", "1 of 4 samples read hold class 9, which has no name: test/2.tif"),
        ("warning", "hold town, of which train has none read"),
    ]
    labels["train"][:, :, 1] = np.nan
    assert "all of one class" in told(look(images, labels, Classes({1: "a", 3: "b", 9: "c"})))["train: labels"]


def test_the_same_ground_under_another_name_is_found():
    images, _ = world()
    images["test"][1] = np.rot90(images["train"][4], axes=(1, 2))
    found = told(look(images))
    assert found["leakage train/test: pixels"].startswith(
        "1 of 4 test samples read show ground that train samples show too: test/1.tif has 100.0 % of its pixels in "
        "common with train/4.tif"
    )


# -- ground, files, time ----------------------------------------------------------------------------------------------


def grid_of(split, boxes):
    names = [f"{split}/{i}.tif" for i in range(len(boxes))]
    found = [Place(n, tuple(map(float, b)), "EPSG:32631", 10.0) if b else None for n, b in zip(names, boxes)]
    return Split(split, names, None, place=lambda i: found[i])


def square(x, y=0):
    return (x, y, x + 100, y + 100)


@pytest.mark.parametrize(
    ("test", "apart", "level", "words"),
    [
        ([square(50, 50), square(5000)], None, "error", "1 of 2 test samples overlap train samples on the ground"),
        ([square(100)], None, "warning", "1 of 1 test samples touch train samples: 0 m between test/0.tif and train/0"),
        ([square(130)], None, "ok", "train/test 30 m"),
        ([square(130), square(400)], 50.0, "warning", "1 of 2 test samples lie nearer than the 50 m of gap=5 px to"),
        ([square(150)], 50.0, "ok", "train/test 50 m"),
        ([square(100_000)], None, "ok", "train/test 100 km"),
    ],
)
def test_overlap_neighbours_and_distance(test, apart, level, words):
    findings = Findings()
    judge_splits(findings, [grid_of("train", [square(0)]), grid_of("test", test)], Separation(apart, "gap=5 px"))
    found = next(f for f in findings.found if "ground" in f.subject)
    assert found.level == level
    assert words in found.measured
    assert told(findings, "ok")["CRS"].startswith("EPSG:32631, of all")


def test_what_has_no_place_is_unknown_and_is_counted():
    findings = Findings()
    judge_splits(findings, [grid_of("train", [None]), grid_of("test", [None])])
    assert told(findings, "unknown")["CRS"].startswith("none of 2 samples is georeferenced")
    findings = Findings()
    judge_splits(findings, [grid_of("train", [square(0), None]), grid_of("test", [square(900)])])
    assert told(findings, "ok")["CRS"].startswith("EPSG:32631, of all 3 samples, 1 without")


def timed(**times):
    return [Split(n, t, lambda i: None, times=np.array(t, "datetime64[s]")) for n, t in times.items()]


@pytest.mark.parametrize(
    ("test", "by_time", "level", "words"),
    [
        (["2022-01-02T03:00"], True, "error", "1 of 1 test samples are of the same time as train samples"),
        (["2022-01-02T05:00", "2022-02-01"], True, "warning", "1 of 2 test samples are nearer than 24 h to train"),
        (["2022-01-03T03:00"], True, "ok", "train/test 24.0 h"),
        (["2022-01-02T03:00"], False, None, ""),
    ],
)
def test_the_same_hour_is_a_leak_where_splits_are_by_time(test, by_time, level, words):
    findings = Findings()
    splits = timed(train=["2022-01-01", "2022-01-02T03:00"], test=test)
    judge_splits(findings, splits, Separation(by_time=by_time, gap=np.timedelta64(24, "h")))
    leaks = [f for f in findings.found if f.subject.startswith("leakage")]
    assert [f.level for f in leaks] == ([level] if level else [])
    assert all(words in f.measured for f in leaks)
    assert "train 2022-01-01T00:00 to 2022-01-02T03:00" in told(findings, "ok")["time"]


def test_no_times_are_unknown():
    findings = Findings()
    judge_splits(findings, timed(train=["NaT"], test=["2022-01-01"])[:1], Separation(by_time=True))
    assert [f.level for f in findings.found] == ["unknown"]


def test_the_same_file_in_two_splits_is_found(tmp_path):
    for name, content in {"a": b"1" * 50, "b": b"2" * 50, "c": b"1" * 50}.items():
        (tmp_path / name).write_bytes(content)
    files = {"train": [tmp_path / "a", tmp_path / "b"], "test": [tmp_path / "c"]}
    findings = Findings()
    judge_splits(findings, [Split(n, f, lambda i: None, f) for n, f in files.items()])
    assert f"{tmp_path / 'c'} is {tmp_path / 'a'}" in told(findings)["leakage train/test: files"]
    files["test"] = [tmp_path / "gone"]
    findings = Findings()
    judge_splits(findings, [Split(n, f, lambda i: None, f) for n, f in files.items()])
    assert "gone: cannot be read" in told(findings)["leakage: files"]


def test_a_key_in_two_splits_is_found_and_names_what_holds_it():
    keys = {"train": {"p1": "train/0.npz", "p2": "train/1.npz"}, "test": {"p3": "test/0.npz", "p2": "test/1.npz"}}
    findings = Findings()
    judge_splits(findings, [Split(n, list(k.values()), None, keys=k) for n, k in keys.items()])
    ((subject, text),) = told(findings).items()
    assert subject == "leakage train/test: places"
    assert "p2 in test/1.npz and train/1.npz" in text
    del keys["test"]["p2"]
    findings = Findings()
    judge_splits(findings, [Split(n, list(k.values()), None, keys=k) for n, k in keys.items()])
    assert told(findings, "ok")["leakage: places"].startswith("3 places")
    findings = Findings()
    judge_splits(findings, [Split(n, ["a"], None, keys={}) for n in keys])
    assert "leakage: places" in told(findings, "unknown")


def test_samples_that_are_divided_may_not_share_ground_or_files_with_one_another(tmp_path):
    for name, content in {"a": b"1", "b": b"2", "c": b"1"}.items():
        (tmp_path / name).write_bytes(content)
    boxes = [square(0), square(50), square(100)]
    tiles = replace(grid_of("tiles", boxes), files=[tmp_path / n for n in "abc"])
    for divided, subjects in ((False, []), (True, ["leakage tiles/tiles: files", "leakage tiles/tiles: ground"])):
        findings = Findings()
        judge_splits(findings, [replace(tiles, divided=divided)])
        assert list(told(findings)) == subjects
    findings = Findings()
    judge_splits(findings, [replace(grid_of("tiles", boxes[::2]), divided=True), grid_of("test", [square(200)])])
    assert told(findings) == {}  # divided by blocks: neighbours touch


def test_training_is_refused_with_the_first_error_of_check_and_by_nothing_else():
    images = {name: list(many) for name, many in world()[0].items()}
    splits = described(images)
    require_separate(splits)
    images["test"][1] = np.rot90(images["train"][4], axes=(1, 2))
    with pytest.raises(ZooError, match=r"^leakage train/test: pixels: .*test/1\.tif.*train/4\.tif.*eozoo check"):
        require_separate(splits)
    images["test"][1] = ZooError("test/1.tif: cannot be read")
    require_separate(splits)  # said by training itself
    near = [grid_of("train", [square(0)]), grid_of("test", [square(100)])]
    require_separate(near)  # a warning
    with pytest.raises(ZooError, match="leakage train/test: ground"):
        require_separate([near[0], grid_of("test", [square(90)])])


# -- picture, small things --------------------------------------------------------------------------------------------


def test_the_picture_shows_a_labelled_sample_with_units():
    images, labels = world()
    labels["train"][:5] = np.nan
    findings = Findings()
    seen = check_splits(findings, described(images, labels), BANDS, HEIGHT)
    assert seen["train"].best[0] >= 5
    panels = panels_of(seen["train"], BANDS, HEIGHT)
    assert [(p.title, p.unit) for p in panels] == [
        ("red", "reflectance 0..1"), ("nir", "reflectance 0..1"), ("label: height", "m"),
        ("valid in all bands", "1 = valid, grey = missing"),
    ]  # fmt: skip


def test_sparse_labels_are_drawn_larger_and_classes_by_name():
    values = np.full((1, 20, 20), np.nan)
    values[0, 5, 5], values[0, 0, 19] = 3, 7
    large = enlarged(values[0])
    assert np.isfinite(large).sum() == 9 + 4
    assert (large[4:7, 4:7] == 3).all()
    panel = label_panel(values, Classes({3: "water", 7: "town", 8: "forest"}))
    assert panel.classes == ("water", "town", "forest")
    assert panel.values[5, 5] == 0
    assert panel.values[0, 19] == 1
    assert "0.5 % labelled" in panel.title


def test_a_level_and_a_share_say_neither_more_nor_less():
    assert [percent(v) for v in (0, 1e-5, 0.5, 0.99999, 1)] == ["0.0 %", "< 0.1 %", "50.0 %", "> 99.9 %", "100.0 %"]
    assert to_json({"a": np.float32("nan"), 2: (np.int64(3), np.array([1.5, np.inf]))}) == {
        "a": None,
        "2": [3, [1.5, None]],
    }
    findings = Findings()
    with findings.guard("x"):
        raise ZooError("y: is wrong")
    with pytest.raises(KeyError), findings.guard("x"):
        raise KeyError("a bug stays a bug")
    assert [(f.subject, f.level, f.measured) for f in findings.found] == [("x", "error", "y: is wrong")]
