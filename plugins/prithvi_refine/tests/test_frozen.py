"""Frozen linear layers: what they compute, what reaches the input, what is kept for backward, and batches."""

import pytest
import torch
from eozoo_prithvi_refine.frozen import freeze_linear, stored_int8
from eozoo_prithvi_refine.registered import prithvi_refiner
from torch import nn

KINDS = ("int8", "nf4", "none")


def layer(kind, rows=24, cols=64, seed=0):
    """A frozen layer and the weight that it stands for, float64."""
    torch.manual_seed(seed)
    frozen = freeze_linear(nn.Linear(cols, rows), kind)
    pieces, scale = frozen.stored(torch.float32)
    return frozen, torch.cat(list(pieces)).double() * (1 if scale is None else scale.double()[:, None])


@pytest.mark.parametrize(("kind", "limit"), [("int8", 1 / 254 + 2**-11), ("nf4", 0.16), ("none", 0)])
def test_weights_are_rounded_by_at_most_half_a_step(kind, limit):
    torch.manual_seed(0)
    plain = nn.Linear(64, 24)
    original = plain.weight.detach().double().clone()
    _, weight = layer(kind)
    largest = original.abs().amax(dim=1, keepdim=True)  # of the row; a block of nf4 is a row of 64 here
    error = ((weight - original).abs() / largest).max()
    assert (error == 0) if limit == 0 else (1e-4 < error < limit)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01), (torch.float16, 2e-3)])
@pytest.mark.parametrize("piece", [64, 4 * 2**20, "as on a GPU"])
def test_product_and_gradient_are_those_of_the_stored_weight(kind, dtype, limit, piece, monkeypatch):
    if piece == "as on a GPU":
        monkeypatch.setattr("eozoo_prithvi_refine.frozen.in_pieces", lambda device: False)
    else:
        monkeypatch.setattr("eozoo_prithvi_refine.frozen._PIECE_BYTES", piece)  # 64 bytes: row by row
    frozen, weight = layer(kind)
    x = torch.randn(2, 3, 64).to(dtype).requires_grad_()
    cotangent = torch.randn(2, 3, 24).to(dtype)
    y = frozen(x)
    (y * cotangent).sum().backward()
    for found, wanted in (
        (y, x.double() @ weight.T + frozen.bias.double()),
        (x.grad, cotangent.double() @ weight),
    ):
        assert found.dtype == dtype
        assert ((found.double() - wanted).norm() / wanted.norm()) < limit
    with torch.no_grad():
        assert torch.equal(frozen(x), y)
    assert not [p for p in frozen.parameters() if p.requires_grad]


def test_numbers_by_hand():
    codes, scale = torch.tensor([[127, -2], [1, 0]], dtype=torch.int8), torch.tensor([0.5, 4.0])
    (weight,), left = stored_int8(codes, scale, torch.float16)
    assert left is None
    assert weight.tolist() == [[63.5, -1.0], [4.0, 0.0]]
    (weight,), left = stored_int8(codes, scale, torch.bfloat16)
    assert weight.tolist() == codes.tolist()
    assert left is scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_nothing_is_kept_for_backward_and_mixed_precision_is_followed(kind, autocast):
    frozen, _ = layer(kind)
    kept = []
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        x = torch.randn(5, 64, requires_grad=True)
        y = frozen(x)
    assert y.dtype == (torch.bfloat16 if autocast else torch.float32)
    assert kept == []
    y.sum().backward()
    assert x.grad.dtype == torch.float32
    assert frozen.bias.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_is_the_same_alone_and_in_a_batch(kind):
    """Also beside outliers, whose columns LLM.int8() would take out of the rounding for all."""
    torch.manual_seed(0)
    model = prithvi_refiner(encoder="prithvi_eo_nano", quantization=kind, num_convnext_blocks=1, head_width=8).eval()
    linear = model.encoder.blocks[0].attn.qkv
    x = torch.randn(2, 9, 128)
    x[1] *= 30
    image, codes = 0.3 * torch.rand(2, 4, 24, 24), (torch.tensor([1, 5]), torch.tensor([0, 4]))
    nn.init.normal_(model.head.head.change.weight, std=0.1)
    nn.init.normal_(model.project.weight, std=0.1)  # both begin at zero
    with torch.no_grad():
        assert torch.allclose(linear(x)[0], linear(x[:1])[0], atol=1e-6)
        together = model(image, *codes)[0]
        for i in range(2):
            alone = model(image[i : i + 1], *(c[i : i + 1] for c in codes))[0]
            assert torch.allclose(alone[0], together[i], atol=1e-6)


@pytest.mark.parametrize("cols", [64, 96])  # at 96 blocks of 64 lie across rows
def test_pieces_of_4_bit_are_what_bitsandbytes_expands(cols, monkeypatch):
    from bitsandbytes.functional import dequantize_4bit

    frozen, _ = layer("nf4", rows=48, cols=cols)
    whole = dequantize_4bit(frozen.weight.data, frozen.weight.quant_state)
    monkeypatch.setattr("eozoo_prithvi_refine.frozen._PIECE_BYTES", 4 * 5 * cols)
    pieces = list(frozen.stored(torch.float32)[0])
    assert [len(p) for p in pieces] == ([5] * 9 + [3] if cols == 64 else [48])
    assert torch.equal(torch.cat(pieces), whole)
