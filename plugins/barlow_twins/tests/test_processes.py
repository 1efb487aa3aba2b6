"""Two processes learn what one does, on a CPU too: views and statistics of batch norm are those of all samples."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_yaml

# The kit compares gradients and scores of two processes in the quick tier, and tests/test_ddp.py who writes.
pytestmark = pytest.mark.slow
TASKS = ("barlow_twins", "barlow_landcover")
# Without momentum, and not adam: it makes steps of full length out of rounding where the gradient is zero.
SETS = [
    "train.optimizer=sgd", "train.momentum=0", "train.learning_rate=0.05", "train.clip_value=null", "train.epochs=1",
    "train.batch_size=512", "train.schedule.warmup_steps=0", "train.log_every=1", "train.precision=fp32",
    "data.val_share=0.2", "data.test_share=0",
    "model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}",
    "runtime.tensorboard=false", "runtime.device=cpu", "runtime.threads=1", "runtime.workers=0", "runtime.quiet=true",
]  # fmt: skip
MORE = {"barlow_twins": ["model.projector.batch_norm=true", "data.val_samples=256"], "barlow_landcover": []}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of one and of two processes, by task."""
    root, registry, jobs = tmp_path_factory.mktemp("processes"), Registry.discover(), []
    for task in TASKS:
        config = root / f"{task}.yaml"
        config.write_text(to_yaml(registry.get("task", task).sample(root / "data").settings))
        for count in (1, 2):
            sets = [*SETS, *MORE[task], f"runtime.devices={count}"]
            jobs.append({"task": task, "config": str(config), "run": str(root / f"{task}_{count}"), "set": sets})
    (root / "jobs.json").write_text(json.dumps([job for job in jobs if job["run"].endswith("2")]))
    environment = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
    script = Path(__file__).with_name("train_both.py")
    done = subprocess.run(
        [sys.executable, script, root / "jobs.json"], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for job in jobs[::2]:
        cls = registry.get("task", job["task"])
        settings = load_settings(cls.Settings, Path(job["config"]), job["set"])
        cls(settings, registry).train(Run.create(Path(job["run"]), job["task"], settings))
    return {t: [Run.open(root / f"{t}_{n}", registry.get("task", t).Settings) for n in (1, 2)] for t in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_weights_statistics_and_log_are_those_of_one_process(runs, task):
    one, two = runs[task]
    (first,), (second,) = one.read_log(), two.read_log()
    for part in ("train", "val"):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            assert second[part][name] == pytest.approx(value, rel=2e-5), f"{part} {name}"
    a, b = one.load("current")["model"], two.load("current")["model"]
    assert a.keys() == b.keys()
    assert any("running_var" in name for name in a)
    for name, value in a.items():
        assert (value - b[name]).abs().max() <= 2e-5 * max(1, value.abs().max()), name


def test_the_first_process_alone_draws_and_fits(runs):
    for run in runs["barlow_twins"]:
        assert len(list((run.path / "cross_correlation").iterdir())) == 1
        assert "fitted" in run.info()
