"""Runs of the toy task: noisy settings that use every state, and comparison of two runs bit by bit."""

import torch
from eozoo_core.settings.config import load_settings
from toy import ToySettings

# 64 rows in batches of 8: eight batches an epoch; everything that has a state is on.
NOISY = ("model.dropout=0.5", "train.optimizer=sgd", "train.accumulate=3", "train.clip_norm=0.5")


def settings_of(data, *overrides):
    return load_settings(
        ToySettings,
        overrides=[f"runtime.data_dir={data}", "runtime.tensorboard=false", "runtime.device=cpu", *overrides],
    )


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
