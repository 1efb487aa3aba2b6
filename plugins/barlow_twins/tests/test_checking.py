"""``eozoo check`` of both tasks: good tiles, and each fault by itself."""

import json
import re
import shutil

import numpy as np
import pytest
from eozoo.registry import Registry
from eozoo_barlow_twins.demo.phenology import LEGEND, write_landscape
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.prepare.write_tile import write_statistics
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.settings import LabelledData, PretrainData
from eozoo_barlow_twins.splits import split_map
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import Run, ZooError
from eozoo_core.checking import Findings
from eozoo_core.raster.tiles import Window
from eozoo_core.settings.config import load_settings
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = ("data.dataset=d", "data.block=8", "data.sample_size=8", "data.min_valid=8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for number in (1, 2):
        write_landscape(root / "data/d/processed" / f"T{number}", 40, 24, number)
    return root


@pytest.fixture
def root(made, tmp_path):
    """Tiles without checksums, as by hand, so that a test may change them."""
    base = shutil.copytree(made, tmp_path / "base")
    for file in base.rglob("tile.json"):
        kept = {name: value for name, value in json.loads(file.read_text()).items() if name not in ("files", "sha256")}
        file.write_text(json.dumps(kept))
    return base


def check(root, *overrides, task=LandCoverTask):
    legend = [f"data.legend={json.dumps(LEGEND)}"] if task is LandCoverTask else []
    values = load_settings(task.Settings, None, [f"runtime.data_dir={root}", *SMALL, *legend, *overrides])
    findings = Findings()
    with findings.guard("data"):
        task(values).check(findings)
    return findings


def told(findings):
    return [
        (f.level, f.subject, f"{f.measured} -> {f.remedy}") for f in findings.found if f.level in ("warning", "error")
    ]


def change(root, name, what):
    file = root / "data/d/processed" / name
    np.save(file, what(np.load(file, allow_pickle=False)))


def test_good_tiles_give_no_warning_counts_that_training_has_and_a_picture(root):
    from eozoo_barlow_twins.pixels import PixelIndex

    found = check(root)
    assert told(found) == []
    usable = next(f.numbers for f in found.found if f.subject == "usable pixels")
    data = LabelledData(dataset="d", block=8, sample_size=8, min_valid=8, legend=LEGEND)
    tiles = [Tile(root / "data/d/processed" / f"T{n}") for n in (1, 2)]
    assert usable == {
        name: len(PixelIndex(tiles, data, kind)) for name, kind in (("train", 0), ("val", 1), ("test", 2))
    }
    panels = found.preview[1]()
    assert [p.title for p in panels[3:7]] == ["clear dates", "split", "more than 8 clear dates", "label"]
    assert panels[6].classes == panels[7].classes == tuple(LEGEND.values())
    assert panels[7].title == "classes of train, val, test, from the top"
    (splits,) = (t for t in found.tables if t.title == "splits")
    labelled = [int(row[2].replace(",", "")) for row in splits.rows]
    assert labelled[1:] == [usable["val"], usable["test"]]  # training loses its buffer
    assert labelled[0] > usable["train"]


@pytest.mark.parametrize("task", [LandCoverTask, BarlowTwinsTask])
def test_steps_are_those_of_the_dry_run(task, root):
    """Of the pixels without label only pre-training sees any; of 40 x 24 pixels all are read, of more not."""
    change(root, "T1/labels.npy", lambda a: np.where(np.arange(a.size).reshape(a.shape) % 3, 0, a))
    few = ("train.batch_size=16", "train.epochs=3", "train.schedule.warmup_steps=5")
    legend = [f"data.legend={json.dumps(LEGEND)}"] if task is LandCoverTask else []
    values = load_settings(task.Settings, None, [f"runtime.base_path={root}", *SMALL, *legend, *few])
    plan = task(values, Registry.discover()).plan(Run(root / "run", "any", values))
    found = next(f for f in check(root, *few, task=task).found if f.subject == "schedule")
    assert found.level == "ok"
    assert found.numbers["total_steps"] == plan.total_steps == 3 * plan.steps_per_epoch > 30
    whole = next(f for f in check(root, "train.schedule.hold_steps=5000", task=task).found if f.subject == "schedule")
    assert (whole.level, "hold_steps 5000" in whole.measured) == ("error", True)


def test_pre_training_needs_no_labels(root):
    for tile in (root / "data/d/processed").iterdir():
        (tile / "labels.npy").unlink()
    found = check(root, task=BarlowTwinsTask)
    assert told(found) == []
    assert [f.level for f in found.found if f.subject == "labels"] == ["unknown"]


FAULTS = [
    (
        lambda r: change(r, "T1/bands.npy", lambda a: np.uint16(a + 1000)),
        "values: offset",
        "prepare.scenes.offset=-1000",
    ),
    (lambda r: change(r, "T1/band_mean.npy", lambda a: a / 1e4), "T1: statistics", "prepare barlow_twins statistics"),
    (lambda r: (r / "data/d/processed/T1/band_std.npy").unlink(), "T1", "band_std.npy: is missing"),
    (lambda r: change(r, "T1/labels.npy", lambda a: np.where(a == 10, 11, a)), "T1", "holds code 11"),
    (lambda r: change(r, "T1/masks.npy", lambda a: a * 2), "T1", "masks.npy: holds 2"),
    (
        lambda r: shutil.copytree(r / "data/d/processed/T1", r / "data/d/processed/Z9"),
        "leakage tiles/tiles: files",
        "Z9/bands.npy is ",
    ),
]


@pytest.mark.parametrize(("spoil", "subject", "words"), FAULTS, ids=[f[2] for f in FAULTS])
def test_one_fault_gives_one_finding(root, spoil, subject, words):
    spoil(root)
    found = told(check(root))
    assert {s for _, s, _ in found} <= {subject, "T1: statistics", "leakage tiles/tiles: ground"}
    assert [text for _, s, text in found if s == subject and words in text]


def test_a_validation_of_24_pixels_is_told(root):
    for number in (1, 2):
        change(root, f"T{number}/masks.npy", lambda a: np.where(np.arange(a[0].size).reshape(a[0].shape) % 16, 0, a))
    for task, what in ((BarlowTwinsTask, "pixels"), (LandCoverTask, "labels")):
        text = {s: t for _, s, t in told(check(root, task=task))}
        assert re.match(r"only (18|23): the best epoch is chosen by them, .* \+- \d\d", text[f"val: {what}"]), text


def test_shares_that_whole_blocks_cannot_give_are_told(root):
    found = told(check(root, "data.block=20", "data.val_share=0.05", "data.test_share=0.05"))
    assert ("warning", "splits") in [(level, subject) for level, subject, _ in found]


def test_reflectance_stored_as_whole_numbers_is_told(root):
    change(root, "T1/bands.npy", lambda a: np.uint16(a // 10_000))
    assert "too little for [reflectance x 10000]" in {s: t for _, s, t in told(check(root))}["values"]


def test_tiles_that_overlap_are_told_unless_they_are_in_one_split(root):
    folder = root / "data/d/processed"
    info = [json.loads((folder / name / "tile.json").read_text()) for name in ("T1", "T2")]
    info[1]["transform"][2] = info[0]["transform"][2] + 200  # half a tile to the east
    (folder / "T2/tile.json").write_text(json.dumps(info[1]))
    assert [s for _, s, _ in told(check(root))] == ["leakage tiles/tiles: ground"]
    shutil.copytree(folder / "T1", folder / "T3")
    info[0]["transform"][2] += 90_000
    (folder / "T3/tile.json").write_text(json.dumps(info[0]))
    change(root, "T3/bands.npy", lambda a: a + np.uint16(1))
    assert told(check(root, 'data.test_tiles=["T1","T2"]', task=BarlowTwinsTask)) == []
    whole = ("data.test_share=0", "data.val_share=0", 'data.val_tiles=["T3"]')
    assert [s for _, s, _ in told(check(root, *whole, task=BarlowTwinsTask))] == ["test: pixels"]  # none


@pytest.mark.parametrize(
    ("overrides", "subject", "words"),
    [
        (("data.buffer=0",), "leakage: blocks", "training pixels touch test pixels"),
        (('data.val_tiles=["X"]',), "tiles", "has no tile 'X'"),
        (("data.min_valid=30",), "train: pixels", "lower data.min_valid"),
        (("model.pretrained=/nowhere",), "model.pretrained", "/nowhere: holds no run"),
        (("runtime.data_dir=/nowhere",), "data", "/nowhere/data/d/processed: no such folder"),
        (("data.bands=[B04, B99]",), "T1", "has no band 'B99'"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(root, overrides, subject, words):
    assert [text for _, s, text in told(check(root, *overrides)) if s == subject and words in text]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10), st.integers(1, 10), st.integers(0, 4), st.booleans())
def test_the_split_of_a_window_is_that_of_the_tile(made, row, col, height, width, buffer, fields):
    """Reading a window of a large tile, the check must see the very split that training makes."""
    tile = Tile(made / "data/d/processed/T1")
    if fields:
        tile.layer = lambda name: (np.arange(1600) // 7 % 40).reshape(40, 40)
        tile.has = lambda name: True
    data = PretrainData(sample_size=8, min_valid=8, block=8, buffer=buffer)
    whole = split_map(tile, data)
    window = Window(row, col, height, width)
    assert (split_map(tile, data, window) == whole[window.slices]).all()


def test_a_place_that_cannot_be_read_names_its_file_and_hides_no_other_tile(root):
    file = root / "data/d/processed/T1/tile.json"
    told_by_file = json.loads(file.read_text())
    for wrong in ({"crs": "nowhere"}, {"transform": [1, 2]}):
        file.write_text(json.dumps({**told_by_file, **wrong}))
        with pytest.raises(ZooError, match=r"tile.json: crs is not WKT or transform not 6 numbers"):
            _ = Tile(file.parent).grid
        found = check(root)
        assert [(level, subject) for level, subject, _ in told(found)] == [("error", "T1")]
        assert any(f.subject == "CRS" and f.measured.startswith("T1: ") for f in found.found)


def test_arrays_are_held_against_the_checksums_of_prepare(made, tmp_path, root):
    """What each reader sees by itself, and what only ``check`` does, which reads arrays whole."""
    sums = {f.subject: f.measured for f in check(root).found}["checksums"]
    assert sums == "0 of 2 tiles are as they were written; 2 have none (older, or not made by 'eozoo prepare')"
    base = shutil.copytree(made, tmp_path / "sealed")
    folder = base / "data/d/processed/T1"
    names = {*Tile(folder).files, folder / "labels.npy"}
    assert {folder / name for name in Tile(folder).info["files"]} == names
    assert "2 of 2 tiles are as they were written" in {f.measured for f in check(base).found}
    for file in [*sorted(names), folder / "tile.json"]:
        whole = file.read_bytes()
        at = whole.index(b'"dates": [\n  "20') + 14 if file.suffix == ".json" else len(whole) - 3
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(ZooError, match=f"{file}: was changed after it was written \\(its sha256"):
            Tile(folder).require_whole()
        file.write_bytes(whole)
    change(base, "T1/masks.npy", lambda a: 1 - a)
    assert [(level, s) for level, s, text in told(check(base)) if "masks.npy: was changed" in text] == [("error", "T1")]
    change(base, "T1/masks.npy", lambda a: 1 - a)
    change(base, "T1/band_mean.npy", lambda a: a + 1)
    with pytest.raises(ZooError, match=r"band_mean.npy: was changed .*; make it with 'eozoo prepare barlow_twins stat"):
        Tile(folder).statistics()
    write_statistics(Tile(folder))
    assert Tile(folder).require_whole()
