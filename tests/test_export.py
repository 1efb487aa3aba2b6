"""``eozoo export``: what is written predicts what the run predicts, or it is not written."""

import numpy as np
import pytest
import torch
import toy
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo_core import Graph, Spec, hookimpl


class Net(torch.nn.Module):
    """The toy's network, spoilt in one way or none."""

    def __init__(self, model, spoil):
        super().__init__()
        self.model, self.spoil = model, spoil

    def forward(self, x):
        if self.spoil == "filled":
            x = torch.nan_to_num(x)
        if self.spoil == "untraceable" and x.sum().item() > 0:
            x = x + float(np.random.default_rng().random())
        return (self.model(x) + (0.01 if self.spoil == "off" else 0.0),)


class Exportable(toy.Toy):
    spoil = ""

    def graph(self, run):
        model = self._model().eval()
        model.load_state_dict(run.load("best")["model"])
        x = np.array([[0.5, -1.0], [2.0, 0.25], [1.0, 1.0]], "float32")
        return Graph(Net(model, self.spoil), {"x": x}, ("y",))


@pytest.fixture
def eozoo(tmp_path):
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

    toy.Toy.sample(tmp_path / "data")
    fast = ("--set", "runtime.tensorboard=false", "--set", "train.epochs=1", "--quiet")
    call("train", "ex", "--run", tmp_path / "run", "--set", f"runtime.data_dir={tmp_path / 'data'}", *fast)
    return call


def export(eozoo, tmp_path, kind, file, code=0):
    return eozoo("export", "ex", "--run", tmp_path / "run", "--format", kind, "--output", tmp_path / file, code=code)


def test_both_formats_predict_the_same_without_eozoo(eozoo, tmp_path):
    from safetensors.torch import load_file

    output = export(eozoo, tmp_path, "torch-export", "net.pt2")
    assert output.startswith("x float32 (3, 2) -> y; largest difference from predict ")
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    x = torch.tensor([[3.0, 1.0], [float("nan"), 0.0], [0.0, 0.0]])
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    hidden = torch.tanh(x @ best["0.weight"].T + best["0.bias"])
    expected = hidden @ best["3.weight"].T + best["3.bias"]
    assert torch.allclose(loaded(x)[0], expected, equal_nan=True, atol=1e-6)
    export(eozoo, tmp_path, "safetensors", "net.safetensors")
    assert {k.removeprefix("model."): v.shape for k, v in load_file(tmp_path / "net.safetensors").items()} == {
        k: v.shape for k, v in best.items()
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("off", "the exported 'y' differs from predict by 0.01; not written"),
        ("filled", "the exported 'y' is missing in other places than predict's; not written"),
        ("untraceable", "torch cannot export this network ("),
    ],
)
def test_what_differs_is_not_written(eozoo, tmp_path, monkeypatch, spoil, message):
    monkeypatch.setattr("test_export.Exportable.spoil", spoil)  # the registry's import of this module
    before = sorted(tmp_path.iterdir())
    (tmp_path / "net.pt2").write_text("old")
    assert message in export(eozoo, tmp_path, "torch-export", "net.pt2", code=1)
    assert (tmp_path / "net.pt2").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "net.pt2"])


def test_a_task_without_a_graph_says_so(eozoo, tmp_path):
    run = tmp_path / "run" / "run.json"
    run.write_text(run.read_text().replace('"task": "ex"', '"task": "toy"'))
    words = ("export", "toy", "--run", tmp_path / "run", "--format", "safetensors", "--output")
    output = eozoo(*words, tmp_path / "x", code=1)
    assert output == "Error: toy: cannot be exported: the task does not offer its network as one graph\n"
    assert "give a file in a folder that exists" in eozoo(*words, tmp_path / "no" / "x", code=1)
