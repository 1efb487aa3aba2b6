"""`Conv3x3` in tiles is the convolution: forward, both gradients, any size, however the batch is cut."""

import pytest
import torch
import torch.nn.functional as F
from eozoo_core import winograd
from eozoo_core.winograd import Conv3x3, pays


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Let small networks use tiles, and cut small batches into many parts."""
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 2)
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)
    monkeypatch.setattr(winograd, "_TOGETHER", 6)


@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "height", "width"),
    [(1, 2, 3, 4, 4), (3, 5, 2, 9, 13), (2, 3, 4, 30, 7), (5, 4, 4, 15, 15), (7, 2, 2, 3, 3)],
)
def test_value_and_gradients(batch, inputs, outputs, height, width, monkeypatch):
    monkeypatch.setattr(winograd, "pays", lambda x, weight: True)  # half empty tiles too
    torch.manual_seed(0)
    layer = Conv3x3(inputs, outputs)
    x = torch.randn(batch, inputs, height, width, requires_grad=True)
    with torch.no_grad():
        exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    found = layer(x)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=2e-5)
    gradient = torch.randn_like(found)
    made = torch.autograd.grad(found, (x, layer.weight, layer.bias), gradient)
    plain = F.conv2d(x, layer.weight, layer.bias, padding=1)
    for ours, theirs in zip(made, torch.autograd.grad(plain, (x, layer.weight, layer.bias), gradient), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-6 * float(gradient.norm() * 9))
    layer.weight.requires_grad_(False)
    torch.testing.assert_close(torch.autograd.grad(layer(x), x, gradient)[0], made[0], rtol=0, atol=0)


def test_by_hand():
    """Nine ones over a picture of one: 9 inside, 6 at an edge, 4 at a corner."""
    layer = Conv3x3(2, 2, bias=False)
    torch.nn.init.ones_(layer.weight)
    x = torch.zeros(1, 2, 5, 6)
    x[:, 1] = 1
    found = layer(x)[0, 0]
    wanted = torch.full((5, 6), 9.0)
    wanted[0], wanted[-1], wanted[:, 0], wanted[:, -1] = 6, 6, 6, 6
    wanted[0, 0] = wanted[0, -1] = wanted[-1, 0] = wanted[-1, -1] = 4
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5)


def test_where_torch_itself_is_called():
    x, layer = torch.randn(2, 4, 8, 8), Conv3x3(4, 4)
    assert pays(x, layer.weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(x, layer.weight)
    assert not pays(x.double(), layer.weight)
    assert not pays(x[..., :5, :5].contiguous(), layer.weight)  # 64 pixels computed for 25
    assert not pays(x.to(memory_format=torch.channels_last), layer.weight)
    assert not pays(x, layer.weight.to(memory_format=torch.channels_last))
    assert not pays(x.to("meta"), layer.weight)
    graph = torch.export.export(layer, (x,)).graph
    assert [str(node.target) for node in graph.nodes if node.op == "call_function"] == ["aten.conv2d.default"]


def test_what_tiles_cannot_do():
    layer, x = Conv3x3(4, 4), torch.randn(2, 4, 8, 8, requires_grad=True)
    torch.testing.assert_close(layer(x[0]), layer(x)[0], rtol=0, atol=1e-5)  # one image
    (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):  # never a gradient that lacks a part
        (slope.square().sum() + x.sum()).backward()
