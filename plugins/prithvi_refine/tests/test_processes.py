"""Two processes train and score what one does: generator, discriminator, base and validation."""

import json
import os
import subprocess
import sys

import pytest
from eozoo_core import Run
from eozoo_prithvi_refine.demo.landscape import write_world
from eozoo_prithvi_refine.settings import PrithviSettings

SMALL = (
    "model.encoder=prithvi_eo_nano", "model.num_convnext_blocks=1", "model.head_width=8", "model.lora_dropout=0",
    "model.drop_path=0", "data.tile_size=24", "train.epochs=1", "train.batch_size=2", "train.accumulate=1",
    "train.precision=fp32", "train.checkpoint_every=null", "runtime.device=cpu", "runtime.quiet=true",
    "runtime.tensorboard=false", "runtime.threads=1",
)  # fmt: skip
# Adapters and head begin at zero: without a step both score the same network.
STILL = ("train.learning_rate=1e-30", "train.weight_decay=0")


def trained(path, data_dir, *sets):
    """A run by the command, in a process of its own: it starts the second one."""
    words = [word for one in (*SMALL, f"runtime.data_dir={data_dir}", *sets) for word in ("--set", one)]
    done = subprocess.run(
        [sys.executable, "-m", "eozoo", "train", "prithvi_refine", "--run", str(path), *words],
        capture_output=True, text=True, timeout=300,
        env={k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return Run.open(path, PrithviSettings)


@pytest.mark.slow  # the kit compares gradients and scores of two processes in the quick tier
@pytest.mark.parametrize(
    ("way", "train", "val"),
    [
        pytest.param(STILL, 1e-6, 1e-12, id="still"),
        pytest.param(("train.learning_rate=0.001",), 1e-4, 1e-4, id="moving"),
    ],
)
def test_two_processes_are_one(tmp_path, way, train, val):
    world = write_world(tmp_path, size=32, train=6, held_out=2)
    one, two = (trained(tmp_path / f"run_{n}", world.data_dir, *way, f"runtime.devices={n}") for n in (1, 2))
    assert two.info()["device"] == "cpu x 2"
    assert two.info()["base"] == one.info()["base"]
    assert two.info()["survey"] == one.info()["survey"]
    (a,), (b,) = one.read_log(), two.read_log()
    assert a["step"] == b["step"] == 3
    assert b["train"] == pytest.approx(a["train"], rel=train)
    assert b["val"] == pytest.approx(a["val"], rel=val)
    scores = [json.loads((run.path / "eval_test.json").read_text())["scores"] for run in (one, two)]
    assert scores[1]["input"] == scores[0]["input"]
    assert scores[1]["model"] == pytest.approx(scores[0]["model"], rel=val)
