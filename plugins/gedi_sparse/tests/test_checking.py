"""``eozoo check gedi_sparse``: good patches, and each fault by itself."""

import json

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo_core import ZooError
from eozoo_core.checking import Findings
from eozoo_gedi_sparse.prepare.settings import PatchesSettings
from eozoo_gedi_sparse.settings import DataSettings, GediPrepareSettings, GediRuntimeSettings, GediSettings
from eozoo_gedi_sparse.task import GediSparse

REGISTRY = Registry.discover()
SPLITS = {"train": 6, "val": 2, "test": 2}


@pytest.fixture
def root(tmp_path):
    """Patches of the documented bands, 32 px; a fifth of the pixels has a height."""
    random = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for i in range(count):
            image = random.uniform(0.01, 0.5, (14, 32, 32)).astype("float32")
            height = np.where(random.random((1, 32, 32)) < 0.2, 60 * image[:1], np.nan).astype("float32")
            for kind, array in (("input", image), ("label", height)):
                (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
                np.save(tmp_path / kind / split / f"p{i}.npy", array)
    return tmp_path


def check(root, prepare=None, **data):
    runtime = GediRuntimeSettings(input_dir=root / "input", label_dir=root / "label")
    settings = GediSettings(data=DataSettings(**{"crop": 32, **data}), runtime=runtime)
    if prepare:
        settings = settings.model_copy(update={"prepare": GediPrepareSettings(patches=prepare)})
    findings = Findings()
    GediSparse(settings, REGISTRY).check(findings)
    return findings


def told(findings):
    return [
        (f.level, f.subject, f"{f.measured} -> {f.remedy}") for f in findings.found if f.level in ("warning", "error")
    ]


def change(file, what):
    array = what(np.load(file, allow_pickle=False))
    np.save(file, array)


def test_good_patches_give_no_warning_and_a_picture_of_known_bands(root):
    found = check(root)
    assert told(found) == []
    assert found.preview[0].startswith(f"train: {root}/input/train/p")
    panels = found.preview[1]()
    assert [p.title for p in panels[:6]] == ["B2", "B3", "B4", "B8", "B11", "VV"]
    assert panels[5].unit == "(dB + 30) / 30"
    assert {p.unit for p in panels[6:]} == {"m", "1 = valid, grey = missing"}


FAULTS = [
    (lambda r: change(r / "input/train/p3.npy", lambda a: np.concatenate([a[:12] * 1e4, a[12:]])), "values",
     "train/p3.npy): B1 holds", "divide by 10000"),
    (lambda r: change(r / "label/train/p3.npy", lambda a: a * 100), "labels", "centimetres", "divide by 100"),
    (lambda r: change(r / "label/train/p3.npy", lambda a: np.nan_to_num(a, nan=-9999)), "train: labels", "-9999",
     "set data.label_nodata"),
    (lambda r: change(r / "input/val/p0.npy", lambda a: a[:, :20]), "val", "p0.npy: is 32 x 32 px, its input", ""),
    (lambda r: change(r / "input/val/p0.npy", lambda a: a[:9]), "val", "p0.npy: has 9 bands", ""),
    (lambda r: (r / "label/train/p3.npy").unlink(), "train: pairs", "p3.npy: has no label", "data.skip_unpaired"),
    (lambda r: (r / "input/test/p1.npy").write_bytes(b"no"), "test", "p1.npy: cannot be read", ""),
    (lambda r: change(r / "input/test/p1.npy", lambda a: np.load(r / "input/train/p2.npy")[:, ::-1]),
     "leakage train/test: pixels", "test/p1.npy has 100.0 % of its pixels in common with", "split by place"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "subject", "words", "remedy"), FAULTS, ids=[f"{f[1]}: {f[2][:20]}" for f in FAULTS])
def test_one_fault_gives_one_finding(root, spoil, subject, words, remedy):
    spoil(root)
    ((_, found, text),) = told(check(root))
    assert found == subject
    assert words in text
    assert remedy in text


def test_a_leak_of_a_copied_file_is_found_in_pixels_and_files(root):
    for kind in ("input", "label"):
        (root / kind / "test" / "p1.npy").write_bytes((root / kind / "train" / "p2.npy").read_bytes())
    assert [s for _, s, _ in told(check(root))] == ["leakage train/test: pixels", "leakage train/test: files"]


def test_patches_of_other_sizes_and_too_large_a_window(root):
    for kind in ("input", "label"):
        change(root / kind / "train" / "p0.npy", lambda a: a[:, :24])
    assert told(check(root, crop=None))[0][:2] == ("error", "train: sizes")
    assert "the side of the largest, 32 px" in told(check(root, crop=64))[0][2]


def test_neighbours_nearer_than_the_gap_of_the_patches_are_told(root):
    for i, split in enumerate(["train", "val", "test"]):
        for file in [*(root / "input" / split).iterdir(), *(root / "label" / split).iterdir()]:
            array = np.load(file, allow_pickle=False)
            file.unlink()
            left = 20 * (36 * i + 500 * int(file.stem[1:]))  # 4 px between splits
            profile = {"driver": "GTiff", "dtype": "float32", "count": len(array), "height": 32, "width": 32}
            place = {"crs": "EPSG:32647", "transform": rasterio.Affine(20, 0, left, 0, -20, 0)}
            with rasterio.open(file.with_suffix(".tif"), "w", **profile, **place) as out:
                out.write(array)
    assert told(check(root, PatchesSettings(gap=4))) == []
    near = told(check(root, PatchesSettings(gap=6)))
    assert [s for _, s, _ in near] == ["leakage train/val: ground", "leakage val/test: ground"]
    assert "nearer than the 120 m of prepare.patches.gap=6 px" in near[0][2]


def test_patches_without_crs_lie_where_the_step_that_cut_them_says(root):
    rows = ["split,name,row,col,size"]
    for i, split in enumerate(SPLITS):
        rows += [f"{split},p{n},{100 * n},{36 * i},32" for n in range(SPLITS[split])]
    (root / "patches.csv").write_text("\n".join(rows))
    about = {"crs": "EPSG:32647", "transform": [20, 0, 480000, 0, -20, 2080000]}
    (root / "patches.json").write_text(json.dumps(about))
    ground = next(f for f in check(root).found if f.subject == "leakage: ground")
    assert ground.numbers["nearest_m"] == {"train/val": 80, "train/test": 800, "val/test": 80}  # 4 and 40 px of 20 m
    assert "120 m of prepare.patches.gap=6" in told(check(root, PatchesSettings(gap=6)))[0][2]
    (root / "patches.csv").write_text("split,name\ntrain,p0")
    assert [s for _, s, _ in told(check(root))] == ["patches.csv"]


def test_no_folder_is_an_error_that_says_which_setting(tmp_path):
    with pytest.raises(ZooError, match=r"runtime\.data_dir is not set"):
        GediSparse(GediSettings(), REGISTRY).check(Findings())
    assert "runtime.input_dir holds train/" in told(check(tmp_path))[0][2]
