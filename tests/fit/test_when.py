"""When things happen: validation, checkpoints, log lines, the end."""

import json
import signal

import numpy as np
import pytest
import torch
from eozoo_core import Run, TrainSettings
from eozoo_core.errors import Interrupted
from eozoo_core.train.fit import fit
from eozoo_core.train.launch import launch
from eozoo_core.train.loading import Loader
from eozoo_core.train.optimizer import make_optimizer
from eozoo_core.train.schedule import Schedule
from eozoo_core.train.state import Position
from eozoo_core.train.step import optimizer_step, pooled_step
from eozoo_core.train.timetable import Timetable
from test_checkpoint import message
from toy import Rows, Toy, collate
from toy_runs import same_runs, settings_of


def when(run):
    return [(line["step"], line["epoch"], bool(line["val"])) for line in run.read_log()]


def test_validate_every_epochs_and_at_the_end(train):
    run = train("run", "train.epochs=5", "train.validate_every=2", "train.checkpoint_every=2")
    assert when(run) == [(8, 1, False), (16, 2, True), (24, 3, False), (32, 4, True), (40, 5, True)]
    kept = sorted(p.name for p in run.path.glob("checkpoint_epoch_*.pt"))
    assert kept == ["checkpoint_epoch_002.pt", "checkpoint_epoch_004.pt"]
    assert run.load("checkpoint_epoch_002")["step"] == 16
    line = run.read_log()[1]
    assert line.keys() == {"epoch", "step", "lr", "train", "val"}
    assert line["lr"] == 0.01


def test_validate_by_steps_and_end_by_steps(train):
    run = train("run", "train.validate_every_steps=3", "train.steps=11")
    assert when(run) == [(3, 1, True), (6, 1, True), (8, 1, True), (9, 2, True), (11, 2, True)]
    longer = train("run", "train.validate_every_steps=3", "train.steps=12")
    assert when(longer)[-1] == (12, 2, True)
    only = train("only", "train.epochs=null", "train.steps=10")
    assert when(only) == [(8, 1, True), (10, 2, True)]


