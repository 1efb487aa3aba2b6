"""Two processes learn and score what one does: same batches, same sums, same weights, one writer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_core import Run
from eozoo_core.run.beginning import start_from
from eozoo_core.settings.config import load_settings
from eozoo_core.train.step import pooled_step
from toy import Toy, ToySettings
from toy_runs import same_runs

# No batch norm and no dropout; 64 rows in batches of 8; the labels that are missing fall unevenly on the processes.
PLAIN = ("train.optimizer=sgd", "train.learning_rate=0.1", "train.accumulate=2", "runtime.device=cpu")
NOISY = (*PLAIN, "model.dropout=0.5", "train.save_every_steps=5")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """All trainings in one launch of two processes; returns folder and settings."""
    root = tmp_path_factory.mktemp("ddp")
    Toy.sample(root / "data")
    common = ["train.precision=fp32", f"runtime.data_dir={root / 'data'}", "runtime.tensorboard=false"]
    one = load_settings(ToySettings, overrides=[*common, *PLAIN])
    start = Run.create(root / "start", "toy", load_settings(ToySettings, overrides=[*common, *PLAIN, "train.epochs=1"]))
    Toy(start.settings).train(start)
    two = [*common, "runtime.devices=2"]
    frozen = ["train.learning_rate=1e-30", "train.epochs=2"]  # too small to move a weight: scores the same network
    for name in ("frozen_one", "frozen_two"):
        run = Run.create(root / name, "toy", load_settings(ToySettings, overrides=[*common, *PLAIN, *frozen]))
        start_from(run, start.file("current"))
        run.release()  # other processes train it
    whole = {"run": str(root / "whole"), "set": [*two, *NOISY], "kill": None}
    todo = [
        {"run": str(root / "two"), "set": [*two, *PLAIN], "kill": None},
        {"run": str(root / "frozen_two"), "set": [*two, *PLAIN, *frozen], "kill": None},
        whole,
        {
            **whole,
            "run": str(root / "parts"),
            "kill": [6, "SIGINT", 1],
        },  # within an epoch; the other process is not told
        {**whole, "run": str(root / "parts")},
    ]
    (root / "jobs.json").write_text(json.dumps(todo))
    script = Path(__file__).with_name("train_toy.py")
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, script, root / "jobs.json", root], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root, one


def record(root, job, rank):
    return json.loads((root / f"{job}_{rank}.json").read_text())


def test_no_sample_twice_and_the_batches_of_one(jobs):
    root, _ = jobs
    first, second = (record(root, 0, rank)["draws"] for rank in (0, 1))
    assert len(first) == len(second) == 3
    for epoch, (a, b) in enumerate(zip(first, second, strict=True)):
        order = np.random.default_rng((0, epoch)).permutation(64)  # what loading.epoch_order promises
        for k, (mine, other) in enumerate(zip(a, b, strict=True)):
            assert mine + other == [[i, epoch] for i in order[8 * k : 8 * k + 8]]


def test_trained_weights_and_log_agree_with_one_process(jobs, tmp_path):
    root, settings = jobs
    one = Run.create(tmp_path / "one", "toy", settings)
    Toy(settings).train(one)
    two = Run.open(root / "two", ToySettings)
    for which in ("current", "best"):
        a, b = one.load(which), two.load(which)
        assert (a["step"], a["epoch"]) == (b["step"], b["epoch"])
        for name, weight in a["model"].items():
            assert (weight - b["model"][name]).abs().max() < 1e-6, name
    for a, b in zip(one.read_log(), two.read_log(), strict=True):
        assert (a["step"], a["epoch"], a["lr"]) == (b["step"], b["epoch"], b["lr"])
        assert a["train"]["loss"] == pytest.approx(b["train"]["loss"], rel=1e-5)
        assert a["val"]["loss"] == pytest.approx(b["val"]["loss"], rel=1e-5)
    assert len(two.load("current")["rng"]) == 2


def test_scores_of_one_checkpoint_agree_to_1e_12(jobs, monkeypatch):
    root, _ = jobs
    shares = [record(root, 1, rank)["share"] for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == list(range(24))
    assert set(shares[0]) & set(shares[1]) == set()
    seen = []
    monkeypatch.setattr(
        "toy._mean_squares", lambda total, count: seen.append([total, count]) or {"loss": total / count}
    )
    frozen = Run.open(root / "frozen_one", ToySettings)
    Toy(frozen.settings).train(frozen)
    ((total, count),) = seen
    for rank in (0, 1):  # both processes know the whole
        ((pooled, labelled),) = record(root, 1, rank)["validation"]
        assert labelled == count == 20  # 24 rows, every seventh without a label
        assert pooled == pytest.approx(total, rel=1e-12)


def test_only_the_first_process_writes(jobs):
    root, _ = jobs
    for job in range(5):
        assert record(root, job, 1)["writes"] == []
    written = record(root, 0, 0)["writes"]
    assert written.count("current.pt") == 3
    assert written.count("training_log.jsonl") == 3
    assert Run.open(root / "two", ToySettings).info()["device"] == "cpu x 2"


def test_interrupted_and_continued_equals_uninterrupted(jobs):
    root, _ = jobs
    assert [record(root, 3, rank)["stopped"] for rank in (0, 1)] == [True, True]
    assert len(record(root, 4, 1)["draws"]) == 2  # epochs 2 (its second half) and 3
    whole, parts = (Run.open(root / name, ToySettings) for name in ("whole", "parts"))
    same_runs(whole, parts)
    states = [rng["torch"] for rng in whole.load("current")["rng"]]
    assert not torch.equal(*states)  # each process drops other units


def test_one_process_goes_on_where_two_stopped(jobs, tmp_path, monkeypatch):
    """The sums of both processes count: the log line of the interrupted epoch is that of the whole."""
    root, settings = jobs
    content = Run.open(root / "two", ToySettings).load("current")
    content["progress"]["sums"] = [{"loss": torch.tensor([6.0, 2.0])}, {"loss": torch.tensor([10.0, 2.0])}]
    content["progress"] |= {"batch": 6, "skipped": 1}
    content.pop("format")
    longer = settings.model_copy(update={"train": settings.train.model_copy(update={"epochs": 4})})
    run = Run.create(tmp_path / "run", "toy", longer)
    run.save("current", content)
    steps = []

    def step(*args):
        sums = pooled_step(*args)
        steps.append([float(value) for value in sums["loss"]])
        return sums

    monkeypatch.setattr("eozoo_core.train.step.pooled_step", step)
    Toy(longer).train(run)
    (line,), ((total, count),) = run.read_log(), steps  # two batches of the epoch were left: one step
    assert line["step"] == content["step"] + 1
    assert line["train"] == {"loss": pytest.approx((16 + total) / (4 + count)), "skipped_steps": 1}
