"""Loss and network from other plugins, and that what does not fit is refused."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo.registry import Registry
from eozoo_clay_ta.chunks import PatchStore
from eozoo_clay_ta.losses import squared_error
from eozoo_clay_ta.sample_schema import Normalisation
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.survey import ClaySurvey
from eozoo_clay_ta.system import CONTEXT, MapNetwork
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Port, Run, Spec, ZooError, hookimpl
from eozoo_core.settings.config import load_settings, to_dict

NORM = Normalisation(np.zeros(19, np.float32), np.ones(19, np.float32), 12.0, 10.0)
QUARTIC = Spec(
    "quartic",
    "test_clay_parts:quartic",
    "Somebody's loss.",
    takes=(Port("mean", "B 1 H W"), Port("target", "B 1 H W")),
)


class Quartic:
    """Fourth power of the error."""

    def __call__(self, mean, target):
        assert mean.shape[1:] == target.shape[1:] == (1, 1, 1)
        return (mean - target).pow(4).sum(), torch.isfinite(target).sum()


class Last(torch.nn.Module):
    """Every pixel: the channel that was asked for, times a weight."""

    def __init__(self, in_channels, outputs, channel):
        super().__init__()
        assert (in_channels, outputs) == (CONTEXT, 1)
        self.channel, self.weight = channel, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.weight * x[:, self.channel : self.channel + 1]


class Plugin:
    @hookimpl
    def eozoo_losses(self):
        return [QUARTIC]

    @hookimpl
    def eozoo_datasets(self):
        gives = (Port("image", "19 9 9"), Port("target", ""))
        names = {"spring": "Somebody's months.", "rows": "A list of samples."}
        return [Spec(name, f"test_clay_parts:{name}", text, gives=gives) for name, text in names.items()]


def spring(patch_dir, split):
    """The test split alone, under whatever name."""
    return PatchStore(Path(patch_dir), "test")


@pytest.fixture
def somebody(monkeypatch):
    """A registry with the plugin of somebody."""
    module = types.ModuleType("test_clay_parts")
    module.quartic, module.spring, module.rows = Quartic, spring, lambda patch_dir, split: [1, 2]
    monkeypatch.setitem(sys.modules, "test_clay_parts", module)
    registry = Registry.discover()
    registry.add(Plugin, "somebody 1.0")
    return registry


def test_samples_come_from_any_dataset_that_has_what_chunks_have(prepared, somebody):
    settings = load_settings(ClaySettings, None, ["data.samples.name=spring"], to_dict(prepared))
    somebody.check_slots(ClayTa, settings)
    found, tests = ClayTa(settings, somebody).data("train"), PatchStore(Path(prepared.runtime.data_dir), "test")
    assert found.meta() == tests.meta()
    settings = load_settings(ClaySettings, None, ["data.samples.name=rows"], to_dict(prepared))
    with pytest.raises(ZooError, match=r"data\.samples\.name: rows gives a list without 'files'"):
        ClayTa(settings, somebody).data("train")


def test_squared_error_counts_labels_only():
    total, count = squared_error()(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.0, 4.0, np.nan]))
    assert (float(total), int(count)) == (5.0, 2)
    mean = torch.tensor([1.0, 9.0], requires_grad=True)
    squared_error()(mean, torch.tensor([3.0, float("nan")]))[0].backward()
    assert mean.grad.tolist() == [-4.0, 0.0]


@pytest.mark.parametrize(
    ("channel", "expected"), [(18, 7.0), (19, 0.25), (25, 3.0), (26, math.sin(math.pi / 6)), (46, 1.0)]
)
def test_a_network_gets_all_inputs_as_planes_and_its_centre_counts(channel, expected):
    batch = {
        "x": torch.zeros(1, 19, 9, 9),
        "time7": torch.tensor([[0.25, 0, 0, 0, 0, 0, 3.0]]),
        "loc": torch.tensor([[30.0, 127.0, 2000.0]]),
        "landcover_onehot": torch.eye(17)[-1:],
    }
    batch["x"][0, 18, 4, 4] = 7.0
    assert MapNetwork(NORM, Last(CONTEXT, 1, channel))(batch)["z"].item() == pytest.approx(expected, rel=1e-6)


def test_training_follows_the_loss_of_another_plugin(prepared, tmp_path, somebody):
    registry = somebody
    overrides = ["model.loss.name=quartic", "model.type=network", "model.network.name=context_net"]
    overrides += ["model.network.options={sizes: [3], hidden: 8, noise: 0.0, dropout: 0.0}", "train.epochs=2"]
    settings = load_settings(ClaySettings, None, overrides, to_dict(prepared))
    registry.check_slots(ClayTa, settings)
    run, task = Run.create(tmp_path / "run", "clay_ta", settings), ClayTa(settings, registry)
    task.train(run)
    last = run.read_log()[-1]["val"]
    assert last["rmse_norm"] == pytest.approx(math.sqrt(last["mse"]))
    assert last["loss"] > 0
    assert abs(last["loss"] - last["mse"]) > 1e-3 * last["mse"]
    best = min(line["val"]["loss"] for line in run.read_log())
    described = task.network(run)
    assert described.architecture == "context_net"
    built = registry.create("model", "context_net", {**settings.model.network.options, "in_channels": 47, "outputs": 1})
    assert described.parameters == sum(p.numel() for p in built.parameters())
    again = ClayTa(settings, registry)
    assert again.evaluate(run, "val")["model"]["loss"] == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.loss.name=gaussian_nll"], r"model\.loss\.name: .*'gaussian_nll' .*log_scale"),
        (["model.loss.name=identity_edge"], r"it takes image \(B, 4, H, W\)"),
        (
            ["model.type=network", "model.network.name=clay_tiny"],
            r"network\.name: .* it gives tokens \(B, N, D\)",
        ),
        (["model.network.name=context_net"], r"model\.type=network .*model\.network\.name"),
        (["model.type=network"], r"model\.type=network .*model\.network\.name"),
    ],
)
def test_what_does_not_fit_is_one_line(overrides, message):
    with pytest.raises(ZooError, match=message):
        Registry.discover().check_slots(ClayTa, load_settings(ClaySettings, None, overrides))


def test_options_that_follow_from_the_data():
    overrides = ["model.type=network", "model.network={name: context_net, options: {in_channels: 3}}"]
    task = ClayTa(load_settings(ClaySettings, None, overrides), Registry.discover())
    with pytest.raises(ZooError, match=r"context_net: the option 'in_channels' follows from the data; take it out"):
        task.system(ClaySurvey(), True)


def test_a_trained_run_needs_the_published_weights_no_more(prepared, tmp_path):
    from safetensors.torch import save_file

    small = {"encoder": "prithvi_eo_nano", "width": 4, "blocks": 0}
    file, registry = tmp_path / "published.safetensors", Registry.discover()
    encoder = registry.create("model", "prithvi_dense", {**small, "in_channels": 4}).encoder
    save_file({f"encoder.{n}": t.contiguous() for n, t in encoder.state_dict().items()}, file)
    options = {**small, "pretrained": str(file)}
    overrides = ["model.type=network", "model.network.name=prithvi_dense", f"model.network.options={options}"]
    settings = load_settings(ClaySettings, None, [*overrides, "train.steps=1", "train.epochs=null"], to_dict(prepared))
    run, task = Run.create(tmp_path / "run", "clay_ta", settings), ClayTa(settings, registry)
    task.train(run)
    file.unlink()
    assert task.evaluate(run, "val")["model"]["loss"] > 0
    assert str(file) in task.network(run).pretrained
