"""``eozoo check`` as its users meet it, on the toy task, which has no check of its own."""

import json
import types

import numpy as np
import pytest
import rasterio
import toy
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Spec, ZooError, hookimpl
from eozoo_core.checking import Findings
from eozoo_core.checking.folders import check_settings, read_sample


@pytest.fixture
def data(tmp_path):
    toy.Toy.sample(tmp_path / "data")
    (tmp_path / "data" / "source.npy").unlink()
    return tmp_path / "data"


@pytest.fixture
def check(data):
    registry = Registry()
    plugin = types.SimpleNamespace(eozoo_tasks=hookimpl(lambda: [Spec("toy", "toy:Toy", "Learns a line")]))
    registry.add(lambda: plugin, "toy-plugin 1.0")

    def call(*arguments, code=0, folder=data):
        command = ["check", "toy", "--set", f"runtime.data_dir={folder}", *map(str, arguments)]
        result = CliRunner().invoke(main, command, obj=registry, catch_exceptions=code is None)
        assert result.exit_code == (1 if code is None else code), result.output
        return result if code is None else result.output

    return call


def test_good_data_are_described_and_exit_with_0(check, data):
    output = check()
    assert "ok       train data_dir: 1 sample, all 1 read, of shape 1 x 64 x 3\n" in output
    assert "unknown  labels: the task has no check of its own" in output
    assert output.splitlines()[-1].startswith("0 errors, 0 warnings, ")
    assert sorted(p.name for p in data.iterdir()) == ["test.npy", "train.npy", "val.npy"]


def test_json_and_the_files_say_the_same(check, tmp_path):
    out = tmp_path / "out"
    content = json.loads(check("--json", "--out", out))
    assert (content["task"], content["failed"]) == ("toy", False)
    assert content["counts"]["error"] == 0
    assert {f["subject"] for f in content["findings"]} >= {"train data_dir", "missing values", "values", "labels"}
    assert content["files"] == [str(out / "toy_check.png"), str(out / "toy_check.json")]
    written = json.loads((out / "toy_check.json").read_text())
    assert written == {k: v for k, v in content.items() if k != "files"}
    assert (out / "toy_check.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in out.iterdir()) == ["toy_check.json", "toy_check.png"]


def test_missing_data_exit_with_1_and_leave_a_record(check, tmp_path):
    output = check("--out", tmp_path / "out", folder=tmp_path / "nowhere", code=1)
    assert f"error    runtime.data_dir: {tmp_path}/nowhere: no such file or folder\n         -> set runtime" in output
    assert "unknown  preview: there is no sample to draw" in output
    assert json.loads((tmp_path / "out" / "toy_check.json").read_text())["failed"]


def test_an_empty_setting_is_unknown():
    findings = Findings()
    check_settings(toy.ToySettings(), findings)
    assert [(f.level, f.subject) for f in findings.found] == [("unknown", "data")]
    assert "its runtime settings name no path" in findings.found[0].measured


def test_a_damaged_file_and_a_copied_one_are_errors(check, data):
    (data / "val.npy").write_bytes((data / "train.npy").read_bytes())
    output = check(code=1)
    assert f"{data}/val.npy is {data}/train.npy" in output
    (data / "val.npy").write_bytes(b"\x93NUMPY")
    assert "val.npy: cannot be read as a .npy array" in check(code=1)


def test_warnings_fail_with_strict_only(check, data):
    rows = np.load(data / "train.npy", allow_pickle=False)
    np.save(data / "train.npy", np.full_like(rows, 2.0))
    assert "warning  train data_dir: bands: band 1 (always 2)" in check()
    assert "1 warning, " in check("--strict", code=1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "-1"], "--samples -1: give 0 (all) or more"),
        (["--set", "model.widht=3"], "unknown setting 'model.widht'. Did you mean 'model.width'?"),
        (["--out", "{data}/train.npy"], "train.npy: is a file; give a folder"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(check, data, arguments, words):
    output = check(*[a.format(data=data) for a in arguments], code=1)
    assert words in output
    assert output.startswith("Error: ")


def test_a_bug_keeps_its_traceback_and_names_its_plugin(check, monkeypatch):
    monkeypatch.setattr("toy.Toy.check", lambda self, findings: 1 / 0)
    result = check(code=None)
    assert isinstance(result.exception, ZeroDivisionError)
    assert "from toy-plugin 1.0" in result.exception.__notes__[0]


def test_a_picture_that_cannot_be_drawn_is_an_error_finding(check, monkeypatch, tmp_path):
    def broken(self, findings):
        findings.ok("data", "there")
        findings.picture("x", self.draw)

    def draw(self):
        raise ZooError("x.tif: is gone")

    monkeypatch.setattr("toy.Toy.check", broken)
    monkeypatch.setattr("toy.Toy.draw", draw, raising=False)
    assert "error    preview: x.tif: is gone" in check("--out", tmp_path / "out", code=1)
    assert json.loads((tmp_path / "out" / "toy_check.json").read_text())["failed"]


# -- the default check on GeoTIFFs ----------------------------------------------------------------------------------


def write(file, values, left, unit="reflectance 0..1"):
    file.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "dtype": "float32", "count": len(values), "height": 20, "width": 20, "nodata": -1}
    with rasterio.open(
        file, "w", crs="EPSG:32631", transform=rasterio.Affine(10, 0, left, 0, -10, 0), **profile
    ) as out:
        out.write(values)
        out.descriptions, out.units = ("red", "nir")[: len(values)], (unit,) * len(values)


