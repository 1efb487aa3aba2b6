"""The training loop: killed and continued equals uninterrupted, poison stays out, everything happens when it should."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_core import Run, TrainSettings
from eozoo_core.checkpoint import load_checkpoint
from eozoo_core.config import load_settings
from eozoo_core.errors import Interrupted
from eozoo_core.fit import fit
from eozoo_core.interrupt import Interrupt
from eozoo_core.launch import launch, resolve_device
from eozoo_core.loading import Loader, epoch_order
from eozoo_core.optim import Schedule, make_optimizer, optimizer_step, pooled_step
from eozoo_core.position import Position, Timetable
from test_checkpoint import message
from toy import Rows, Toy, ToySettings, collate

# 64 rows in batches of 8: eight batches an epoch; everything that has a state is on.
NOISY = ("model.dropout=0.5", "train.optimizer=sgd", "train.accumulate=3", "train.clip_norm=0.5")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    Toy.sample(root)
    return root


def settings_of(data, *overrides):
    return load_settings(
        ToySettings,
        overrides=[f"runtime.data_dir={data}", "runtime.tensorboard=false", "runtime.device=cpu", *overrides],
    )


@pytest.fixture
def train(data, tmp_path):
    def train(name, *overrides, root=data, start_from=None):
        settings = settings_of(root, *overrides)
        run = Run.create(tmp_path / name, "toy", settings)
        if start_from is not None:
            run.start_from(start_from)
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

        monkeypatch.setattr("eozoo_core.optim.pooled_step", step)

    return after_step


def same(a, b, where=""):
    """Assert equality of two nested contents, tensors bit by bit."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def same_runs(a, b):
    for which in ("current", "best"):
        first, second = a.load(which), b.load(which)
        for content in (first, second):
            content["config"]["train"].pop("epochs")
            content["config"].pop("runtime")
        same(first, second)
    assert a.read_log() == b.read_log()


# -- going on -------------------------------------------------------------------------------------------------------


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
    whole = train("whole", *quiet)
    job = {"run": str(tmp_path / "parts"), "set": [f"runtime.data_dir={data}", *quiet], "kill": [5, "SIGKILL", 0]}
    (tmp_path / "jobs.json").write_text(json.dumps([job]))
    script = Path(__file__).with_name("train_toy.py")
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


# -- poison and missing labels ----------------------------------------------------------------------------------------


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


@pytest.fixture
def fabric(data, tmp_path):
    return launch(Run.create(tmp_path / "fabric", "toy", settings_of(data)))


def test_a_step_without_labels_touches_nothing(fabric):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    train = settings_of(".").train
    model, optimizer = fabric.setup(net, make_optimizer(net.parameters(), train))
    before = {k: v.clone() for k, v in model.state_dict().items()}

    def never(batch):
        raise AssertionError("no forward pass for a step without labels")

    assert pooled_step(fabric, model, optimizer, train, [{"count": 0}, {"count": 0}], never) is None
    same(before, dict(model.state_dict()))


# -- the step ---------------------------------------------------------------------------------------------------------


def test_accumulation_equals_the_large_batch_whatever_the_labels(train):
    """Every seventh label is missing, so micro-batches hold 1 or 2: a mean of means would differ."""
    plain = ("train.optimizer=sgd", "train.learning_rate=0.1")
    whole = train("whole", *plain)
    parts = train("parts", *plain, "train.batch_size=2", "train.accumulate=4")
    for name, weight in whole.load("current")["model"].items():
        assert torch.allclose(weight, parts.load("current")["model"][name], rtol=0, atol=1e-6), name
    for a, b in zip(whole.read_log(), parts.read_log(), strict=True):
        assert a["train"]["loss"] == pytest.approx(b["train"]["loss"], rel=1e-5)
        assert a["step"] == b["step"]


@pytest.mark.parametrize(
    ("norm", "value", "expected"),
    [
        ("null", "null", (3.0, 4.0)),
        ("1", "null", (0.6, 0.8)),
        ("10", "null", (3.0, 4.0)),
        ("null", "2", (2.0, 2.0)),
        ("2.5", "1.8", (1.5, 1.8)),  # first by norm to (1.5, 2.0), then by value
    ],
)
def test_clipping_by_hand(fabric, norm, value, expected):
    net, other = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(net.weight)
    both = torch.nn.ModuleList([net, other])
    options = (f"train.clip_norm={norm}", f"train.clip_value={value}")
    train = settings_of(".", "train.optimizer=sgd", "train.momentum=0", "train.learning_rate=1", *options).train
    model, optimizer = fabric.setup(both, make_optimizer(net.parameters(), train))
    net.weight.grad = torch.tensor([[3.0, 4.0]])
    other.weight.grad = torch.tensor([[100.0]])  # not this optimiser's: it does not count in the norm
    optimizer_step(fabric, model, optimizer, train)
    assert net.weight.detach().tolist()[0] == pytest.approx([-v for v in expected], rel=1e-5)
    assert net.weight.grad is None


