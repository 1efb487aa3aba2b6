"""Parts of trained runs in other tasks: matched strictly, scaled and frozen as asked, and the run outlived."""

import copy
import shutil
import types

import pytest
import torch
from eozoo import Registry, create_model
from eozoo.builtin import from_run, plugin
from eozoo_core import Port, Run, Slot, Spec, ZooError, hookimpl
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.part import matched, rest
from eozoo_core.task.system import System
from planted_slots import Around, Fitting, SlotSettings
from stranger_systems import write_rows
from test_frozen_parts import Half
from torch import nn

SETS = (
    "train.batch_size=16",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
    "runtime.device=cpu",
    "train.epochs=2",
)
SAME = "model.name=from_run"


class Net(nn.Module):
    """A part that a new task keeps, with batch norm and dropout, and a head."""

    def __init__(self, width=4, outputs=1):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Dropout(0.5))
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        return self.head(self.body(x))


class Deep(Fitting):
    """The task whose network is `Net`."""

    def system(self, survey, fresh):
        return Around(self.build("model", self.settings.model, {"outputs": 1}, fresh))


class Tails(Deep):
    """The same with two outputs, the second of which nobody looks at."""

    class Both(Around):
        def raw(self, staged):
            return {"y": self.network(staged["x"])[:, :1]}

    def system(self, survey, fresh):
        return self.Both(self.build("model", self.settings.model, {"outputs": 2}, fresh))


class OnRuns(Deep):
    """A network of another run's output: the slot says units."""

    class Second(System):
        def __init__(self, first):
            super().__init__()
            self.first, self.line = first, nn.Linear(1, 1)

        def stage(self, arrays):
            return {"x": torch.nan_to_num(arrays["x"].float())}

        def raw(self, staged):
            return {"y": self.line(self.first(staged["x"]))}

        def finish(self, raw, arrays):
            return raw

    def system(self, survey, fresh):
        return self.Second(self.build("model", self.settings.model, fresh=fresh))


class Kept(Deep):
    """A system with a frozen base in 16 bit, as a run keeps it once."""

    class Based(System):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3))
            self.encoder[0].requires_grad_(False)

        def frozen(self):
            return self.untrained("encoder")

        def adapt(self):
            self.encoder[0] = Half(self.encoder[0])
            self.line = nn.Linear(3, 1)

        stage, finish = OnRuns.Second.stage, OnRuns.Second.finish

        def raw(self, staged):
            return {"y": self.line(self.encoder(staged["x"]))}

    def system(self, survey, fresh):
        return self.Based()


def made_registry():
    x, y = (Fitting.slots["model"].feeds, Fitting.slots["model"].wants)
    own = types.ModuleType("nets")
    here = "test_from_run"
    own.eozoo_tasks = hookimpl(
        lambda: [Spec(name.lower(), f"{here}:{name}", "A task") for name in ("Deep", "Tails", "OnRuns", "Kept")]
    )
    own.eozoo_models = hookimpl(lambda: [Spec("net", f"{here}:Net", "A net", takes=x, gives=y)])
    loss = (*y, Port("target", "B 1", "m"))
    own.eozoo_losses = hookimpl(lambda: [Spec("line_loss", "planted_slots:line_loss", "Squares", takes=loss)])
    made = Registry()
    for module, name in ((own, "nets 1"), (plugin, "eozoo 1")):
        made.add(lambda module=module: module, name)
    assert not made.problems
    return made


REGISTRY = made_registry()


def settings_of(root, *overrides):
    words = [f"runtime.data_dir={root}", "model.name=net", *SETS]
    kept = [w for w in words if w.partition("=")[0] not in {o.partition("=")[0] for o in overrides}]
    return load_settings(SlotSettings, None, [*kept, *overrides])


def train(task, path, root, *overrides):
    cls = REGISTRY.get("task", task)
    settings = from_run.settle(REGISTRY, cls, settings_of(root, *overrides), path)
    REGISTRY.check_slots(cls, settings)
    run = Run.create(path, task, settings)
    cls(settings, REGISTRY).train(run)
    return run


def reopened(run):
    cls = REGISTRY.get("task", run.task)
    run = Run.open(run.path, cls.Settings)
    return cls(run.settings, REGISTRY), run


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_rows(root)
    return root, train("deep", root / "first", root, "model.options.width=6")


X = {"x": torch.tensor([[0.5, -1.0], [2.0, 0.25], [-1.0, 1.0]]).numpy()}


