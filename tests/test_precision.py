"""What ``precision`` becomes on a device, what a run keeps of it, and what scores and maps then compute in."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from eozoo import Registry
from eozoo.export import export
from eozoo_core import Run, ZooError
from eozoo_core.settings import EvalSettings, InferSettings, TrainSettings
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.train.launch import launch
from eozoo_core.train.memory import step_memory
from eozoo_core.train.precision import compute_in, is_fast, precision_in_use, resolve_precision, training_precision
from test_checkpoint import message
from toy import Toy, ToySettings

CAPABILITIES = [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_bf16": True, "amx_bf16": True}]
SLOW = [{}, {"avx2": True, "avx512_f": True}, {"avx512_bf16": False, "amx_bf16": False}]


def cpu_has(monkeypatch, known):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)


@pytest.fixture
def fast(monkeypatch):
    cpu_has(monkeypatch, {"amx_bf16": True})


@pytest.fixture
def slow(monkeypatch):
    cpu_has(monkeypatch, {"avx2": True})


@pytest.fixture
def cuda(monkeypatch):
    def cuda(*capability):
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda device=None: asked.append(device) or capability)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda emulated=True: capability >= (8, 0))
        return asked

    asked = []
    return cuda


@pytest.mark.parametrize("known", CAPABILITIES)
def test_a_cpu_with_bf16_units(monkeypatch, known):
    cpu_has(monkeypatch, known)
    assert resolve_precision("auto", "cpu") == resolve_precision("auto", torch.device("cpu")) == "bf16-mixed"


@pytest.mark.parametrize("known", SLOW)
def test_a_cpu_without(monkeypatch, known):
    cpu_has(monkeypatch, known)
    assert resolve_precision("auto", "cpu") == "fp32"
    assert resolve_precision("bf16-mixed", "cpu") == "bf16-mixed"  # slow, but there


def test_a_torch_that_does_not_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", "cpu") == "fp32"


@pytest.mark.parametrize(("capability", "expected"), [
    ((6, 1), "fp32"), ((7, 5), "fp32"), ((8, 0), "bf16-mixed"), ((8, 6), "bf16-mixed"), ((9, 0), "bf16-mixed"),
    ((10, 0), "bf16-mixed"),
])  # fmt: skip
def test_gpus(cuda, fast, capability, expected):
    asked = cuda(*capability)
    assert resolve_precision("auto", "cuda:1") == expected
    assert asked == ["cuda:1"]  # not of the first one
    assert is_fast("fp16-mixed", "cuda") == (capability >= (7, 0))


def test_apple(fast):
    assert resolve_precision("auto", "mps") == "fp32"
    assert not is_fast("bf16-mixed", "mps")


def test_what_a_device_does_not_have(cuda):
    assert "'fp16-mixed' does not exist on the CPU" in message(lambda: resolve_precision("fp16-mixed", "cpu"))
    cuda(7, 5)
    assert "not supported by this GPU" in message(lambda: resolve_precision("bf16-mixed", "cuda"))


def test_auto_is_the_default_of_every_task():
    registry = Registry.discover()
    for name in registry.names("task"):
        settings = registry.get("task", name).Settings()
        chosen = [getattr(settings, scope).precision for scope in ("train", "eval", "infer")]
        assert chosen == ["auto"] * 3, name
    assert TrainSettings().precision == EvalSettings().precision == InferSettings().precision == "auto"


def test_documented_settings_keep_theirs():
    from eozoo_gedi_sparse.settings import DOCUMENTED, GediSettings
    from eozoo_prithvi_refine.settings import LOWVR, PrithviSettings

    assert load_settings(PrithviSettings, LOWVR).train.precision == "fp16-mixed"
    assert load_settings(GediSettings, DOCUMENTED).train.precision == "fp32"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    Toy.sample(root)
    return root


@pytest.fixture
def train(data, tmp_path):
    def train(name, *overrides):
        overrides = [f"runtime.data_dir={data}", "runtime.tensorboard=false", "runtime.device=cpu", *overrides]
        run = Run.create(tmp_path / name, "toy", load_settings(ToySettings, overrides=overrides))
        Toy(run.settings).train(run)
        return run

    return train


def scored(run, *overrides):
    """What eval says, and what training logged for the same weights."""
    opened = Run.open(run.path, ToySettings, overrides=overrides)
    return Toy(opened.settings).evaluate(opened, "val")["model"]["loss"], opened.load("best")["best_val"]


@pytest.mark.parametrize("setting", ["auto", "fp32", "bf16-mixed"])
@pytest.mark.parametrize("machine", ["fast", "slow"])
def test_eval_repeats_the_logged_number(request, train, setting, machine):
    """On the machine that logged it, in whichever precision it trained."""
    request.getfixturevalue(machine)
    run = train("run", f"train.precision={setting}")
    expected = setting if setting != "auto" else "bf16-mixed" if machine == "fast" else "fp32"
    assert run.info()["precision"] == expected
    score, logged = scored(run)
    assert score == pytest.approx(logged, rel=1e-6)
    other = "fp32" if precision_in_use(run, "eval", "cpu") == "bf16-mixed" else "bf16-mixed"
    assert scored(run, f"infer.precision={other}")[0] != pytest.approx(logged, rel=1e-5)  # the toy's eval predicts


PROBES = ("train.batch_size=512", "eval.trees=5", "eval.shares=[0.1]", "eval.draws=1", "eval.max_pixels=300",
          "eval.bootstrap=10", "infer.passes=1")  # fmt: skip
SMALL = {
    "gedi_sparse": ("model.options.width=4", "data.crop=32", "train.batch_size=16", "train.members=1"),
    "clay_ta": ("model.encoder=clay_micro", "model.encoder_input_size=8", "model.hidden=16", "train.batch_size=512"),
    "barlow_twins": (
        "train.schedule.warmup_steps=0",
        "data.val_samples=128",
        *PROBES,
        "model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}",
    ),
    "barlow_landcover": PROBES,
    "prithvi_refine": ("data.max_samples=8", "model.num_convnext_blocks=1", "train.validate_every=1"),
}


# Core predicts and scores for every task: one of them in the quick tier.
@pytest.mark.parametrize(
    "name", [name if name == "barlow_twins" else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_every_task_scores_what_it_logged_and_maps_elsewhere(name, monkeypatch, tmp_path):
    """Trained in bf16: scores repeat the number on this machine; on one without bf16 they are those of fp32."""
    cpu_has(monkeypatch, {"amx_bf16": True})
    registry = Registry.discover()
    cls = registry.get("task", name)
    sample = cls.sample(tmp_path / "data")
    overrides = [*SMALL[name], "train.epochs=1", "train.steps=2", "runtime.tensorboard=false", "runtime.device=cpu"]
    settings = load_settings(cls.Settings, None, overrides, to_dict(sample.settings))
    run = Run.create(tmp_path / "run", name, settings)
    cls(settings, registry).train(run)
    assert run.info()["precision"] == "bf16-mixed"

    def used(*overrides):
        opened = Run.open(run.path, cls.Settings, overrides=overrides)
        task = cls(opened.settings, registry)
        return task.evaluate(opened, "val")["model"][cls.monitor], task.predict(opened, sample.batch)

    score, half = used()
    assert score == pytest.approx(run.load("best")["best_val"], rel=1e-6)
    full_score, full = used("eval.precision=fp32", "infer.precision=fp32")
    assert full_score != pytest.approx(score, rel=1e-6)
    assert not all(np.array_equal(half[key], full[key], equal_nan=True) for key in half)
    assert all(array.dtype == full[key].dtype for key, array in half.items())
    cpu_has(monkeypatch, {})
    there_score, there = used()
    assert there_score == full_score
    for key, array in there.items():
        np.testing.assert_array_equal(array, full[key])


def test_training_is_in_bf16_on_a_slow_cpu_where_it_was_asked_for(train, slow, capsys):
    half, full = (train(p, f"train.precision={p}").load("current")["model"] for p in ("bf16-mixed", "fp32"))
    assert not torch.equal(half["0.weight"], full["0.weight"])
    assert capsys.readouterr().err.count("bf16-mixed is slow on this device") == 1


def test_a_run_trained_in_bf16_maps_in_fp32_on_a_slow_cpu(train, monkeypatch, data):
    cpu_has(monkeypatch, {"amx_bf16": True})
    run = train("run")
    assert run.info()["precision"] == "bf16-mixed"
    x = np.random.default_rng(0).normal(size=(50, 2)).astype("float32")

    def maps(*overrides):
        opened = Run.open(run.path, ToySettings, overrides=overrides)
        return Toy(opened.settings).predict(opened, {"x": x})["y"]

    half = maps()
    full = maps("infer.precision=fp32")
    assert half.dtype == full.dtype == np.float32
    assert 1e-4 < np.abs(half - full).max() < 0.05
    cpu_has(monkeypatch, {})
    np.testing.assert_array_equal(maps(), full)
    np.testing.assert_array_equal(maps("infer.precision=bf16-mixed"), half)
    assert "infer.precision 'fp16-mixed' does not exist on the CPU" in message(
        lambda: maps("infer.precision=fp16-mixed")
    )


def test_a_run_goes_on_in_the_precision_that_it_began_in(train, monkeypatch):
    cpu_has(monkeypatch, {"amx_bf16": True})
    train("whole", "train.epochs=4")
    train("parts", "train.epochs=2")
    cpu_has(monkeypatch, {})  # on another machine
    parts = train("parts", "train.epochs=4")
    assert parts.info()["precision"] == "bf16-mixed"
    assert training_precision(parts, "cpu") == "bf16-mixed"
    whole = Run.open(parts.path.with_name("whole"), ToySettings)
    for name, weight in whole.load("current")["model"].items():
        assert torch.equal(weight, parts.load("current")["model"][name]), name
    assert train("other", "train.epochs=1").info()["precision"] == "fp32"


def test_a_device_that_lacks_what_the_run_began_in_is_told_in_one_line(train):
    run = train("run", "train.epochs=1")
    run.note("precision", "fp16-mixed")
    assert "was begun in fp16-mixed, which cpu does not have" in message(lambda: train("run", "train.epochs=2"))
    assert precision_in_use(run, "infer", "cpu") == "fp32"  # maps can be made all the same


def test_a_run_that_never_began_forgets(train, monkeypatch, data):
    """Refused before anything was learned: the next command on another machine chooses again."""
    cpu_has(monkeypatch, {"amx_bf16": True})
    monkeypatch.setattr(Toy, "_read", lambda self, split: (_ for _ in ()).throw(ZooError("no data")))
    message(lambda: train("run"))
    monkeypatch.undo()
    cpu_has(monkeypatch, {})
    assert train("run", "train.epochs=1").info()["precision"] == "fp32"


def test_processes_that_would_differ_are_told(monkeypatch):
    from eozoo_core.train.launch import _agree_on

    monkeypatch.setattr("eozoo_core.train.launch.all_reduce_sums", lambda fabric, sums: sums + 1)
    two = SimpleNamespace(world_size=2)
    assert "differs between the devices" in message(lambda: _agree_on("fp32", two))
    _agree_on("bf16-mixed", two)


def test_arrays_enter_a_network_as_they_are(train, fast, data, tmp_path):
    """Fabric's own part would make 2021 of a year 2016 or 2024, and 290.6 K 290 K."""
    seen = []

    class Year(torch.nn.Linear):
        def forward(self, x):
            seen.append((x.dtype, x.max().item()))
            return super().forward(x)

    settings = load_settings(ToySettings, overrides=["runtime.device=cpu", "train.precision=bf16-mixed"])
    fabric = launch(Run.create(tmp_path / "run", "toy", settings))
    model, _ = fabric.setup((year := Year(1, 1)), torch.optim.SGD(year.parameters(), 0.1))
    made = model(torch.full((2, 1), 2021.0))
    used = compute_in("bf16-mixed", copy.deepcopy(year), "cpu")(torch.full((2, 1), 2021.0))
    assert seen == [(torch.float32, 2021.0)] * 2
    assert made.dtype == used.dtype == torch.float32
    assert torch.equal(made, used)


