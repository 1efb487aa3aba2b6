"""``eozoo check prithvi_refine``: good tiles, and each fault by itself."""

import json
import shutil

import numpy as np
import pytest
from eozoo_core.checking import Findings
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine.demo.landscape import write_world
from eozoo_prithvi_refine.settings import PrithviSettings
from eozoo_prithvi_refine.task import PrithviRefine
from eozoo_prithvi_refine.tile_files import read_npz, write_npz


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), size=32, train=12, held_out=3).data_dir


@pytest.fixture
def tiles(made, tmp_path):
    return shutil.copytree(made, tmp_path / "tiles")


def check(tiles, *overrides):
    settings = load_settings(PrithviSettings, None, [f"runtime.data_dir={tiles}", "data.tile_size=24", *overrides])
    findings = Findings()
    PrithviRefine(settings).check(findings)
    return findings


def told(findings):
    return [
        (f.level, f.subject, f"{f.measured} -> {f.remedy}") for f in findings.found if f.level in ("warning", "error")
    ]


def scale(file, by):
    write_npz(file, {k: a * by if k.startswith("s2") else a for k, a in read_npz(file).items()})


def sidecar(file, **values):
    file = file.with_suffix(".json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_good_tiles_give_no_warning_and_input_beside_target(tiles):
    found = check(tiles)
    assert told(found) == []
    assert [p.title for p in found.preview[1]()] == [
        "input: B02", "target: B02", "input: B04", "target: B04", "input: B08", "target: B08", "valid in all bands",
    ]  # fmt: skip
    by_subject = {f.subject: f for f in found.found}
    assert by_subject["month"].measured == "train 1-12; val 1, 6, 11; test 1, 6, 11"
    assert by_subject["leakage: places"].measured.startswith("18 places, none in two splits")
    assert by_subject["time"].measured.startswith("train 2021-01-15 to 2021-12-15")


FAULTS = [
    (lambda t: scale(t / "train/tile_0003.npz", 1e4), (), "error", "train", "tile_0003.npz: values up to"),
    (lambda t: scale(t / "train/tile_0003.npz", 1e-4), (), "warning", "values", "tile_0003.npz"),
    (
        lambda t: sidecar(t / "test/tile_0001.npz", place="train_3"),
        (),
        "error",
        "leakage train/test: places",
        "train_3",
    ),
    (lambda t: None, ("model.weights=/nowhere.pt",), "error", "model.weights", "/nowhere.pt: no such file"),
    (lambda t: None, ("data.tile_size=64",), "error", "train: sizes", "32 x 32 px are smaller than data.tile_size=64"),
    (lambda t: shutil.rmtree(t / "val"), (), "error", "val", "has no split 'val'"),
    (lambda t: (t / "train/tile_0003.npz").write_bytes(b"PK no"), (), "error", "train", "cannot be read as an NPZ"),
]


@pytest.mark.parametrize(("spoil", "overrides", "level", "subject", "words"), FAULTS, ids=[f[4][:24] for f in FAULTS])
def test_one_fault_gives_one_finding(tiles, spoil, overrides, level, subject, words):
    spoil(tiles)
    ((found, where, text),) = told(check(tiles, *overrides))
    assert (found, where) == (level, subject)
    assert words in text


def test_a_tile_under_another_name_in_another_place_is_found(tiles):
    shutil.copy(tiles / "train/tile_0004.npz", tiles / "test/other.npz")
    (tiles / "test/other.json").write_text('{"place": "elsewhere", "date": "20210601"}')
    assert [s for _, s, _ in told(check(tiles))] == ["leakage train/test: pixels", "leakage train/test: files"]


def test_months_that_training_does_not_show_are_told(tiles):
    for file in (tiles / "train").glob("*.npz"):
        write_npz(file, {**read_npz(file), "month": np.int64(1)})
    assert "6, 11 is in no training tile read (train 1; val 1, 6, 11" in told(check(tiles))[0][2]


def test_missing_stage_1_outputs_are_told_and_the_tiles_looked_at_all_the_same(tiles, tmp_path):
    (tmp_path / "stage1").mkdir()
    found = check(tiles, f"runtime.stage1_dir={tmp_path / 'stage1'}")
    assert [s for _, s, _ in told(found)] == [f"{n}: stage 1" for n in ("train", "val", "test")]
    assert any(f.subject == "values" and f.level == "ok" for f in found.found)


def lay(tiles, **where):
    """Give the tiles of every split, 32 x 10 m, the sidecar that ``where`` makes of their numbers."""
    for split, of in where.items():
        for i, file in enumerate(sorted((tiles / split).glob("*.npz"))):
            sidecar(file, **of(i))


def test_tiles_of_prepare_lie_on_the_ground(tiles):
    """By CRS and transform to the pixel: tiles beside one another touch, 6 m into one another they overlap."""

    def at(east, zone):
        return lambda i: {"crs": f"EPSG:{zone}", "transform": [10, 0, east, 0, -10, 5_600_000 + 5000 * i]}

    lay(tiles, train=at(500_000, 32631), val=at(500_317, 32631), test=at(500_000, 32633))
    found = check(tiles)
    assert told(found)[0][:2] == ("warning", "leakage train/val: ground")
    numbers = next(f.numbers for f in found.found if f.subject == "leakage train/val: ground")
    assert numbers["nearest_m"] == 0
    lay(tiles, val=at(500_314, 32631))
    assert [f[:2] for f in told(check(tiles))] == [("error", "leakage train/val: ground")]


def test_tiles_that_know_their_centre_only_overlap_where_that_is_sure(tiles):
    """``spot`` is the centre and ``pixel`` the size; a degree of latitude is 111.2 km, give or take 0.6 %."""
    step = 32 * 10 / 111_195

    def at(lat):
        return lambda i: {"spot": f"{lat:.7f}_{i / 10:.7f}", "pixel": [10, 0, 0, 0, -10, 0]}

    lay(tiles, train=at(0), val=at(step * 0.995), test=at(1))
    found = check(tiles)
    ground = next(f for f in found.found if f.subject == "leakage: ground")
    side = 320 * 0.994 - 10
    assert ground.numbers["nearest_m"]["train/val"] == pytest.approx(320 * 0.995 - side, abs=0.02)
    assert ground.numbers["nearest_m"]["train/test"] == pytest.approx(111_195 - side, rel=1e-4)
    lay(tiles, val=at(step / 2))
    assert ("error", "leakage train/val: ground") in [f[:2] for f in told(check(tiles))]


def test_sidecars_that_cannot_be_read_are_one_finding(tiles):
    damaged = sorted((tiles / "train").glob("*.json"))[:5]
    for file in damaged:
        file.write_text("{")
    found = told(check(tiles))
    assert [subject for _, subject, _ in found] == ["train: sidecars", "train", "month"]
    assert found[0][2].startswith(f"5 of 12 cannot be read: {damaged[0]}")
