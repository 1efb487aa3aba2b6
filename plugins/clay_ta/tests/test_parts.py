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
from eozoo_clay_ta.data import Patches
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.losses import squared_error
from eozoo_clay_ta.plugin import WINDOWS
from eozoo_clay_ta.sample_schema import Normalisation
from eozoo_clay_ta.scores import TaScores, ZLoss
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.station_windows import StationWindows
from eozoo_clay_ta.survey import ClaySurvey
from eozoo_clay_ta.system import CONTEXT, MapNetwork, z_target
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Port, Run, Spec, ZooError, hookimpl
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.registered import Registered

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
        names = {"spring": "Somebody's months.", "rows": "A list of samples.", "windows": "Others' windows."}
        return [Spec(name, f"test_clay_parts:{name}", text, gives=WINDOWS) for name, text in names.items()]


def spring(patch_dir, split):
    """The test split alone, under whatever name."""
    return PatchStore(Path(patch_dir), "test")


def windows(patch_dir, split):
    """Nine samples of a hot and a cold place, in physical units; three have a gap."""
    first = {"train": 0, "val": 100, "test": 200}[split]
    samples = [
        {
            "image": np.full((19, 9, 9), 200.0 + i),
            "target": np.float32(10 + 2 * (i % 3)),
            "time": 86400.0 * 3 * (first + i) + 6 * 3600,
            "lat": 37.57,
            "lon": 126.97 + i % 2,
            "landcover": 1,
        }
        for i in range(9)
    ]
    samples[2]["image"][3, 0, 0] = samples[5]["target"] = np.nan
    samples[8]["landcover"] = 17
    return samples


@pytest.fixture
def somebody(monkeypatch):
    """A registry with the plugin of somebody."""
    module = types.ModuleType("test_clay_parts")
    module.quartic, module.spring, module.rows = Quartic, spring, lambda patch_dir, split: [1, 2]
    module.windows = windows
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
    with pytest.raises(ZooError, match=r"data\.samples\.name: rows, sample 0: is a int, not a dict of arrays"):
        ClayTa(settings, somebody).data("train")


def test_samples_of_another_plugin_are_physical_and_complete(prepared, somebody):
    settings = load_settings(ClaySettings, None, ["data.samples.name=windows"], to_dict(prepared))
    data = ClayTa(settings, somebody).data("train")
    assert data.skipped == ("3 of 9 samples, which have a gap",)
    norm = data.normalisation()  # of 200, 201, 203, 204, 206, 207 everywhere, and of 10, 12, 10, 12, 10, 12 degC
    assert (norm.ta_mean, norm.ta_std) == (11.0, 1.0)
    np.testing.assert_allclose(norm.mean[:18], 203.5)
    np.testing.assert_allclose(norm.std[:18], math.sqrt(37.5 / 6), rtol=1e-6)
    assert (norm.mean[18], norm.std[18]) == (0, 1)  # the land mask stays as it is
    assert data.labels(norm).tolist() == [-1, 1, -1, 1, -1, 1]
    assert data.meta()[1][:2] == ("1970-01-04T06:00:00", 375712797)
    system, batch = MapNetwork(norm, Last(CONTEXT, 1, 0)), {k: torch.tensor(v) for k, v in data.items([0, 5]).items()}
    staged = system.stage(batch)
    np.testing.assert_allclose(staged["x"][:, 0, 4, 4], [-1.4, 1.4], rtol=1e-6)
    loss = ZLoss(squared_error(), "its loss", norm)({"z": torch.tensor([0.0, 3.0])}, batch)
    assert [float(v) for v in (*loss["loss"], *loss["mse"])] == [1 + 4, 2, 1 + 4, 2]
    scores = TaScores(ZLoss(squared_error(), "its loss", norm), norm)
    scores.add({"z": np.array([0.0, 3.0])}, data.items([0, 5]))
    assert scores.compute(scores.sums())["rmse_K"] == pytest.approx(math.sqrt(2.5))
    fitted = TaScores(ZLoss(squared_error(), "its loss", norm), norm)
    fitted.add({"ta": np.array([11.0, np.nan])}, data.items([0, 5]))  # a baseline, in degC as the target; one missing
    assert fitted.compute(fitted.sums())["rmse_K"] == pytest.approx(1)


def test_the_registered_chunks_give_what_the_slot_asks_for(prepared):
    registry = Registry.discover()
    options = {"patch_dir": prepared.runtime.data_dir, "split": "val"}
    data = registry.create("dataset", "clay_ta_patches", options)
    said, store = Registered(data, "its own", WINDOWS), PatchStore(Path(prepared.runtime.data_dir), "val")
    norm, arrays = Patches(store).normalisation(), StationWindows(said, KoGrid()).items(range(len(store)))
    np.testing.assert_allclose(z_target(arrays, norm.ta_mean, norm.ta_std), Patches(store).labels(norm), atol=1e-5)
    system = MapNetwork(norm, Last(CONTEXT, 1, 0))
    staged = system.stage({name: torch.as_tensor(values) for name, values in arrays.items()})
    for name, values in Patches(store).items(range(len(store))).items():
        if name != "target":
            np.testing.assert_allclose(staged[name], values, atol=1e-4)


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
