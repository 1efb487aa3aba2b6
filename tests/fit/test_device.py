"""Device, precision and processes."""

import re

import pytest
import torch
from eozoo_core.train.launch import resolve_device
from test_checkpoint import message


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
    assert re.search("'cuda' .*'auto' .*cpu$", message(resolve_device, "cuda"))
    assert "'mps' is not on this machine" in message(resolve_device, "mps")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    assert "'cuda:2' is not on this machine" in message(resolve_device, "cuda:2")
    both = ("runtime.device=cuda:1", "runtime.devices=2")
    assert re.search("'cuda:1' .*runtime.devices x .* 2; use 'cuda'", message(lambda: train("x", *both)))


def test_processes_that_do_not_fit(train, monkeypatch):
    uneven = ("runtime.devices=2", "train.batch_size=9")
    assert "batch_size 9 cannot be shared by 2 processes" in message(lambda: train("a", *uneven))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert re.search("torchrun .* 4 .*runtime.devices x runtime.nodes is 1", message(lambda: train("b")))