def test_optimisers_and_frozen_parameters(fabric):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
    net[0].requires_grad_(False)
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        train = settings_of(".", f"train.optimizer={name}", "train.weight_decay=0.25").train
        optimizer = make_optimizer(net.parameters(), train)
        assert type(optimizer) is kind
        (group,) = optimizer.param_groups
        assert (len(group["params"]), group["weight_decay"], group["lr"]) == (2, 0.25, 0.01)
        assert group.get("momentum", 0.9) == 0.9
    net.requires_grad_(False)
    assert "no parameter is trainable" in message(make_optimizer, net.parameters(), train)


def test_schedule_sets_every_group_by_step():
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], "lr_scale": 0.1}]
    schedule = Schedule([torch.optim.SGD(groups, lr=1.0)], lambda step: 1 / (1 + step))
    schedule.apply(3)
    assert [g["lr"] for g in groups_of(schedule)] == [0.25, pytest.approx(0.025)]
    other = Schedule([torch.optim.SGD([torch.zeros(1)], lr=1.0)], lambda step: 2.0 + step)
    other.load_state_dict(schedule.state_dict())
    assert (other.step, other.lr) == (3, 5.0)  # the step is restored, the rate is what the settings say today


def groups_of(schedule):
    return schedule._optimizers[0].param_groups


# -- when -------------------------------------------------------------------------------------------------------------


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

    monkeypatch.setattr("eozoo_core.optim.pooled_step", step)
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


# -- fit itself, without the toy's train ------------------------------------------------------------------------------


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


# -- device and precision ---------------------------------------------------------------------------------------------


def test_fp16_on_the_cpu_is_refused_and_bf16_runs(train):
    assert "'fp16-mixed' does not exist on the CPU" in message(lambda: train("fp16", "train.precision=fp16-mixed"))
    half, full = train("bf16", "train.precision=bf16-mixed"), train("fp32")
    weight = half.load("current")["model"]["0.weight"]
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, full.load("current")["model"]["0.weight"], atol=0.05)
    assert not torch.equal(weight, full.load("current")["model"]["0.weight"])  # it really was another arithmetic


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "mps:1", "", "cuda:0:1"])
def test_misspelt_devices(name):
    assert "use auto, cpu, mps, cuda or cuda:N" in message(resolve_device, name)


def test_absent_devices(monkeypatch, train):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    assert "'cuda' is not on this machine; use 'auto' or one of: cpu" in message(resolve_device, "cuda")
    assert "'mps' is not on this machine" in message(resolve_device, "mps")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    assert "'cuda:2' is not on this machine" in message(resolve_device, "cuda:2")
    both = ("runtime.device=cuda:1", "runtime.devices=2")
    assert "names one device and runtime.devices x nodes is 2; use 'cuda'" in message(lambda: train("x", *both))


def test_processes_that_do_not_fit(train, monkeypatch):
    uneven = ("runtime.devices=2", "train.batch_size=9")
    assert "batch_size 9 cannot be shared by 2 processes" in message(lambda: train("a", *uneven))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "torchrun started 4 processes and runtime.devices x runtime.nodes is 1" in message(lambda: train("b"))


# -- loggers, profile, signals ----------------------------------------------------------------------------------------


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
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert "wandb is not installed: pip install wandb" in message(lambda: train("none", "runtime.wandb=offline"))


def prefixed(line):
    return {f"{part}/{k}": v for part in ("train", "val") for k, v in line[part].items()}


def test_profile_writes_a_trace(train):
    run = train("run", "runtime.profile=true", "train.epochs=1")
    trace = json.loads((run.path / "profile" / "trace.json").read_text())
    steps = [e["name"] for e in trace["traceEvents"] if e.get("name", "").startswith("ProfilerStep")]
    assert set(steps) == {f"ProfilerStep#{i}" for i in range(2, 7)}
    assert "addmm" in (run.path / "profile" / "summary.txt").read_text()


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
