"""What is seen of a training: curves, traces, signals, a quiet terminal."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from eozoo_core.signals import Interrupt
from test_checkpoint import message


def test_tensorboard_has_every_curve_once(train, after_step, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ("runtime.tensorboard=true", "train.log_every=4")
    after_step(13, lambda model: (_ for _ in ()).throw(RuntimeError("crash")))  # points 9 .. 12 are written twice
    with pytest.raises(RuntimeError, match="crash"):
        train("run", *options)
    monkeypatch.undo()
    run = train("run", *options)
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("val/loss")] == [8, 16, 24]
    assert [e.step for e in events.Scalars("step/loss")] == [4, 12, 20]
    logged = [line["val"]["loss"] for line in run.read_log()]
    assert [e.value for e in events.Scalars("val/loss")] == pytest.approx(logged, rel=1e-6)


class FakeWandb:
    Error = type("Error", (Exception,), {})

    def __init__(self):
        self.inits, self.logged, self.finished = [], [], 0

    def init(self, **options):
        self.inits.append(options)
        return self

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


def test_wandb_when_asked_for(train, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    train("off", "train.epochs=1")
    assert fake.inits == []
    run = train("run", "runtime.wandb=offline", "runtime.wandb_project=forest", "train.epochs=1")
    (options,) = fake.inits
    assert (options["mode"], options["project"], options["name"]) == ("offline", "forest", "run")
    assert options["dir"] == str(run.path)
    assert options["config"]["train"]["epochs"] == 1
    assert fake.logged[-1] == (8, {"lr": 0.01, **prefixed(run.read_log()[-1])})
    assert fake.finished == 1
    train("run", "runtime.wandb=offline", "runtime.wandb_project=forest", "train.epochs=2")
    assert fake.inits[1]["id"] == options["id"]  # the same curves go on
    fake.login = lambda: False
    assert "runtime.wandb=online: no key; log in with" in message(lambda: train("online", "runtime.wandb=online"))
    fake.login = lambda: (_ for _ in ()).throw(fake.Error("No API key. Use `wandb login`."))
    assert "runtime.wandb=online: No API key; log in" in message(lambda: train("online", "runtime.wandb=online"))
    assert len(fake.inits) == 2  # said before any work
    monkeypatch.setitem(sys.modules, "wandb", None)
    said = message(lambda: train("none", "runtime.wandb=offline"))
    assert "wandb is not installed: pip install 'eozoo[wandb]'" in said


def prefixed(line):
    return {f"{part}/{k}": v for part in ("train", "val") for k, v in line[part].items()}


def test_profile_writes_a_trace(train):
    run = train("run", "runtime.profile=true", "train.epochs=1")
    trace = json.loads((run.path / "profile" / "trace.json").read_text())
    steps = [e["name"] for e in trace["traceEvents"] if e.get("name", "").startswith("ProfilerStep")]
    assert set(steps) == {f"ProfilerStep#{i}" for i in range(2, 7)}
    assert "addmm" in (run.path / "profile" / "summary.txt").read_text()


def test_a_full_disk_ends_curves_and_trace_but_not_the_training(train, monkeypatch, capfd):
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.profiler import profile

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RecordWriter, "write", full)
    monkeypatch.setattr(profile, "export_chrome_trace", lambda _, path: Path(path).write_text('{"cut": ['))
    run = train("run", "runtime.profile=true", "runtime.tensorboard=true", "train.epochs=1")
    assert len(run.read_log()) == 1
    assert not list((run.path / "profile").iterdir())
    said = [line for line in capfd.readouterr().err.splitlines() if "cannot be" in line or "Traceback" in line]
    place = f"{run.path}/{{}}: cannot be written (No space left on device); {{}}training goes on without {{}}"
    space = "free space or choose another folder; "
    assert place.format("profile/trace.json", space, "a profile") in said
    assert place.format("tensorboard", "", "TensorBoard") in said
    assert len(said) == 2


def test_a_second_ctrl_c_acts_at_once():
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_silent_without_a_terminal(train, capfd):
    train("run", "train.epochs=1")
    assert capfd.readouterr() == ("", "")


def test_eighty_columns_hold_three_values(monkeypatch):
    import io

    from eozoo_core.run.progress import progress_bar
    from rich.console import Console

    out, text = io.StringIO(), "epoch 30 loss 0.0123 rmse_norm 0.351 rmse_K 3.14"
    terminal = Console(file=out, force_terminal=True, width=80)
    monkeypatch.setattr("rich.console.Console", lambda stderr: terminal)
    with progress_bar("train", 90_000, "steps") as bar:
        bar.update(12_345, text)
    assert "12345/90000" in out.getvalue()
    assert text in out.getvalue()
