"""How a network is computed: chosen by rule or measured, the same twice, kept by the run, and never another result."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from eozoo_core import Port, Run, Task
from eozoo_core.run import cores
from eozoo_core.settings import InferSettings, TaskSettings, TrainSettings
from eozoo_core.settings.config import load_settings
from eozoo_core.settings.maps import MapInfer
from eozoo_core.task import Ports, Survey
from eozoo_core.task import execution as of_task
from eozoo_core.task.data import Data
from eozoo_core.task.loss import called_with
from eozoo_core.task.members import train_all
from eozoo_core.task.scores import RegressionScores
from eozoo_core.task.survey import BandSurvey
from eozoo_core.task.system import System
from eozoo_core.train import execution, probe
from eozoo_core.train.execution import LAST, PLAIN, by_rule, crowded, lay_out, pixels_of, samples_at_once, settled
from eozoo_core.train.optimizer import make_optimizer
from torch import nn
from toy_runs import same


class Images(Data):
    bands, units, files = ("a", "b"), ("m", "m"), ()

    def __init__(self, seed):
        self.x = np.random.default_rng(seed).normal(size=(8, 2, 6, 6)).astype("float32")

    def __len__(self):
        return len(self.x)

    def item(self, index):
        return {"image": self.x[index], "target": self.x[index, :1]}


class Blur(System):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width), nn.Dropout(0.3), nn.Conv2d(width, 1, 1)
        )

    def raw(self, staged):
        return {"y": self.layers(staged["image"])}

    def finish(self, raw, arrays):
        return raw


def squares(y, target):
    return (y - target).square().sum(), torch.isfinite(target).sum()


class Task8(Task):
    Settings = TaskSettings

    def data(self, split):
        return Images(len(split))

    def survey(self, train):
        return Survey(bands=(BandSurvey(name="a"), BandSurvey(name="b")))

    def ports(self, survey):
        return Ports((Port("image", "B C H W", "m", ("a", "b")),), (Port("y", "B 1 H W", "m", spread="moments"),))

    def system(self, survey, fresh):
        return Blur(8)

    def loss(self, survey):
        return called_with(squares, "squares", "y", "target")

    def metrics(self, survey):
        return RegressionScores("y")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EOZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "execution"


@pytest.fixture
def clock(monkeypatch):
    """Stands for the clock: plain takes a second, channels-last ``clock["last"]``; what was timed is kept."""
    timed = {"last": 1.0, "layouts": []}

    def seconds(system, layout, step, device):
        timed["layouts"].append(layout)
        lay_out(system, layout)
        for parameter in system.parameters():
            parameter.grad = None
        step()
        return timed["last"] if layout == LAST else 1.0

    monkeypatch.setattr(probe, "_seconds", seconds)
    return timed


@pytest.fixture
def long(monkeypatch):
    monkeypatch.setattr(of_task, "LEAST", 1)


def trained(path, *overrides):
    sets = ["train.steps=2", "runtime.tensorboard=false", "runtime.quiet=true", "runtime.device=cpu", *overrides]
    settings = load_settings(TaskSettings, overrides=["train.batch_size=4", "train.epochs=null", *sets])
    run = Run.create(path, "task8", settings)
    train_all(Task8(settings), run)
    return run


@pytest.mark.parametrize(("layers", "device", "precision", "training", "use"), [
    ([nn.Linear(2, 2)], "cpu", "fp32", PLAIN, PLAIN),
    ([nn.Conv2d(2, 128, 3)], "cpu", "fp32", LAST, LAST),
    ([nn.Conv2d(2, 8, 3), nn.Conv2d(8, 256, 3)], "cpu", "fp32", PLAIN, LAST),
    ([nn.Conv2d(256, 256, 7, groups=256)], "cpu", "fp32", LAST, LAST),
    ([nn.ConvTranspose2d(2, 256, 4, stride=2)], "cpu", "fp32", PLAIN, LAST),
    ([nn.Conv2d(2, 512, 1)], "cpu", "fp32", PLAIN, LAST),
    ([nn.Conv2d(2, 512, 16, stride=16)], "cpu", "fp32", PLAIN, PLAIN),  # cuts patches
    ([nn.Conv2d(2, 8, 3)], "cuda:1", "bf16-mixed", LAST, LAST),
    ([nn.Conv2d(2, 8, 3)], "cuda", "fp32", PLAIN, PLAIN),
    ([nn.Conv2d(2, 8, 3)], "mps", "fp32", PLAIN, PLAIN),
])  # fmt: skip
def test_the_rule(monkeypatch, layers, device, precision, training, use):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    net = nn.Sequential(*layers)
    assert by_rule(net, device, precision, training=True).layout == training
    assert by_rule(net, device, precision, training=False).layout == use
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert by_rule(net, device, precision, training=True).layout == (use if device == "cpu" else training)


@pytest.mark.parametrize(("ratio", "layout"), [(0.5, LAST), (0.89, LAST), (0.95, PLAIN), (1.05, PLAIN), (2.0, PLAIN)])
def test_what_is_within_the_noise_is_left_to_the_rule(ratio, layout):
    assert settled(execution.Execution(PLAIN, "rule"), ratio).layout == layout
    assert settled(execution.Execution(LAST, "rule"), ratio).layout == (PLAIN if ratio == 2.0 else LAST)


def test_a_short_training_is_never_measured(tmp_path, cache, clock):
    run = trained(tmp_path / "run")
    assert clock["layouts"] == []
    assert not cache.exists()
    assert run.info()["execution"]["layout"] == LAST
    assert "rule" in run.info()["execution"]["why"]


def test_a_long_training_is_measured_once_and_its_run_keeps_the_choice(tmp_path, cache, clock, long):
    clock["last"] = 3.0
    first = trained(tmp_path / "first")
    assert first.info()["execution"] == {
        "layout": PLAIN, "why": "measured: channels-last takes 3.00 of the time of plain"
    }  # fmt: skip
    count = len(clock["layouts"])
    assert {PLAIN, LAST} == set(clock["layouts"])
    clock["last"] = 0.1  # noise of another day
    second = trained(tmp_path / "second")
    assert len(clock["layouts"]) == count
    same(first.load("best")["model"], second.load("best")["model"])
    (file,) = cache.iterdir()
    file.write_text(json.dumps({"channels_last_over_plain": 0.1}))
    before = first.info()["execution"]
    assert trained(tmp_path / "first", "train.steps=4").info()["execution"] == before
    assert trained(tmp_path / "third").info()["execution"]["layout"] == LAST  # a new one follows the cache
    chosen = trained(tmp_path / "fourth", "runtime.layout=plain")
    assert chosen.info()["execution"] == {"layout": PLAIN, "why": "set"}


def test_measuring_leaves_no_trace(tmp_path, cache, clock, long):
    """As if the layout had been set: weights, running means, dropout and all."""
    clock["last"] = 0.5
    measured, chosen = trained(tmp_path / "measured"), trained(tmp_path / "set", "runtime.layout=channels-last")
    assert clock["layouts"]
    for which in ("best", "current"):
        a, b = measured.load(which), chosen.load(which)
        for part in ("model", "optimizer", "rng"):
            same(a[part], b[part], part)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"channels_last_over_plain": -1.0}', '{"a": 1}'])
def test_a_damaged_cache_is_measured_again(tmp_path, cache, clock, text):
    clock["last"] = 0.5
    file, net = cache / "x.json", nn.Conv2d(1, 1, 3)
    cache.mkdir(parents=True)
    file.write_text(text)
    assert probe.ratio_of(file, net, lambda: None, "cpu") == 0.5
    clock["last"] = 4.0
    assert probe.ratio_of(file, net, lambda: None, "cpu") == 0.5


def test_without_a_cache_nothing_is_measured(tmp_path, monkeypatch, clock, long):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EOZOO_CACHE", str(tmp_path / "file" / "below"))
    run = trained(tmp_path / "run")
    assert clock["layouts"] == []
    assert "rule" in run.info()["execution"]["why"]


def test_where_measuring_fails_the_rule_decides(tmp_path, monkeypatch, long):
    def fails(*given):
        raise RuntimeError("no memory")

    monkeypatch.setattr("eozoo_core.task.execution.ratio_of", fails)
    assert "rule" in trained(tmp_path / "run").info()["execution"]["why"]


def test_of_two_that_measure_at_once_the_first_decides(cache, clock):
    file, net = cache / "x.json", nn.Conv2d(1, 1, 3)

    def other() -> None:
        file.write_text(json.dumps({"channels_last_over_plain": 2.0}))

    assert probe.ratio_of(file, net, other, "cpu") == 2.0
    assert probe.kept_ratio(file) == 2.0


def test_every_process_does_what_the_first_chose(monkeypatch):
    said = []
    monkeypatch.setattr(execution, "all_reduce_sums", lambda fabric, sums: said.append(sums) or sums + 1)
    other = execution._of_the_first(SimpleNamespace(is_global_zero=False), execution.Execution(LAST, "mine"))
    assert said[0] == [0.0]
    assert other.layout == LAST
    monkeypatch.setattr(execution, "all_reduce_sums", lambda fabric, sums: sums)
    assert execution._of_the_first(SimpleNamespace(is_global_zero=False), other).layout == PLAIN


def test_scores_repeat_the_training_and_maps_take_what_is_fast(tmp_path):
    run = trained(tmp_path / "run", "runtime.layout=plain")
    run = Run(run.path, run.task, load_settings(TaskSettings, overrides=["runtime.device=cpu"]))
    net, where = Blur(8), ("cpu", "fp32")
    runtime = run.settings.runtime
    assert execution.plan_use(run, runtime, "eval", net, where).layout == PLAIN
    assert execution.plan_use(run, runtime, "infer", net, where).layout == LAST
    asked = runtime.model_copy(update={"layout": "plain"})
    assert execution.plan_use(run, asked, "infer", net, where).layout == PLAIN


def test_a_layout_changes_no_value():
    net, image = Blur(8).eval(), torch.randn(2, 2, 6, 6)
    plain = net(net.staged({"image": image}))["y"]
    lay_out(net, LAST)
    staged = net.staged({"image": image})
    assert staged["image"].is_contiguous(memory_format=torch.channels_last)
    assert net.layers[0](staged["image"]).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(staged)["y"], plain)
    lay_out(net, PLAIN)
    assert net.layers[0].weight.is_contiguous()
    assert net.staged({"image": image})["image"].is_contiguous()
    assert torch.equal(net(net.staged({"image": image}))["y"], plain)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_update_sees_gradients_and_moments_of_any_layout(name):
    """Against torch's own optimiser, which looks at strides; moments come from a checkpoint of the other layout."""
    weight, gradients = torch.randn(4, 3, 3, 3), [torch.randn(4, 3, 3, 3) for _ in range(4)]
    kept = nn.Parameter(weight.clone())
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[name]
    more = {"momentum": 0.9} if name == "sgd" else {}
    reference = kind([kept], lr=0.1, weight_decay=0.01, foreach=False, fused=False, **more)
    train = TrainSettings(optimizer=name, learning_rate=0.1, weight_decay=0.01)
    ours = nn.Parameter(weight.clone())
    optimizer = make_optimizer([ours], train)
    for step, gradient in enumerate(gradients):
        if step == 2:
            state = optimizer.state_dict()
            ours = nn.Parameter(ours.detach().contiguous(memory_format=torch.channels_last))
            optimizer = make_optimizer([ours], train)
            optimizer.load_state_dict(state)
        kept.grad, ours.grad = gradient.clone(), gradient.clone()
        reference.step()
        optimizer.step()
    assert optimizer.param_groups[0]["fused"]
    torch.testing.assert_close(ours, kept)


