"""A run as a torch module: by order and by name, gradients by hand, ensembles, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from eozoo_core import Port, Run, ZooError
from eozoo_core.settings.config import load_settings
from eozoo_core.settings.ensemble import EnsembleRuntime, EnsembleTrain
from eozoo_core.task import Ports
from pydantic import Field
from stranger_systems import Line, LineRuntime, LineSettings, write_rows
from test_frozen_parts import Adapted
from torch import nn

SETS = (
    "train.epochs=2",
    "train.batch_size=16",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
    "runtime.device=cpu",
)


class MembersRuntime(LineRuntime, EnsembleRuntime):
    pass


class Members(LineSettings):
    train: EnsembleTrain = Field(EnsembleTrain(), description="How it is trained.")
    runtime: MembersRuntime = Field(MembersRuntime(), description="Where and how.")


class Shared(Line):
    """The line on a frozen part, in kelvin and with a day that may be left out."""

    Settings = Members

    def ports(self, survey):
        x, day = Port("x", "B 2", "m", ("a", "b")), Port("day", "B", "day", optional=True)
        return Ports((x, day), (Port("y", "B 1", "m", spread="moments"), Port("gap", "B", "1")))

    def system(self, survey, fresh):
        system = super().system(survey, fresh)
        system.finish = lambda raw, arrays: raw | {"gap": torch.isnan(arrays.get("day", arrays["x"][:, 0])).float()}
        return system


class Pair(Line):
    Settings = Members


def trained(cls, root, path, *overrides):
    settings = load_settings(cls.Settings, None, [f"runtime.data_dir={root}", *SETS, *overrides])
    run = Run.create(path, "line", settings)
    cls(settings).train(run)
    return cls(settings), run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_rows(root)
    return root


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    return trained(Shared, root, tmp_path_factory.mktemp("run") / "run")


X = torch.tensor([[0.5, -1.0], [2.0, 0.25], [-1.0, 1.0]])


def test_order_names_types_and_what_is_left_out(run):
    task, opened = run
    module = task.module(opened)
    expected = task.predict(opened, {"x": X.numpy()})
    assert module(X).numpy() == pytest.approx(expected["y"], abs=1e-7)
    assert torch.equal(module(x=X), module(X))
    assert torch.equal(module(X.double()), module(X))
    assert module.all(X)["gap"].tolist() == [1, 1, 1]
    assert module.all(X, torch.tensor([1, 2, 3]))["gap"].tolist() == [0, 0, 0]
    assert torch.equal(task.module(opened, "gap")(X), torch.ones(3))
    holed = X.clone()
    holed[1, 0] = torch.nan
    assert torch.isnan(module(holed)[:, 0]).tolist() == [False, True, False]


def test_gradients_are_those_of_the_function(run):
    """dy/dx of a line on tangents and a sum, written out."""
    task, opened = run
    module, system = task.module(opened), task.module(opened).whole.systems[0]
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    part, line = system.part, system.line.weight[0]
    slope = 1 - torch.tanh(part(X)) ** 2
    expected = (slope * line[:8]) @ part.weight + line[8]
    assert gradient.numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)
    step = 1e-2
    shifted = [module(X + sign * step * torch.eye(2)[0]) for sign in (1, -1)]
    assert gradient[:, 0].numpy() == pytest.approx(((shifted[0] - shifted[1]) / (2 * step))[:, 0].numpy(), abs=1e-3)


def test_an_ensemble_gives_its_mean_and_the_gradient_of_that(root, tmp_path):
    task, opened = trained(Pair, root, tmp_path / "two", "train.members=2")
    module = task.module(opened)
    assert [port.role for port in module.outputs] == ["y", "epistemic_y_std"]
    assert module(X).detach().numpy() == pytest.approx(task.predict(opened, {"x": X.numpy()})["y"], abs=1e-6)
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    each = [torch.autograd.grad(s.predict({"x": x})["y"].sum(), x)[0] for s in module.whole.systems]
    assert not torch.allclose(*each)
    assert torch.allclose(gradient, (each[0] + each[1]) / 2, atol=1e-6)


class Dropped(nn.Module):
    """A parent with a run inside."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.line = inner, nn.Linear(1, 1)

    def forward(self, x):
        return self.line(self.inner(x))


def test_inside_a_network_that_trains_the_run_stays_as_it_is(run):
    task, opened = run
    parent = Dropped(task.module(opened)).train()
    before = copy.deepcopy(parent.inner.state_dict())
    optimizer = torch.optim.Adam(parent.parameters(), lr=0.1)
    parent(X).sum().backward()
    optimizer.step()
    assert parent.training
    assert not any(module.training for module in parent.inner.modules())
    assert all(torch.equal(before[name], values) for name, values in parent.inner.state_dict().items())
    free = Dropped(task.module(opened, trainable=True)).train()
    free(X).sum().backward()
    assert [n for n, p in free.inner.named_parameters() if p.grad is not None] == [
        "whole.systems.0.line.weight", "whole.systems.0.line.bias"
    ]  # fmt: skip
    assert all(module.training for module in free.inner.modules())


def test_its_state_is_whole_though_checkpoints_leave_the_base_out(root, tmp_path):
    class Based(Line):
        def system(self, survey, fresh):
            return Adapted(4, fresh)

    task, opened = trained(Based, root, tmp_path / "based")
    one, two = (Dropped(task.module(opened)) for _ in range(2))
    state = one.state_dict()
    assert any("encoder.0" in name for name in state)
    for p in two.parameters():
        p.data.zero_()
    two.load_state_dict(state, strict=True)
    assert torch.equal(one(X), two(X))
    moved = task.module(opened).to("meta")
    assert all(tensor.is_meta for tensor in moved.state_dict().values())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m(X, X[:, 0], X), "got 3 arrays, takes 2: x, day"),
        (lambda m: m(X, x=X), "'x' is given twice"),
        (lambda m: m(y=X), "no array 'y' is asked for"),
        (lambda m: m(day=X[:, 0]), r"the array x \(B, 2\) \[m\] is missing"),
        (lambda m: m(X[:, :1]), "axis 2 of x is 1"),
        (lambda m: m(X[0]), "x has 1 axes"),
        (lambda m: m(X, X[:2, 0]), "axis B of day is 2, of x 3"),
        (lambda m: m(np.ones((3, 2))), "x is a ndarray, not a tensor"),
        (lambda m: m(), "is missing"),
    ],
)
def test_what_does_not_fit_is_one_line(run, call, words):
    task, opened = run
    with pytest.raises(ZooError, match=words):
        call(task.module(opened))


def test_an_output_that_there_is_not(run):
    task, opened = run
    with pytest.raises(ZooError, match=r"has no output 'yy'. Did you mean 'y'"):
        task.module(opened, "yy")
