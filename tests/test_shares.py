"""What ``check`` says of splits: few labels, lost classes, nearly one class, another kind; what a division came to."""

import json

import numpy as np
import pytest
from eozoo_core.checking import Classes, Findings, Item, Split, channel, check_splits
from eozoo_core.checking.design import NEITHER, Units, design
from eozoo_core.checking.division import Division, least_distance
from eozoo_core.run.directory import Run
from eozoo_core.score.quicklook import quicklook
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.splits import SplitSettings

NAMES = {1: "maize", 2: "wheat", 3: "grass"}


def look(label, **values):
    """``check_splits`` of splits whose labels are ``values``: warnings by split."""
    rng, findings = np.random.default_rng(0), Findings()
    splits = []
    for name, labels in values.items():
        item = Item(rng.uniform(0.1, 0.3, (1, 1, len(labels))).astype("float32"), np.array(labels, float)[None, None])
        splits.append(Split(name, [name], lambda i, item=item: item))
    check_splits(findings, splits, [channel("red", "reflectance 0..1")], label)
    return {f.subject.removesuffix(": labels"): f.measured for f in findings.found if f.level == "warning"}


def some(maize, wheat, grass=0):
    return [1] * maize + [2] * wheat + [3] * grass


def test_good_splits_give_no_warning():
    assert look(Classes(NAMES), train=some(100, 60, 40), val=some(50, 35, 15), test=some(60, 20, 20)) == {}
    rng = np.random.default_rng(1)
    assert look(channel("height", "m"), **{n: rng.normal(20, 5, 200) for n in ("train", "val", "test")}) == {}


def test_few_labels_say_what_a_score_of_them_is_worth():
    told = look(Classes(NAMES), train=some(100, 60), val=some(14, 10), test=some(60, 39))
    assert told["val"] == "only 24: the best epoch is chosen by them, and their score is known to +- 20 points at best"
    assert told["test"] == "only 99: their score is known to +- 10 points at best"
    rng = np.random.default_rng(1)
    told = look(channel("height", "m"), train=rng.normal(20, 5, 200), val=rng.normal(20, 5, 50))
    assert told == {"val": "only 50: the best epoch is chosen by them, and their score is known to +- 20 % at best"}


def test_lost_classes_and_nearly_one_class_are_told_together():
    told = look(Classes(NAMES), train=some(100, 60, 40), val=some(50, 30, 20), test=some(4, 96))
    assert told == {
        "test": "none of grass was read, of which train has some: nothing will score it; 96.0 % are wheat, 30.0 % of "
        "train: who always says so is as right"
    }
    told = look(Classes(NAMES), train=some(190, 10), val=some(190, 10))
    assert told == {"train": "95.0 % are maize: who always says so is as right"}  # once, not for each split


def test_other_classes_and_other_numbers_are_told():
    told = look(Classes(NAMES), train=some(120, 80), val=some(50, 150), test=some(100, 100))
    assert told == {
        "val": "75.0 % are wheat, 40.0 % of train; 35.0 % would have to change their class to be like train"
    }
    rng = np.random.default_rng(1)
    told = look(channel("height", "m"), train=rng.normal(10, 2, 400), test=rng.normal(13, 2, 400))
    assert told["test"].startswith("12.89 on average, train 9.8")
    assert "they are of another kind" in told["test"]


def division(gap=0.0, words=None, **rest):
    """Two rows of fields, 400 m apart, from west to east; the northern ones are grass."""
    x, y = np.tile(np.arange(20) * 100.0, 2), np.repeat([0.0, 400.0], 20)
    counts = np.zeros((40, 2))
    counts[:20, 0], counts[20:, 1] = 10, 30
    units = Units(x, y, counts.sum(axis=1), counts, size=80.0, what="fields", **rest)
    how = SplitSettings(by="samples", gap=gap, val=0.2, test=0.2)
    split = design(units, how) if words is None else np.array(words, np.uint8)
    return Division(units, split, how, ("maize", "grass"))


def test_the_table_of_a_division_by_hand():
    made = division(words=[0] * 12 + [1] * 4 + [3] * 2 + [2] * 2 + [0] * 20).table()
    assert made.columns == ["split", "fields", "labels", "share", "maize", "grass", "nearest other"]
    assert made.rows == [
        ["train", "32", "720", "92.3 %", "16.7 %", "83.3 %", "20 m"],
        ["val", "4", "40", "5.1 %", "100.0 %", "0.0 %", "20 m"],
        ["test", "2", "20", "2.6 %", "100.0 %", "0.0 %", "220 m"],
        ["in the gap", "2", "20", "", "100.0 %", "0.0 %", ""],
    ]


def test_shares_far_off_those_asked_are_told_and_good_ones_are_ok():
    findings = Findings()
    division().judge(findings)
    (found,) = findings.found
    assert (found.level, found.measured) == ("ok", "shares of the labels: train 60.0 %, val 20.0 %, test 20.0 %")
    assert found.numbers["val"] == {"fields": 8, "labels": 160.0, "classes": [40.0, 120.0]}
    findings = Findings()
    division(words=[0] * 32 + [2] * 5 + [3, 3, 1]).judge(findings)
    assert [(f.level, f.measured) for f in findings.found] == [
        ("warning", "val has 4.1 % of the labels, 20.0 % were asked for")
    ]
    findings = Findings()
    division(gap=30, words=[0] * 6 + [1] * 2 + [2] * 2 + [3] * 30).judge(findings)
    assert findings.found[0].measured == "87.5 % of the labels lie within 30 m of another split and are not used"


@pytest.mark.parametrize("placed", [True, False])
def test_the_picture_shows_splits_labels_and_classes(placed, tmp_path):
    made = division(words=[0] * 12 + [1] * 4 + [NEITHER] * 2 + [2] * 2 + [0] * 20)
    if not placed:
        made = Division(Units(**{**vars(made.units), "x": np.full(40, np.nan)}), made.split, made.how, made.names)
    panels = made.panels()
    bars = panels[-1]
    assert bars.classes == ("maize", "grass")
    assert [np.nanmean(row) for row in bars.values[[0, 16, 32]]] == pytest.approx([5 / 6, 0, 0], abs=0.01)
    if placed:
        splits, labels = (panel.values for panel in panels[:2])
        assert splits[-1].tolist() == sorted(splits[-1], key=[0, 1, 3, 2].index)  # from west to east
        assert set(splits[-1]) == {0, 1, 2, 3}
        assert set(labels[-1][np.isfinite(labels[-1])]) == {0}
        assert set(labels[0][np.isfinite(labels[0])]) == {1}
    assert len(panels) == (3 if placed else 1)
    quicklook(panels, tmp_path / "splits.png")


def test_a_run_keeps_numbers_and_picture(tmp_path):
    run = Run(tmp_path / "run", "any", TaskSettings())
    division().keep(run)
    assert json.loads((run.path / "run.json").read_text())["splits"]["test"]["labels"] == 160.0
    assert (run.path / "splits.png").stat().st_size > 1000


def test_the_least_distance_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    for n, m in ((1, 1), (5, 3), (40, 60)):
        one, two = rng.normal(0, 10, (n, 2)), rng.normal(50, 10, (m, 2))
        true = np.hypot(*np.moveaxis(one[:, None] - two, -1, 0)).min()
        units = Units(*np.concatenate([one, two, one]).T, np.ones(2 * n + m))
        first, second = np.arange(2 * n + m) < n, (np.arange(2 * n + m) >= n) & (np.arange(2 * n + m) < n + m)
        assert least_distance(units, first, second) == pytest.approx(true)
        assert least_distance(units, first, ~first & ~second) == 0
