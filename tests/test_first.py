"""Before the first step: what a network or loss gives is held against what the task declares."""

import random

import numpy as np
import pytest
import torch
from eozoo_core import Port, Run, Slot, ZooError
from eozoo_core.settings import Named, Settings
from eozoo_core.settings.config import load_settings
from eozoo_core.task.first import misfit, named_part
from eozoo_core.task.loss import called_with
from eozoo_core.task.system import System
from eozoo_core.train.rng import generator_states
from pydantic import Field
from stranger_systems import Line, LineSettings, squares, write_rows


class Model(Settings):
    name: str = Field("net", description="Network.")
    loss: Named = Field(Named(name="losing"), description="Loss.")


class FitSettings(LineSettings):
    model: Model = Field(Model(), description="What is trained.")


class Net(System):
    """A line whose batch norm learns, and whose dropout draws, in training."""

    def __init__(self, outputs=1, after=lambda y: y):
        super().__init__()
        self.line = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Dropout(0.5), torch.nn.Linear(2, outputs))
        self.after = after

    def stage(self, arrays):
        return {"x": torch.nan_to_num(arrays["x"].float())}

    def raw(self, staged):
        return {"y": self.after(self.line(staged["x"]))}

    def finish(self, raw, arrays):
        return raw


class Fitted(Line):
    """The stranger's line with two slots; ``net`` and ``called`` make its parts."""

    Settings = FitSettings
    slots = {"model": Slot("model"), "model.loss": Slot("loss")}  # noqa: RUF012
    net, called = Net, staticmethod(squares)

    def data(self, split):
        self.settings = self.settings.model_copy()
        from stranger_systems import Rows

        return Rows(self.settings.runtime.data_dir, split, True)

    def system(self, survey, fresh):
        return type(self).net()

    def loss(self, survey):
        return called_with(type(self).called, "losing", "y", "target")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder)
    return folder


def task_of(data, **parts):
    sets = ("train.epochs=1", "train.batch_size=40", "runtime.tensorboard=false", "runtime.device=cpu")
    settings = load_settings(FitSettings, None, [*sets, "runtime.quiet=true", f"runtime.data_dir={data}"])
    return type("Fitted", (Fitted,), parts)(settings)


def refusals(data, tmp_path, **parts):
    """What the plan and training say; nothing is trained."""
    said = []
    for verb in ("plan", "train"):
        task = task_of(data, **parts)
        run = Run.create(tmp_path / verb, "line", task.settings)
        with pytest.raises(ZooError) as caught:
            getattr(task, verb)(run)
        assert not run.has("current")
        said.append(str(caught.value))
        assert "\n" not in said[-1]
    return said


def scalar(y, target):
    return squares(y, target)[0]


NETS = {
    "two channels for one": (lambda: Net(2), r"output y (B, 1) [m] comes as (1, 2): 2 along an axis, not 1"),
    "another number of axes": (lambda: Net(after=lambda y: y[:, None]), r"comes as (1, 1, 1): 3 axes, not 2"),
    "integers": (lambda: Net(after=lambda y: y.long()), "comes as torch.int64, and only floats can say NaN"),
    "a batch of its own": (lambda: Net(after=lambda y: torch.cat([y, y])), "comes as (2, 1): 2 along B, not 1"),
    "a fault of its own": (lambda: Net(after=lambda y: y @ torch.ones(3, 1)), "first training sample: RuntimeError: "),
}
LOSSES = {
    "a scalar": (scalar, "returned a Tensor, not (sum, count): the sum over labelled elements, and how many there are"),
    "three": (lambda y, t: (1, 2, 3), "returned a tuple of 3, not (sum, count)"),
    "a dict": (lambda y, t: {"sum": 1}, "returned a dict, not (sum, count)"),
    "one of each": (lambda y, t: ((y - t) ** 2, 1), "returned a sum of shape (1, 1) for 'loss'"),
    "words": (lambda y, t: (y.sum(), "all"), "returned a count that is a str for 'loss'"),
    "a number": (lambda y, t: (y.detach().sum(), 1), "returned a sum that carries no gradient"),
    "too many arguments": (lambda y: (y.sum(), 1), "first training sample: TypeError: "),
}