def test_rasters_are_judged_by_what_they_say_of_themselves(tmp_path):
    random = np.random.default_rng(0)
    for i, split in enumerate(["train"] * 6 + ["val"] * 2):
        image = random.uniform(0.02, 0.4, (2, 20, 20)).astype("float32")
        write(tmp_path / split / "label" / f"{i}.tif", image[:1] * 30, 300 * i, "m")
        image *= 10_000 if i == 2 else 1
        image[:, :5] = -1
        write(tmp_path / split / "image" / f"{i}.tif", image, 300 * i)
    write(tmp_path / "val" / "image" / "7.tif", random.uniform(0.02, 0.4, (2, 20, 20)).astype("float32"), 150)
    findings = Findings()
    check_settings(toy.ToySettings(runtime=toy.ToyRuntime(data_dir=str(tmp_path))), findings)
    told = {f.subject: f.measured for f in findings.found if f.level in ("warning", "error")}
    assert list(told) == ["values", "leakage train data_dir/image/val data_dir/image: ground"]
    assert "2.tif" in told["values"]
    assert "digital numbers" in told["values"]
    assert "7.tif and " in told["leakage train data_dir/image/val data_dir/image: ground"]
    numbers = next(f.numbers for f in findings.found if f.subject == "missing values")
    assert numbers["train data_dir/image"] == {"red": 0.25, "nir": 0.25}


def test_of_a_very_large_file_a_window_is_read(tmp_path):
    large = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", "uint8", (8, 3000, 2000))
    large[:, 1500, 1000] = 7
    item = read_sample(tmp_path / "large.npy")
    assert item.image.size <= 2**24
    assert item.image.max() == 7  # the middle


def test_a_damaged_first_file_hides_no_other(tmp_path):
    folder = tmp_path / "train" / "images"
    folder.mkdir(parents=True)
    for name in "abc":
        np.save(folder / f"{name}.npy", np.random.default_rng(0).uniform(0, 1, (2, 20, 20)).astype("float32"))
    (folder / "a.npy").write_bytes(b"cut off")
    findings = Findings()
    check_settings(toy.Toy.Settings(runtime={"data_dir": str(tmp_path)}), findings)
    found = [(f.level, f.measured) for f in findings.found if f.subject == "train data_dir/images"]
    assert [level for level, _ in found] == ["error", "ok"]
    assert found[0][1].startswith(f"1 of 3 samples read cannot be used: {folder / 'a.npy'}: ")
    assert found[1][1].startswith("3 samples, all 3 read")


def test_a_missing_setting_is_said_once_not_for_every_split():
    result = CliRunner().invoke(main, ["check", "gedi_sparse"])
    assert result.exit_code == 1
    assert result.output.count("runtime.data_dir is not set") == 1