def test_fp16_is_not_fused_whatever_its_checkpoint_was():
    net = nn.Linear(2, 2)
    before = make_optimizer(net.parameters(), TrainSettings())
    net(torch.ones(1, 2)).sum().backward()
    before.step()
    after = make_optimizer(net.parameters(), TrainSettings(precision="fp16-mixed"))
    after.load_state_dict(before.state_dict())
    assert not after.param_groups[0]["fused"]


def test_how_many_at_once():
    assert [samples_at_once("cpu", side**2) for side in (24, 64, 128, 181, 256, 257, 1000)] == [56, 8, 8, 4, 2, 1, 1]
    assert samples_at_once("cpu", 4 * 64) == 128
    assert samples_at_once("cuda:0", 256**2) == 4
    image, series = Port("x", "B C H W", "m"), Port("s", "B T C", "m")
    arrays = {"x": np.zeros((5, 3, 6, 7)), "s": np.zeros((5, 16, 11))}
    assert pixels_of(arrays, (image, series)) == 42
    assert pixels_of(arrays, (series,)) == 64


def test_a_batch_that_only_takes_memory_is_told():
    line = crowded(MapInfer(window=256, stride=192, batch_size=16), torch.device("cpu"))
    assert line == (
        "infer.batch_size=16 takes 8 times the memory of 2 and is no faster here: leave it at null"
    )  # fmt: skip
    assert crowded(MapInfer(window=64, batch_size=32), torch.device("cpu")) is None
    assert crowded(MapInfer(), torch.device("cpu")) is None
    assert crowded(InferSettings(), torch.device("cpu")) is None