def test_the_network_of_a_run_begins_where_it_ended_and_outlives_it(first, tmp_path):
    root, run = first
    shutil.copytree(run.path, tmp_path / "first")
    new = train(
        "deep", tmp_path / "new", root, SAME, f"model.options.run={tmp_path / 'first'}", "train.learning_rate=1e-9"
    )
    task, opened = reopened(new)
    assert opened.settings.model.options["made"]["options"] == {"width": 6, "outputs": 1}
    was = run.load("best")["model"]
    now = new.load("best")["model"]
    assert was.keys() == now.keys()
    assert all(
        torch.allclose(was[k].float(), now[k].float(), atol=1e-6) for k in was if "running" not in k and "num_" not in k
    )
    before = task.predict(opened, X)["y"]
    assert opened.info()["weights"].startswith(f"{tmp_path / 'first' / 'best.pt'}: net, 9 of 9 tensors")
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "alone").mkdir()
    shutil.copy(new.file("best"), tmp_path / "alone" / "best.pt")
    again, alone = reopened(Run(tmp_path / "alone", "deep", None))
    assert (again.predict(alone, X)["y"] == before).all()
    longer = train(
        "deep",
        new.path,
        root,
        SAME,
        f"model.options.run={tmp_path / 'first'}",
        "train.learning_rate=1e-9",
        "train.epochs=3",
    )
    assert longer.read_log()[-1]["epoch"] == 3
    with pytest.raises(ZooError, match="holds no run"):
        train("deep", tmp_path / "other", root, SAME, f"model.options.run={tmp_path / 'first'}")


def test_another_best_under_the_same_name_is_another_start(first, tmp_path):
    root, run = first
    shutil.copytree(run.path, tmp_path / "a")
    shutil.copytree(run.path, tmp_path / "b")
    made = train("deep", tmp_path / "new", root, SAME, f"model.options.run={tmp_path / 'a'}")
    same = from_run.settle(REGISTRY, Deep, settings_of(root, SAME, f"model.options.run={tmp_path / 'b'}"), made.path)
    assert to_dict(same) == to_dict(made.settings)  # only what lies there counts
    train("deep", tmp_path / "c", root, "model.options.width=6", "train.seed=1")
    with pytest.raises(ZooError, match=r"was trained with model.options"):
        train("deep", tmp_path / "new", root, SAME, f"model.options.run={tmp_path / 'c'}")
    (tmp_path / "a" / "best.pt").write_bytes((tmp_path / "c" / "best.pt").read_bytes())
    with pytest.raises(ZooError, match="is another one"):
        Deep(made.settings, REGISTRY).system(Deep.Survey(), fresh=True)


def test_a_head_of_another_shape_is_asked_for_and_told(first, tmp_path):
    root, run = first
    part = [SAME, f"model.options.run={run.path}"]
    said = (
        r"2 of another shape \(head.bias \(1,\) for \(2,\), head.weight \(1, 6\) for \(2, 6\)\); .*options.new=\[head\]"
    )
    with pytest.raises(ZooError, match=said):
        train("tails", tmp_path / "no", root, *part)
    with pytest.raises(ZooError, match="no tensor begins with 'hed'"):
        train("tails", tmp_path / "no", root, *part, "model.options.new=[hed]")
    new = train("tails", tmp_path / "new", root, *part, "model.options.new=[head]", "model.options.freeze=true")
    assert "7 of 9 tensors (43 values) loaded; at random: head.weight, head.bias" in new.info()["weights"]
    was, now = run.load("best")["model"], new.load("best")["model"]
    body = [k for k in now if ".body." in k]
    assert len(body) == 7
    assert all(torch.equal(was[k], now[k]) for k in body)  # batch statistics too
    again, opened = reopened(new)
    assert again.predict(opened, X)["y"].shape == (3, 1)
    system = Tails(opened.settings, REGISTRY).system(Tails.Survey(), fresh=False).train()
    assert [n for n, m in system.named_modules() if m.training] == ["", "network.head"]
    assert [n for n, p in system.named_parameters() if p.requires_grad] == ["network.head.weight", "network.head.bias"]


def test_what_does_not_match_is_refused_by_name():
    net, state = Net(), Net().state_dict()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    wrong = {k: v for k, v in state.items() if k != "body.0.bias"} | {"extra.weight": torch.ones(1)}
    with pytest.raises(ZooError, match=r"1 missing \(body.0.bias\); 1 unexpected \(extra.weight\)"):
        matched(net, wrong, (), "here")
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    loaded, receipt = matched(net, wrong, ("extra", "body.0.bias"), "here")
    assert loaded == set(state) - {"body.0.bias"}
    assert receipt == "here, 8 of 9 tensors (30 values) loaded; at random: body.0.bias"


