"""Killed, interrupted, extended and continued equals uninterrupted."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_core import Run
from eozoo_core.errors import Interrupted
from eozoo_core.run.checkpoint import load_checkpoint
from test_checkpoint import message
from toy import ToySettings
from toy_runs import NOISY, same, same_runs


@pytest.mark.parametrize("step", [1, 3, 4, 8])  # three steps an epoch: within one, at its end, just after, near the end
def test_interrupted_and_continued_equals_uninterrupted(train, after_step, monkeypatch, step):
    whole = train("whole", *NOISY)
    assert whole.load("current")["step"] == 9
    after_step(step, lambda model: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted, match=f"stopped at step {step}, saved in .*; the same command goes on"):
        train("parts", *NOISY)
    monkeypatch.undo()
    torch.manual_seed(99)  # whatever else happened in between
    parts = train("parts", *NOISY)
    same_runs(whole, parts)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_crashed_and_continued_equals_uninterrupted(train, after_step, monkeypatch):
    """Nothing is saved at a crash: training goes back to the last save within the epoch, and the log with it."""
    often = (*NOISY, "train.accumulate=1", "train.save_every_steps=3", "train.validate_every_steps=5")
    whole = train("whole", *often)

    def crash(model):
        raise RuntimeError("power cut")

    after_step(23, crash)  # saved at 21; the line of step 20 is in the log, its checkpoint too
    with pytest.raises(RuntimeError, match="power cut"):
        train("parts", *often)
    monkeypatch.undo()
    run = Run.open(whole.path.with_name("parts"), ToySettings)
    assert run.load("current")["step"] == 21
    run.log({"epoch": 3, "step": 23, "train": {}, "val": {}})  # a line that was written, its checkpoint not
    same_runs(whole, train("parts", *often))


def test_killed_and_continued_equals_uninterrupted(train, data, tmp_path):
    """SIGKILL in a process of its own; nothing gets a chance to tidy up."""
    quiet = [*NOISY, "runtime.tensorboard=false", "runtime.device=cpu", "train.save_every_steps=1"]
    quiet.append("train.precision=fp32")  # in both processes, whatever the machine is fast at
    whole = train("whole", *quiet)
    job = {"run": str(tmp_path / "parts"), "set": [f"runtime.data_dir={data}", *quiet], "kill": [5, "SIGKILL", 0]}
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    script = Path(__file__).parent.with_name("train_toy.py")
    done = subprocess.run([sys.executable, script, tmp_path / "jobs.json", tmp_path], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = Run.open(tmp_path / "parts", ToySettings)
    assert run.load("current")["step"] == 4  # killed before it could save the fifth
    same_runs(whole, train("parts", *quiet))


def test_extended_equals_trained_longer_at_once(train):
    whole = train("whole", *NOISY, "train.epochs=4")
    short = train("parts", *NOISY, "train.epochs=2")
    assert short.load("current")["epoch"] == 2
    same_runs(whole, train("parts", *NOISY, "train.epochs=4"))
    again = train("parts", *NOISY, "train.epochs=4")  # finished: nothing happens
    same_runs(whole, again)


def test_same_seed_same_result_and_other_seed_another(train):
    a, b, c = train("a", *NOISY), train("b", *NOISY), train("c", *NOISY, "train.seed=1")
    same_runs(a, b)
    assert a.load("best")["best_val"] != c.load("best")["best_val"]


def test_validation_does_not_move_the_generators(train, monkeypatch):
    """How often it happens, and what it imports or draws, changes nothing that is learned."""

    def drawing(total, count):
        torch.rand(1)
        np.random.rand()  # noqa: NPY002
        random.random()
        return {"loss": total / count}

    monkeypatch.setattr("toy._mean_squares", drawing)
    a, b = train("a", *NOISY), train("b", *NOISY, "train.validate_every=3")
    for part in ("model", "optimizer", "rng"):
        same(a.load("current")[part], b.load("current")[part])


def test_resume_into_a_new_run_restores_everything(train, after_step, monkeypatch):
    whole = train("whole", *NOISY)
    after_step(4, lambda model: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        train("old", *NOISY)
    monkeypatch.undo()
    new = train("new", *NOISY, start_from=whole.path.with_name("old") / "current.pt")
    same(whole.load("current")["optimizer"], new.load("current")["optimizer"])
    same(whole.load("current")["model"], new.load("current")["model"])
    assert [line["step"] for line in new.read_log()] == [6, 9]
    assert new.read_log() == whole.read_log()[1:]


def test_resume_with_other_settings(train, after_step, monkeypatch, tmp_path):
    """Interrupted in batch 5 of epoch 2; twice the batch: that epoch begins again, epochs count, not steps."""
    after_step(13, lambda model: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted):
        train("old", "train.epochs=3")
    monkeypatch.undo()
    changed = ("train.epochs=3", "train.batch_size=16", "train.learning_rate=1e-12", "train.weight_decay=0.5")
    source = tmp_path / "old" / "current.pt"
    new = train("new", *changed, start_from=source)
    before, after = load_checkpoint(source), new.load("current")
    assert (before["step"], before["epoch"]) == (13, 1)
    assert (after["step"], after["epoch"]) == (13 + 2 * 4, 3)
    assert after["optimizer"]["state"][0]["step"] == 21  # the moments went on
    assert after["optimizer"]["param_groups"][0]["weight_decay"] == 0.5  # and the settings are today's
    for name, weight in before["model"].items():
        assert torch.allclose(weight, after["model"][name], atol=1e-9)  # at that rate the weights are those restored
    assert new.load("best")["best_val"] == min(line["val"]["loss"] for line in new.read_log())


def test_resume_at_the_end_says_so(train):
    old = train("old", "train.epochs=1")
    assert "is at epoch 1, step 8: the end of train.epochs" in message(
        lambda: train("new", "train.epochs=1", start_from=old.file("current"))
    )


def test_another_model_or_optimiser_state_is_refused(train):
    old = train("old", "train.epochs=1")
    text = message(lambda: train("new", "model.width=5", start_from=old.file("current")))
    assert "of another shape (0.weight (4, 2) for (5, 2)" in text
    content = old.load("current")
    content.pop("format")
    for damage, complaint in (
        (lambda c: c.pop("scheduler"), "has no state of 'scheduler'"),
        (lambda c: c["optimizer"].update(param_groups=[]), "state does not match the trainable parameters"),
    ):
        damage(content)
        old.save("current", content)
        assert complaint in message(lambda: train("old", "train.epochs=2"))
        content = {**content, "scheduler": {"step": 8, "lr": 0.01}}