def test_memory_follows_what_auto_becomes(monkeypatch):
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU(), torch.nn.Linear(64, 64))

    def needed(precision):
        def work(nets):
            nets[0](torch.empty(512, 64)).float().sum().backward()

        return step_memory([net], work, TrainSettings(precision=precision))

    full = needed("fp32")
    cpu_has(monkeypatch, {"amx_bf16": True})
    half = needed("bf16-mixed")
    assert half.step != full.step
    assert needed("auto") == half
    cpu_has(monkeypatch, {})
    assert needed("auto") == full


def test_a_file_is_compared_in_float32_and_says_so(train, fast, tmp_path):
    from eozoo_core import Graph

    class Exported(Toy):
        def graph(self, run):
            predict = self.predictor(run)  # in fp32, or the module below would compute in bf16
            from eozoo_core.run.checkpoint import load_module

            assert predict({"x": np.zeros((1, 2))})["y"].shape == (1, 1)
            model = self._model().eval()
            load_module(model, run.load("best")["model"], run.file("best"))

            class Whole(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.model = model

                def forward(self, x):
                    return (self.model(x),)

            return Graph(Whole(), {"x": np.random.default_rng(0).normal(size=(9, 2)).astype("float32")}, ("y",))

    run = train("run")
    lines = export(Exported(run.settings), run, "torch-export", tmp_path / "toy.pt2")
    assert lines[-1].endswith("the run itself predicts in bf16-mixed here")
    assert float(json.loads(lines[0].split("predict ")[1].split(" in")[0])) < 1e-5
