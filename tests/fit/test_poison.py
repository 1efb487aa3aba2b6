"""Values that are not finite never reach a checkpoint; batches without labels touch nothing."""

import signal

import numpy as np
import pytest
import torch
from eozoo_core import Run
from eozoo_core.errors import Interrupted
from eozoo_core.train.loading import epoch_order
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.step import pooled_step
from test_checkpoint import message
from toy import ToySettings
from toy_runs import same, same_runs, settings_of


def test_nan_loss_stops_before_any_checkpoint(train, after_step, tmp_path):
    after_step(10, lambda model: {"loss": (torch.tensor(float("nan")), 1)})
    text = message(lambda: train("run", "train.log_every=1", "train.save_every_steps=1"))
    assert "loss became nan by step 10" in text
    assert text.endswith("current.pt is still that of step 9")
    run = Run.open(tmp_path / "run", ToySettings)
    assert run.load("current")["step"] == 9
    assert all(torch.isfinite(w).all() for w in run.load("current")["model"].values())


def test_weights_that_are_not_finite_are_not_saved(train, after_step):
    """The loss was finite when the gradient blew up: without a look at the weights they would be saved."""

    def poison(model):
        with torch.no_grad():
            next(model.parameters())[0, 0] = float("inf")

    after_step(2, poison)
    text = message(lambda: train("run", "train.save_every_steps=1"))
    assert "model.0.weight became not finite by step 2" in text
    assert text.endswith("current.pt is still that of step 1")


def test_divergence_in_the_first_epoch_has_no_checkpoint_to_speak_of(train, tmp_path):
    text = message(
        lambda: train(
            "run", "train.optimizer=sgd", "train.learning_rate=1e30", "train.clip_norm=null", "train.log_every=1"
        )
    )
    assert "loss became" in text
    assert "current.pt" not in text
    assert not (tmp_path / "run" / "current.pt").exists()


def test_batches_without_labels_are_skipped_and_counted(train, after_step, monkeypatch, data, tmp_path):
    rows = np.load(data / "train.npy")
    rows[:, 2] = np.nan
    rows[:3, 2] = 1.0  # three labels among 64 rows
    few = tmp_path / "few"
    few.mkdir()
    np.save(few / "train.npy", rows)
    np.save(few / "val.npy", np.load(data / "val.npy"))
    run = train("run", root=few)
    for epoch, line in enumerate(run.read_log()):
        batches = np.array(epoch_order(64, 0, epoch)).reshape(8, 8)
        assert line["train"]["skipped_steps"] == 8 - (batches < 3).any(axis=1).sum()
    assert run.load("current")["optimizer"]["state"][0]["step"] == 24 - sum(
        line["train"]["skipped_steps"] for line in run.read_log()
    )
    after_step(21, lambda model: signal.raise_signal(signal.SIGINT))  # skipped steps before and after it in its epoch
    with pytest.raises(Interrupted):
        train("parts", root=few)
    monkeypatch.undo()
    same_runs(run, train("parts", root=few))
    rows[:, 2] = np.nan
    np.save(few / "train.npy", rows)
    assert "no training sample of a whole epoch has a label" in message(lambda: train("none", root=few))


def test_a_step_without_labels_touches_nothing(fabric):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    train = settings_of(".").train
    model, optimizer = fabric.setup(net, make_optimizer(net.parameters(), train))
    before = {k: v.clone() for k, v in model.state_dict().items()}

    def never(batch):
        raise AssertionError("no forward pass for a step without labels")

    assert pooled_step(fabric, model, optimizer, train, [{"count": 0}, {"count": 0}], never) is None
    same(before, dict(model.state_dict()))
