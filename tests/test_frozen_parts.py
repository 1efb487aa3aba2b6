"""A system with a frozen part that is adapted: kept once beside the run, taken over, put back, counted as it was."""

import shutil

import pytest
import torch
from eozoo_core import Run, ZooError
from eozoo_core.run.beginning import start_from, take_weights_from
from eozoo_core.run.checkpoint import load_weights
from eozoo_core.settings.config import load_settings
from eozoo_core.task.system import System
from stranger_systems import Line, LineSettings, write_rows
from torch import nn

SETS = ("train.batch_size=16", "runtime.tensorboard=false", "runtime.quiet=true", "runtime.device=cpu")


class Half(nn.Module):
    """A linear layer kept in 16 bit: other names and types than before."""

    def __init__(self, plain):
        super().__init__()
        self.register_buffer("kept", plain.weight.detach().half())
        self.bias = nn.Parameter(plain.bias.detach(), requires_grad=False)

    def forward(self, x):
        return nn.functional.linear(x, self.kept.float(), self.bias)


class Adapted(System):
    """An encoder of one frozen and one trained layer; a line that is drawn after it."""

    def __init__(self, width, fresh):
        super().__init__()
        self.receipt = "random: none were given" if fresh else ""
        with torch.device("cpu" if fresh else "meta"):
            self.encoder = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width))
        self.encoder[0].requires_grad_(False)

    def frozen(self):
        return self.untrained("encoder")

    def adapt(self):
        self.encoder[0] = Half(self.encoder[0])
        self.line = nn.Linear(self.encoder[2].out_features, 1)

    def stage(self, arrays):
        return {"x": torch.nan_to_num(arrays["x"].float())}

    def raw(self, staged):
        return {"y": self.line(torch.tanh(self.encoder(staged["x"])))}

    def finish(self, raw, arrays):
        return raw


class Frozen(Line):
    width = 8
    built: list = []  # noqa: RUF012

    def system(self, survey, fresh):
        Frozen.built.append(fresh)
        return Adapted(self.width, fresh)


def begin(folder, data, *sets):
    settings = load_settings(LineSettings, None, [*SETS, f"runtime.data_dir={data}", "train.epochs=2", *sets])
    Frozen.built.clear()
    return Frozen(settings), Run.create(folder, "line", settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    task, run = begin(tmp_path_factory.mktemp("runs") / "run", data)
    task.train(run)
    return task, run


def weights(run, which="current"):
    return {name: value.tolist() for name, value in run.load(which)["model"].items()}


def test_the_base_is_kept_once_and_checkpoints_hold_the_rest(trained):
    task, run = trained
    (file,) = run.path.glob("base-*")
    assert set(load_weights(file)) == {"weight", "bias"}  # as the module of all of them calls them
    content = run.load("best")
    assert set(content["model"]) == {"encoder.2.weight", "encoder.2.bias", "line.weight", "line.bias"}
    assert content["base"]["sha256"] == run.info()["base"] == file.stem.removeprefix("base-")
    assert run.info()["weights"] == "random: none were given"
    assert task.evaluate(run, "val")["model"]["loss"] == pytest.approx(content["best_val"], rel=1e-12)
    assert not any(Frozen.built[1:])  # nothing published is read for evaluation


def test_what_is_described_and_planned_is_counted_before_it_was_adapted(trained):
    task, run = trained
    count = (2 * 8 + 8) + (8 * 8 + 8) + (8 + 1)
    assert task.network(run).parameters == task.network().parameters == task.plan(run).parameters == count
    assert task.plan(run).trainable == count - (2 * 8 + 8)


def test_predictions_do_not_need_the_base_file_once_they_are_loaded(trained, tmp_path):
    task, run = trained
    run = Run(shutil.copytree(run.path, tmp_path / "copy"), run.task, run.settings)
    predict, batch = task.predictor(run), {"x": torch.ones(3, 2).numpy()}
    before = predict(batch)["y"]
    (file,) = run.path.glob("base-*")
    file.write_bytes(b"\xff" * file.stat().st_size)
    assert (predict(batch)["y"] == before).all()
    with pytest.raises(ZooError, match="damaged"):
        task.predictor(run)


def test_a_run_that_goes_on_takes_its_base(trained, data, tmp_path):
    _, whole = trained
    task, run = begin(tmp_path / "run", data, "train.epochs=1")
    task.train(run)
    (file,) = run.path.glob("base-*")
    task, run = begin(tmp_path / "run", data)
    task.train(run)
    assert Frozen.built[0] is False
    assert weights(run) == weights(whole)
    file.unlink()
    task, run = begin(tmp_path / "run", data, "train.epochs=3")
    with pytest.raises(ZooError, match="is missing"):
        task.train(run)


def test_killed_before_the_first_checkpoint(trained, data, tmp_path):
    _, whole = trained
    task, run = begin(tmp_path / "run", data)
    shutil.copy(next(whole.path.glob("base-*")), run.path)
    run.note("base", whole.info()["base"])
    task.train(run)
    assert Frozen.built[0] is True  # the trained layer begins as it began
    assert weights(run) == weights(whole)


@pytest.mark.parametrize("how", ["init_from", "resume"])
def test_another_run_takes_base_and_weights_of_a_checkpoint(how, trained, data, tmp_path):
    _, source = trained
    task, run = begin(tmp_path / "run", data, "train.seed=5", "train.epochs=3")
    if how == "init_from":
        take_weights_from(run, source.file("best"))
    else:
        start_from(run, source.file("best"))
    task.train(run)
    assert Frozen.built[0] is False
    assert run.info()["base"] == source.info()["base"]
    assert run.info()["weights"] == source.info()["weights"]
    assert len(list(run.path.glob("base-*"))) == 1
    task.predictor(run)


def test_a_base_of_another_system_is_refused(trained, data, tmp_path, monkeypatch):
    _, source = trained
    monkeypatch.setattr(Frozen, "width", 4)
    task, run = begin(tmp_path / "run", data)
    take_weights_from(run, source.file("best"))
    with pytest.raises(ZooError, match=r"base-.*does not fit.*2 tensors differ \(bias\)"):
        task.train(run)