@pytest.mark.parametrize("kind", NETS)
def test_a_network_that_does_not_fit_is_one_line_before_the_first_step(kind, data, tmp_path):
    net, words = NETS[kind]
    for said in refusals(data, tmp_path, net=staticmethod(net)):
        assert said.startswith("model.name: net ")
        assert words in said
        assert said.endswith("choose another, or other options of it")


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_that_does_not_fit_is_one_line_before_the_first_step(kind, data, tmp_path):
    loss, words = LOSSES[kind]
    for said in refusals(data, tmp_path, called=staticmethod(loss)):
        assert said.startswith("model.loss.name: losing ")
        assert words in said


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([1], "returned a list, not name -> (sum, count)"),
        ({"mse": (1, 1)}, "returned the names mse, not name -> (sum, count)"),
        ({"loss": (torch.ones((), requires_grad=True), 1), "mse": 3.0}, "returned a float for 'mse', not (sum, count)"),
    ],
)
def test_a_loss_of_a_tasks_own_is_held_to_its_contract_too(found, words, data, tmp_path):
    for said in refusals(data, tmp_path, loss=lambda self, survey: lambda raw, batch: found, slots={}):
        assert said.startswith("the loss of Fitted ")
        assert words in said


def test_a_bug_where_nothing_can_be_chosen_keeps_its_traceback(data, tmp_path):
    task = task_of(data, net=staticmethod(lambda: Net(after=lambda y: y @ torch.ones(3, 1))), slots={})
    with pytest.raises(RuntimeError):
        task.train(Run.create(tmp_path / "run", "line", task.settings))


def test_it_consumes_nothing_of_the_training(data, tmp_path, monkeypatch):
    """Neither random numbers, nor batch norm's statistics, nor modes: the same weights come out without it."""
    from eozoo_core.task import train as verb

    states = []

    class Drawing(Net):
        def raw(self, staged):
            if not self.training:
                random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002
            return super().raw(staged)

    def around(task, system, loss, train, fabric):
        frozen = system.line[0].eval()  # as a plugin may leave a frozen part
        before = generator_states(), {k: v.clone() for k, v in system.state_dict().items()}
        check(task, system, loss, train, fabric)
        after = generator_states(), system.state_dict()
        assert all(torch.equal(before[0][k], after[0][k]) for k in ("torch",))
        assert torch.equal(before[0]["python"][1], after[0]["python"][1])
        assert torch.equal(before[0]["numpy"][1], after[0]["numpy"][1])
        assert all(torch.equal(v, after[1][k]) for k, v in before[1].items())
        assert (frozen.training, system.training, system.line[1].training) == (False, True, True)
        assert all(p.grad is None for p in system.parameters())
        frozen.train()
        states.append(True)

    check = verb.check_first
    for name, replaced in (("with", around), ("without", lambda *given: None)):
        monkeypatch.setattr(verb, "check_first", replaced)
        task = task_of(data, net=Drawing)
        run = Run.create(tmp_path / name, "line", task.settings)
        task.train(run)
        states.append(run.load("current")["model"])
    assert states[0] is True
    assert all(torch.equal(v, states[2][k]) for k, v in states[1].items())


HEIGHT = Port("height", "B 1 H W", "m", spread="moments")
SHARES = Port("shares", "B K H W", "1", ("tree", "water"), spread="probabilities")
KIND = Port("kind", "B H W", spread="class", of="odds", legend=((1, "a"), (2, "b"), (3, "c")))
ODDS = Port("odds", "B K H W", "1", spread="probabilities")


@pytest.mark.parametrize(
    ("port", "shape", "words"),
    [
        (HEIGHT, (2, 1, 8, 9), None),
        (HEIGHT, (2, 2, 8, 9), "2 along an axis, not 1"),
        (HEIGHT, (2, 1, 9, 8), "9 along H, not 8"),
        (SHARES, (2, 2, 8, 9), None),
        (SHARES, (2, 3, 8, 9), "3 along K, not 2"),
        (ODDS, (2, 3, 8, 9), None),
        (ODDS, (2, 2, 8, 9), "2 along K, not 3"),
        (HEIGHT, None, "output height (B, 1, H, W) [m] is missing among other"),
    ],
)
def test_axes_bands_and_classes_are_compared(port, shape, words):
    found = {"other": ((1,), torch.float32)} | ({port.role: (shape, torch.float32)} if shape else {})
    said = misfit(port, found, {"B": 2, "C": 4, "H": 8, "W": 9}, (KIND, ODDS))
    assert said is None if words is None else words in said


def test_every_part_of_a_kind_is_named(data):
    slots = {"model": Slot("model"), "model.loss": Slot("loss"), "model.loss.other": Slot("loss")}
    task = task_of(data, slots=slots)
    assert named_part(task, "loss") == "model.loss.name: losing"
    assert named_part(task_of(data, slots={}), "model") == "the model of Fitted"
