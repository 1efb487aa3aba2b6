"""``eozoo export``: what is written predicts what the run predicts, or it is not written."""

import errno
import json
import os
import sys

import numpy as np
import pytest
import torch
import toy
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Graph, Spec, ZooError, hookimpl

ABOUT = "east and north, m; NaN = missing"


class Net(torch.nn.Module):
    """The toy's network, spoilt in one way or none."""

    def __init__(self, model, spoil):
        super().__init__()
        self.model, self.spoil = model, spoil

    def state_dict(self, *args, **options):
        """As networks do whose run keeps the frozen part elsewhere: not everything."""
        return {}

    def forward(self, x):
        if self.spoil == "filled":
            x = torch.nan_to_num(x)
        if self.spoil == "untraceable" and x.sum().item() > 0:
            x = x + float(np.random.default_rng().random())
        if self.spoil == "counts":  # of three samples only
            x = x + 0.0 * torch.tensor([[float(i)] for i in range(len(x))])
        return (self.model(x) + {"off": 0.01, "coarse": 0.001}.get(self.spoil, 0.0),)


class Exportable(toy.Toy):
    spoil = ""
    changes = {}  # noqa: RUF012 - of the Graph

    def graph(self, run):
        model = self._model().eval()
        model.load_state_dict(run.load("best")["model"])
        x = np.array([[0.5, -1.0], [2.0, 0.25], [1.0, 1.0]], "float32")
        graph = {"axes": {"x": ("batch", "")}, "about": {"x": ABOUT}} | self.changes
        return Graph(Net(model, self.spoil), {"x": x}, ("y",), **graph)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    class Plugin:
        @hookimpl
        def eozoo_tasks(self):
            return [Spec("ex", "test_export:Exportable", "A toy"), Spec("toy", "toy:Toy", "Another")]

    registry = Registry()
    registry.add(Plugin, "plugin 1.0")

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, [str(a) for a in arguments], obj=registry, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    call.home = tmp_path_factory.mktemp("exported")
    toy.Toy.sample(call.home / "data")
    fast = ("--set", "runtime.tensorboard=false", "--set", "train.epochs=1", "--quiet")
    call("train", "ex", "--run", call.home / "run", "--set", f"runtime.data_dir={call.home / 'data'}", *fast)
    return call


@pytest.fixture
def export(trained, tmp_path):
    def call(kind, code=0):
        file = tmp_path / {"torch-export": "net.pt2"}.get(kind, "net")
        words = ("--run", trained.home / "run", "--format", kind, "--output", file)
        return trained("export", "ex", *words, code=code), file

    return call


_SPACE = "free space or choose another folder"


def by_hand(trained, x):
    best = torch.load(trained.home / "run" / "best.pt", weights_only=True)["model"]
    hidden = np.tanh(x @ best["0.weight"].numpy().T + best["0.bias"].numpy())
    return hidden @ best["3.weight"].numpy().T + best["3.bias"].numpy()


NEW = np.array([[3.0, 1.0], [np.nan, 0.0], [0.0, 0.0], [1.0, 2.0], [5.0, 5.0]], "float32")  # more samples than traced
SUMMARY = "x float32 (batch, 2) -> y [m]; largest difference from predict "


def test_torch_export_predicts_the_same_without_eozoo(trained, export):
    output, file = export("torch-export")
    assert output.startswith(SUMMARY)
    assert "in 4 cases, missing values included" in output
    told = {"eozoo.json": ""}
    module = torch.export.load(file, extra_files=told).module()
    for x in (NEW, NEW[:1]):
        np.testing.assert_allclose(module(torch.from_numpy(x))[0], by_hand(trained, x), atol=1e-6)
    told = json.loads(told["eozoo.json"])
    assert told["inputs"] == {"x": {"shape": ["batch", 2], "dtype": "float32", "about": ABOUT}}
    assert told["outputs"] == {"y": {"unit": "m", "about": ""}}
    assert told["task"] == "ex"


def test_onnx_predicts_the_same_with_onnxruntime_alone(trained, export):
    import onnx
    import onnxruntime

    output, file = export("onnx")
    assert output.startswith(SUMMARY)
    session = onnxruntime.InferenceSession(file)
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [("x", ["batch", 2], "tensor(float)")]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("y", ["batch", 1])]
    for x in (NEW, NEW[:1]):
        (y,) = session.run(None, {"x": x})
        np.testing.assert_allclose(y, by_hand(trained, x), atol=1e-6)
    told = {p.key: p.value for p in onnx.load(file).metadata_props}
    assert json.loads(told["inputs"])["x"]["about"] == ABOUT
    assert json.loads(told["outputs"])["y"]["unit"] == "m"
    assert told["nodata"].startswith("NaN")
    assert [f.name for f in file.parent.iterdir()] == ["net"]  # one file, which holds the weights


