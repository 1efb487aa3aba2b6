"""An encoder layer trained quickly is torch's: the same numbers for the same factors; factors keep the mean."""

import pytest
import torch
from eozoo_barlow_twins import encoder_layer
from eozoo_barlow_twins.encoder_layer import EncoderLayer, kept
from torch import nn


def pair(monkeypatch, dropout):
    """Ours and torch's, with the same weights; torch's drops nothing, and ours multiplies by ones."""
    torch.manual_seed(0)
    ours, theirs = EncoderLayer(16, 4, 32, dropout), nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    monkeypatch.setattr(encoder_layer, "kept", lambda like, dropped: torch.ones(like.shape))
    return ours, theirs


def test_the_same_numbers_and_gradients(monkeypatch):
    ours, theirs = pair(monkeypatch, 0.1)
    x = torch.randn(5, 7, 16)
    found, wanted = ours(x), theirs(x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    for layer, made in ((ours, found), (theirs, wanted)):
        made.square().sum().backward()
        assert layer.linear1.weight.grad.abs().sum() > 0
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_every_dropout_is_there(monkeypatch):
    """With factors of zero attention and hidden units give nothing: what is left is two norms of the input."""
    ours, theirs = pair(monkeypatch, 0.1)
    drawn = []
    monkeypatch.setattr(
        encoder_layer, "kept", lambda like, dropped: drawn.append((tuple(like.shape), dropped)) or like * 0
    )
    x = torch.randn(5, 7, 16)
    torch.testing.assert_close(ours(x), theirs.norm2(theirs.norm1(x)), rtol=0, atol=1e-6)
    assert drawn == [((5, 4, 7, 7), 0.1), ((5, 7, 16), 0.1), ((5, 7, 32), 0.1), ((5, 7, 16), 0.1)]


@pytest.mark.parametrize("dropped", [0.1, 0.5])
def test_factors(dropped):
    torch.manual_seed(1)
    found = kept(torch.empty(101, 999), dropped)
    assert sorted(set(found.flatten().tolist())) == pytest.approx([0, 1 / (1 - dropped)], rel=1e-4)
    assert (found == 0).float().mean().item() == pytest.approx(dropped, abs=0.005)
    assert abs(torch.corrcoef(torch.stack([found.flatten()[:-1], found.flatten()[1:]]))[0, 1]) < 0.01  # of one draw
    torch.manual_seed(1)
    assert torch.equal(found, kept(torch.empty(101, 999), dropped))  # a run that goes on draws the same


def test_torch_is_called_where_it_is_not_quicker(monkeypatch):
    ours, _ = pair(monkeypatch, 0.1)
    monkeypatch.setattr(encoder_layer, "kept", None)
    x = torch.randn(2, 3, 16)
    with torch.autocast("cpu", torch.bfloat16):
        ours(x)
    ours.train()._sa_block(x, None, torch.zeros(2, 3, dtype=torch.bool))  # a mask
    ours.eval()(x)
    with pytest.raises(TypeError):
        ours.train()(x)
