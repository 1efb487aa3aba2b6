"""Short trainings of the toy task."""

import pytest
from eozoo_core import Run
from eozoo_core.run import beginning
from eozoo_core.train.launch import launch
from eozoo_core.train.step import pooled_step
from toy import Toy
from toy_runs import settings_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    Toy.sample(root)
    return root


@pytest.fixture
def train(data, tmp_path):
    def train(name, *overrides, root=data, start_from=None):
        settings = settings_of(root, *overrides)
        run = Run.create(tmp_path / name, "toy", settings)
        if start_from is not None:
            beginning.start_from(run, start_from)
        Toy(settings).train(run)
        return run

    return train


@pytest.fixture
def after_step(monkeypatch):
    """Do something right after the n-th optimiser step of the next training."""

    def after_step(n, action):
        calls = []

        def step(fabric, model, *args):
            result = pooled_step(fabric, model, *args)
            calls.append(1)
            return (action(model) or result) if len(calls) == n else result

        monkeypatch.setattr("eozoo_core.train.step.pooled_step", step)

    return after_step


@pytest.fixture
def fabric(data, tmp_path):
    return launch(Run.create(tmp_path / "fabric", "toy", settings_of(data)))