def test_what_rests_stays_in_evaluation_mode_also_in_a_copy():
    net = copy.deepcopy(rest(Net(), [n for n in Net().state_dict() if n != "head.bias"])).train()
    assert [name for name, part in net.named_modules() if part.training] == ["head"]
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["head.bias"]
    assert isinstance(net, Net)


def test_a_whole_run_is_a_layer_with_its_frozen_base(first, tmp_path, monkeypatch):
    root, _ = first
    base = train("kept", tmp_path / "based", root)
    digest = base.info()["base"]
    expected = reopened(base)
    inner = expected[0].predict(expected[1], X)["y"]
    parts = [SAME, f"model.options.run={base.path}", "model.options.part=whole", "model.options.freeze=true"]
    new = train("onruns", tmp_path / "second", root, *parts)
    assert new.info()["base"] == digest  # the same numbers, stored once, by hash
    state = new.load("best")["model"]
    assert not [k for k in state if "encoder.0" in k]  # in the base, not in every checkpoint
    task, opened = reopened(new)
    found = task.predict(opened, X)["y"]
    weight, bias = state["line.weight"].item(), state["line.bias"].item()
    assert found == pytest.approx(weight * inner + bias, abs=1e-6)
    shutil.rmtree(base.path)
    task, opened = reopened(new)
    assert (task.predict(opened, X)["y"] == found).all()
    module = task.module(opened, trainable=True)
    assert [n for n, p in module.named_parameters() if p.requires_grad] == [
        "whole.systems.0.line.weight", "whole.systems.0.line.bias"
    ]  # fmt: skip
    longer = train("onruns", new.path, root, *parts, "train.epochs=3")
    assert longer.read_log()[-1]["epoch"] == 3


def test_ports_come_from_the_run(first):
    _, run = first
    spec, slot = REGISTRY.find("model", "from_run").spec, Fitting.slots["model"]
    assert spec.takes == ()
    found = spec.with_options(REGISTRY, slot, {"run": str(run.path)})
    (port,) = found.takes
    assert (port.role, port.axes, found.gives) == ("x", "B 2", slot.wants)
    with pytest.raises(ZooError, match=r"say which run: --set model.options.run=RUN"):
        spec.with_options(REGISTRY, slot, {})
    with pytest.raises(ZooError, match=r"has no part 'head'; options.part is one of model, whole, y"):
        spec.with_options(REGISTRY, slot, {"run": str(run.path), "part": "head"})
    blank = Slot("model", feeds=(Port("x", "B 2"),), wants=slot.wants)
    with pytest.raises(ZooError, match="does not say in which unit"):
        spec.with_options(REGISTRY, blank, {"run": str(run.path), "part": "whole"})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"new": 5}, "options.new is a list of words"),
        ({"new": [5]}, "options.new is a list of words"),
        ({"run": 5}, "options.run and part are words"),
        ({"part": "other"}, "has no part 'other'; options.part is one of model, whole, y"),
        ({"made": "x"}, "options.made describes no part of a run"),
        ({"made": {"name": "net"}}, "options.made describes no part of a run"),
    ],
)
def test_options_of_another_type_are_one_line(first, wrong, said):
    spec, slot = REGISTRY.find("model", "from_run").spec, Fitting.slots["model"]
    with pytest.raises(ZooError, match=said):
        spec.with_options(REGISTRY, slot, {"run": str(first[1].path), **wrong})


def test_what_it_does_not_know_are_options_of_the_network(first):
    path = {"run": str(first[1].path)}
    for wrong in ("frezze", "registry", "others"):
        with pytest.raises(ZooError, match=f"model 'net' has no option '{wrong}'"):
            REGISTRY.create("model", "from_run", {**path, wrong: 1})
    net = REGISTRY.create("model", "from_run", {**path, "outputs": 2, "new": "head"})  # not h, e, a, d
    assert net.head.weight.shape == (2, 6)
    assert "7 of 9 tensors" in net.receipt


def test_without_a_task_it_is_a_network(first):
    _, run = first
    registry = REGISTRY
    net = registry.create("model", "from_run", {"run": str(run.path)})
    assert type(net).__name__ == "Net"
    assert torch.equal(net.head.weight, run.load("best")["model"]["network.head.weight"])
    with pytest.raises(ZooError, match="needs the option 'run'"):
        create_model("from_run")