def test_no_more_threads_than_cores(monkeypatch, tmp_path):
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(cores, "_QUOTA", quota)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    for text, found in {"max 100000": 8, "200000 100000": 2, "50000 100000": 1, "": 8}.items():
        quota.write_text(text)
        assert cores.usable_cores() == found, text


def test_a_layout_that_loses_is_told_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    trained(tmp_path / "run", "runtime.layout=plain", "runtime.quiet=false")
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "runtime.layout" in line]
    told, why = "runtime.layout=plain is slow in training here; channels-last is faster", "convolutions of 8 channels"
    assert line == f"{told} (rule: {why}, AVX2)"


def test_a_plan_says_what_is_unwise(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr("eozoo_core.task.plan.memory_of", lambda device: 2_000_000)
    wanted = ["train.precision=bf16-mixed", "runtime.layout=plain", "runtime.device=cpu", "train.steps=2"]
    settings = load_settings(TaskSettings, overrides=[*wanted, "eval.baselines=[]"])
    plan = Task8(settings).plan(Run(tmp_path / "run", "task8", settings))
    assert plan.data["layout"] == "plain (set)"
    slow, layout, memory = plan.notes
    assert slow.startswith("bf16-mixed is slow on this device")
    assert layout.startswith("runtime.layout=plain is slow in training here")
    assert memory == "a step needs about 0.0 GB and cpu has 0.0 GB: lower train.batch_size, and raise " \
        "train.accumulate by the same factor"  # fmt: skip