@pytest.mark.parametrize(
    ("batches", "options", "per_epoch", "total"),
    [
        (8, {"accumulate": 3, "epochs": 2}, 3, 6),  # the last step of an epoch takes what is left
        (8, {"accumulate": 1, "epochs": 2, "steps": 9}, 8, 9),
        (8, {"accumulate": 1, "epochs": 2, "steps": 99}, 8, 16),
        (2, {"accumulate": 5, "epochs": None, "steps": 7}, 1, 7),
    ],
)
def test_timetable_counts_optimiser_steps(batches, options, per_epoch, total):
    times = Timetable(batches, TrainSettings(**options))
    assert (times.per_epoch, times.total) == (per_epoch, total)
    position = Position()
    for step in range(total):
        assert not times.ends(position)
        assert (position.epoch, position.step) == (step // per_epoch, step)
        times.advance(position)
    assert times.ends(position)


def test_lines_hold_the_mean_of_their_interval_only(train, after_step, monkeypatch):
    seen = []

    def step(*args):
        result = pooled_step(*args)
        seen.append([float(v) for v in result["loss"]])
        return result

    monkeypatch.setattr("eozoo_core.train.step.pooled_step", step)
    run = train("run", "train.epochs=1", "train.validate_every_steps=3")
    for line, steps in zip(run.read_log(), ([0, 1, 2], [3, 4, 5], [6, 7]), strict=True):
        total, count = np.sum([seen[i] for i in steps], axis=0)
        assert line["train"]["loss"] == pytest.approx(total / count, rel=1e-12)


def test_best_is_the_minimum_and_evaluating_it_repeats_the_number(train, data):
    run = train("run", "train.epochs=12", "train.learning_rate=0.4", "model.dropout=0.2")
    scores = [line["val"]["loss"] for line in run.read_log()]
    best = run.load("best")
    assert scores.index(min(scores)) not in (0, len(scores) - 1)  # or the test would show nothing
    assert best["best_val"] == min(scores) == best["metrics"]["loss"]
    assert best["epoch"] == scores.index(min(scores)) + 1
    assert run.load("current")["best_val"] == min(scores)
    assert Toy(run.settings).evaluate(run, "val")["model"]["loss"] == pytest.approx(min(scores), rel=1e-12)
    options = ("train.learning_rate=0.4", "model.dropout=0.2")
    train("parts", *options, f"train.epochs={best['epoch'] + 1}")  # stopped after the best epoch, which stays the best
    same_runs(run, train("parts", *options, "train.epochs=12"))


def test_jq_queries_of_document_002_on_a_real_log(train):
    run = train("run", "train.epochs=3", "train.validate_every=2")
    lines = [json.loads(line) for line in (run.path / "training_log.jsonl").read_text().splitlines()]
    found = [{"epoch": x["epoch"], "val_loss": x["val"]["loss"]} for x in lines if x["val"].get("loss") is not None]
    assert [f["epoch"] for f in found] == [2, 3]
    assert all(isinstance(f["val_loss"], float) for f in found)


def small_fit(path, data, *overrides, validate=None, monitor="loss", derive=None, stop=None):
    """Fit a net and a discriminator, each with its own optimiser."""
    settings = settings_of(data, *overrides)
    run = Run.create(path, "toy", settings)
    fabric = launch(run)
    rows = Rows(np.load(data / "train.npy"))
    net, critic = torch.nn.Linear(2, 1), torch.nn.Linear(1, 1)
    model, optimizer = fabric.setup(net, make_optimizer(net.parameters(), settings.train))
    discriminator, optimizer_d = fabric.setup(critic, make_optimizer(critic.parameters(), settings.train))

    def step(micro_batches, number):
        assert model.training
        (batch,) = micro_batches
        for part, opt in ((model, optimizer), (discriminator, optimizer_d)):
            model.zero_grad()  # no gradient outlives a step: it would not be in a checkpoint
            discriminator.zero_grad()
            loss = (discriminator(model(batch["x"])) ** 2).sum()
            fabric.backward(loss)
            optimizer_step(fabric, part, opt, settings.train)
        if number == stop:
            signal.raise_signal(signal.SIGINT)
        return {"loss": (loss, 8)}

    scheduler = Schedule([optimizer, optimizer_d], lambda step: 0.01 / (1 + step))
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    state |= {"discriminator": discriminator, "optimizer_d": optimizer_d}
    fit(
        run,
        fabric,
        state,
        Loader(rows, settings.train, settings.runtime, fabric, collate),
        step,
        validate,
        monitor,
        derive,
    )
    return run


def test_a_second_optimiser_and_network_are_restored(data, tmp_path):
    whole = small_fit(tmp_path / "whole", data)
    content = whole.load("current")
    assert {"discriminator", "optimizer_d"} <= content.keys()
    # The rate of every optimiser moved with the step: 24 steps were taken, the last at step 23.
    assert [line["lr"] for line in whole.read_log()] == [0.01 / 8, 0.01 / 16, 0.01 / 24]
    assert [content[name]["param_groups"][0]["lr"] for name in ("optimizer", "optimizer_d")] == [0.01 / 24] * 2
    with pytest.raises(Interrupted):
        small_fit(tmp_path / "parts", data, stop=10)
    same_runs(whole, small_fit(tmp_path / "parts", data))


def test_without_validation_best_follows_training(data, tmp_path):
    run = small_fit(tmp_path / "run", data, monitor="rmse", derive=lambda means: {"rmse": means["loss"] ** 0.5})
    lines = run.read_log()
    assert all(line["val"] == {} for line in lines)
    assert lines[0]["train"]["rmse"] == pytest.approx(lines[0]["train"]["loss"] ** 0.5)
    assert run.load("best")["best_val"] == min(line["train"]["rmse"] for line in lines)


def test_validation_returns_numbers_of_any_kind(data, tmp_path):
    """A numpy number in a checkpoint could not be read again; NaN never gets there."""
    run = small_fit(tmp_path / "run", data, validate=lambda: {"score": np.float64(0.25)}, monitor="score")
    assert run.load("best")["metrics"] == {"score": 0.25}
    text = message(lambda: small_fit(tmp_path / "nan", data, validate=lambda: {"loss": np.nan}))
    assert "loss became nan by step 8" in text
    assert not (tmp_path / "nan" / "best.pt").exists()
    with pytest.raises(KeyError, match="monitor 'loss' is none of score"):
        small_fit(tmp_path / "typo", data, validate=lambda: {"score": 1.0})
