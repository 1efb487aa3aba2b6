"""Predicted memory: against numbers by hand, what autograd really saves, and what a real step allocates."""

import platform
import subprocess
import sys

import pytest
import torch
from eozoo.testing.watch import allocated_by
from eozoo_core.settings import TrainSettings
from eozoo_core.train.memory import follow, predict_memory, step_memory
from torch import nn
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    """A bit of everything: convolution, normalisation, attention-like products, a frozen part, recomputation."""

    def __init__(self, recompute=False):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.frozen = nn.Linear(16, 64).requires_grad_(False)
        self.out, self.recompute = nn.Linear(64, 4), recompute

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x))).flatten(2).transpose(1, 2)
        y = checkpoint(self.inner, x, use_reentrant=False) if self.recompute else self.inner(x)
        return self.out(y)

    def inner(self, x):
        y = self.frozen(x)
        return y + torch.softmax(y, -1) * torch.tanh(y)


def allocated(net, x, dtype):
    """What a real step takes at its peak beyond what was there before, by torch's own record of allocations."""

    def step():
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            y = net(torch.zeros_like(x))
        y.float().sum().backward()

    return allocated_by(step)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("bf16-mixed", torch.bfloat16)])
def test_a_real_step_allocates_what_was_predicted(recompute, precision, dtype):
    net, x = Net(recompute), torch.zeros(2, 4, 48, 48)
    allocated(Net(recompute), x, dtype)  # the first time libraries allocate for themselves
    predicted = predict_memory(net, (x,), TrainSettings(precision=precision)).step
    assert predicted == pytest.approx(allocated(net, x, dtype), rel=0.08)
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)
    assert {p.device.type for p in net.parameters()} == {"cpu"}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("bf16-mixed", torch.bfloat16)])
def test_what_a_forward_pass_leaves_is_what_autograd_saves(precision, dtype):
    net, saved = Net(), {}
    known = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor

    x = torch.zeros(2, 4, 48, 48)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
        torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None),
    ):
        keep(net(x))
    _, left = follow([net], lambda nets: nets[0](torch.empty(2, 4, 48, 48)), precision, False)
    assert left == pytest.approx(sum(size for size, _ in saved.values()), rel=0.01)


def test_by_hand():
    """y = x W, loss = sum(y y)."""
    net, x = nn.Linear(1000, 10, bias=False), torch.zeros(50, 1000)

    def work(nets):
        y = nets[0](torch.empty(x.shape))
        (y * y).sum().backward()

    most, left = follow([net], work, "fp32", False)
    kilo = 4000
    assert left == 10 * kilo  # the gradient
    # In backward: x (50 x 1000), y and the gradient that reaches it (50 x 10 each), the gradient of W (10 x 1000).
    assert 61 * kilo <= most <= 62 * kilo
    assert follow([net], work, "fp32", True)[0] == pytest.approx(most + 10 * kilo, abs=kilo)


def test_parts_add_up():
    net = nn.Sequential(nn.Linear(100, 100), nn.BatchNorm1d(100))
    net[0].weight.requires_grad_(False)
    for name, states in (("adamw", 2), ("sgd", 1)):
        found = predict_memory(net, (torch.zeros(3, 100),), TrainSettings(optimizer=name, momentum=0.9))
        assert found.weights == 4 * (100 * 100 + 100 + 4 * 100) + 8  # and BatchNorm's count of batches
        assert found.optimizer == 4 * 300 * states
        assert found.tensors == found.weights + found.optimizer + found.step
        assert sum(found.parts().values()) == found.total > found.tensors
    plain = predict_memory(net, (torch.zeros(3, 100),), TrainSettings(optimizer="sgd", momentum=0.0))
    assert plain.optimizer == 0
    for precision, held in (("fp32", 1), ("fp16-mixed", 3)):  # gradients; an update that is not fused has two copies
        on_gpu = step_memory([net], lambda nets: None, TrainSettings(precision=precision), "cuda")
        assert (on_gpu.overhead, on_gpu.step) == (0, held * 4 * 300)


class Recurrent(nn.Module):
    """Two recurrent layers; oneDNN would compute them in one piece."""

    def __init__(self):
        super().__init__()
        self.layers, self.out = nn.LSTM(11, 32, 2, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        return self.out(self.layers(x)[0])


class Frozen(nn.Module):
    """A frozen transformer, whose layers torch computes in one piece, and a trained head."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(False)
        self.out = nn.Linear(32, 3)

    def train(self, mode=True):
        super().train(mode)
        self.layers.eval()
        return self

    def forward(self, x):
        return self.out(self.layers(x))


def test_recurrent_layers_are_followed_in_parts(monkeypatch):
    net, x = Recurrent(), torch.zeros(256, 16, 11)
    predicted = predict_memory(net, (x,), TrainSettings(precision="fp32")).step
    assert torch.backends.mkldnn.enabled
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert predicted == pytest.approx(allocated(net, x, None), rel=0.02)
    monkeypatch.undo()
    assert 0.45 <= predicted / allocated(net, x, None) <= 1.1


def test_frozen_transformers_are_followed_in_parts():
    net, x = Frozen().train(), torch.zeros(512, 16, 32)
    predicted = predict_memory(net, (x,), TrainSettings(precision="fp32")).step
    assert 0.95 <= predicted / allocated(net, x, None) <= 1.4
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("look", [lambda y: y.sum().item(), lambda y: y[y > 0], lambda y: bool((y > 0).all())])
def test_a_network_that_looks_at_values_is_not_predicted(look):
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            y = self.layer(x)
            return y * 2 if look(y) is None else y

    assert predict_memory(Looks(), (torch.zeros(2, 4),), TrainSettings()) is None


def test_libraries_take_more_where_the_processor_has_bf16_units(monkeypatch):
    found = {}
    for unit in ("amx_bf16", "avx512_bf16", "avx2"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unit=unit: {unit: True}, raising=False)
        for precision in ("fp32", "bf16-mixed"):
            work = step_memory([nn.Linear(1, 1)], lambda nets: None, TrainSettings(precision=precision))
            found[unit, precision] = round(work.overhead, -6)
    assert {k for k, size in found.items() if size == 100e6} == {(u, "bf16-mixed") for u in ("amx_bf16", "avx512_bf16")}
    assert set(found.values()) == {45e6, 100e6}


def test_a_plan_counts_all_networks():
    from eozoo_core import Plan
    from eozoo_core.train.timetable import Timetable

    nets = [nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)]
    times = Timetable(4, TrainSettings(epochs=3))
    memory = predict_memory(nets[0], (torch.zeros(1, 3),), TrainSettings())
    plan = Plan.of({"train": "4"}, nets, times, memory, ["a"])
    assert (plan.parameters, plan.trainable, plan.steps_per_epoch, plan.total_steps) == (11, 8, 4, 12)
    assert (plan.memory_bytes, plan.memory_parts, plan.notes) == (memory.total, memory.parts(), ("a",))
    assert (Plan.of({}, nets, times, None).memory_bytes, Plan.of({}, nets, times, None).memory_parts) == (None, {})


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("environment", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False)])
def test_freed_memory_is_kept_for_the_next_array_unless_the_environment_says_how(environment, kept):
    program = """
import resource, numpy as np
from eozoo_core.train.launch import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        arrays = [np.ones(5_000_000, np.uint8) for _ in range(6)]  # 30 MB, 7,300 pages
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (int(told.stdout) < 3_000) == kept