def test_safetensors_holds_every_weight(trained, export):
    from safetensors import safe_open

    output, file = export("safetensors")
    assert output.startswith(SUMMARY)
    best = torch.load(trained.home / "run" / "best.pt", weights_only=True)["model"]
    with safe_open(file, "pt") as opened:
        assert {k.removeprefix("model."): opened.get_slice(k).get_shape() for k in opened.keys()} == {  # noqa: SIM118
            k: list(v.shape) for k, v in best.items()
        }
        assert json.loads(opened.metadata()["inputs"])["x"]["shape"] == ["batch", 2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("off", "'y' differs from predict by 0.01"),
        ("filled", "'y' is missing in other places"),
        ("untraceable", "torch cannot export this network, test_export.py line 34, 'if self.spoil"),
    ],
)
def test_what_differs_is_not_written(export, monkeypatch, tmp_path, spoil, message):
    monkeypatch.setattr("test_export.Exportable.spoil", spoil)  # the registry's import of this module
    (tmp_path / "net.pt2").write_text("old")
    output, file = export("torch-export", code=1)
    assert message in output
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_size_that_is_not_free_is_said(export, monkeypatch):
    monkeypatch.setattr("test_export.Exportable.spoil", "counts")
    output, file = export("torch-export")
    assert output.startswith("x float32 (3, 2) -> y")
    assert "fixed in this format: batch (torch cannot export this network" in output
    assert "safetensors" not in output  # that is for who has no file
    with pytest.raises(Exception, match="3"):
        torch.export.load(file).module()(torch.from_numpy(NEW))


def test_another_precision_is_declared_and_the_file_still_checked(export, monkeypatch):
    monkeypatch.setattr("test_export.Exportable.spoil", "coarse")
    output, _ = export("torch-export", code=1)
    assert "differs from predict by 0.001" in output
    changes = {"tolerance": 0.01, "note": "float32 weights; the run predicts in halves"}
    monkeypatch.setattr("test_export.Exportable.changes", changes)
    output, _ = export("torch-export")
    assert "largest difference from predict 1.0e-03" in output
    assert "\nfloat32 weights; the run predicts in halves\n" in output


def test_a_graph_that_cannot_be_compared_is_a_bug_of_its_task(trained, export, monkeypatch):
    monkeypatch.setattr("test_export.Exportable.changes", {"axes": {"x": ("batch",)}})
    with pytest.raises(ValueError, match=r"ex: Graph\.axes names 'x' with 1 axes"):
        export("safetensors")
    monkeypatch.setattr("test_export.Exportable.changes", {})
    nothing = lambda self, run, batch: {"y": np.full((len(batch["x"]), 1), np.nan, "float32")}  # noqa: E731
    monkeypatch.setattr("test_export.Exportable.predict", nothing)
    with pytest.raises(ValueError, match=r"Graph\.inputs .*'y'"):
        export("safetensors")


def test_without_the_onnx_packages_one_line_says_what_to_install(export, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    output, _ = export("onnx", code=1)
    assert "--format onnx" in output
    assert output.endswith("pip install 'eozoo[onnx]'\n")
    assert output.count("\n") == 1


def test_weights_beyond_what_one_onnx_file_holds(export, monkeypatch):
    monkeypatch.setattr("eozoo.export_formats._LARGEST", 10)
    output, _ = export("onnx", code=1)
    assert "an ONNX file holds 2 GB" in output
    assert "use --format torch-export" in output


def test_the_file_can_be_read_by_whom_the_umask_allows_and_nothing_lies_beside_it(export):
    before = os.umask(0o027)
    try:
        for kind in ("torch-export", "safetensors"):
            _, file = export(kind)
            assert file.stat().st_mode & 0o777 == 0o640
            assert [f.name for f in file.parent.iterdir() if f.name.startswith(".")] == []
    finally:
        os.umask(before)


def test_a_full_disk_is_one_line_and_leaves_nothing(export, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    output, file = export("safetensors", code=1)
    assert output.startswith(f"Error: {file}: ")
    assert "No space left on device" in output
    assert output.count("\n") == 1
    assert list(file.parent.iterdir()) == []


def test_a_task_without_a_graph_says_so(trained, tmp_path):
    run = tmp_path / "run"
    run.symlink_to(trained.home / "run")
    words = ("export", "toy", "--run", run, "--format", "safetensors", "--output")
    from eozoo_core import Run

    with pytest.raises(ZooError, match="cannot be exported"):
        toy.Toy(toy.Toy.Settings()).graph(Run(run, "toy", toy.Toy.Settings()))
    assert "give a file in a folder that exists" in trained(*words, tmp_path / "no" / "x", code=1)
    words = ("export", "ex", "--run", run, "--format", "torch-export", "--output", tmp_path / "x.pt")
    assert trained(*words, code=1).endswith("x.pt: torch.export.load takes files that end in .pt2; name it so\n")
