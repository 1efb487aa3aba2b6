"""Galileo nano: parity with the published outputs, whatever is missing and whichever samples share a batch."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_pretrained.galileo import GROUPS, SPACE, SPACE_TIME, STATIC, TIME, Encoder

ROOT = Path(__file__).parents[4]  # the folder in which the repository and shared/ lie
WEIGHTS = Path(os.environ.get("EOZOO_WEIGHTS", ROOT / "shared" / "weights")) / "galileo_nano_encoder.pt"
KNOWN = ROOT / "shared" / "parity" / "galileo_nano_reference.npz"
published = pytest.mark.skipif(not (WEIGHTS.exists() and KNOWN.exists()), reason="no published weights at hand")
AXES = {
    "space_time": (SPACE_TIME, (0, 3, 4, 1, 2)),
    "space": (SPACE, (0, 3, 1, 2)),
    "time": (TIME, (0, 1, 2)),
    "static": (STATIC, (0, 1)),
}


def case(known, name, side):
    """The reference's arrays as groups, and its masks of pixels as masks of tokens."""
    given, hidden = {}, {}
    for kind, (groups, axes) in AXES.items():
        values = torch.from_numpy(known[f"{name}_{kind}"]).permute(axes)
        masks = torch.from_numpy(known[f"{name}_{kind}_mask"]).permute(axes) > 0
        start, channel = 0, axes.index(len(axes) - 1)
        for number, (group, bands) in enumerate(groups.items()):
            given[group] = values.narrow(channel, start, len(bands))
            mask = masks.select(channel, number)
            hidden[group] = mask[..., ::side, ::side] if "space" in kind else mask
            start += len(bands)
    return given, hidden, torch.from_numpy(known[f"{name}_months"])


def encoder(side):
    network = Encoder(side).eval()
    network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
    return network


@published
@pytest.mark.parametrize("side", [1, 4, 8])
def test_parity(side):
    """Samples with absent groups and dates of their own in one batch: as published, by patch and by sample."""
    known, network = np.load(KNOWN), encoder(side)
    given, hidden, months = case(known, f"p{side}", side)
    with torch.no_grad():
        found = network(given, hidden, months, 10.0).flatten(1, 2)
        tokens, masks = network.tokens(given, hidden, months, 10.0)
    flat, kept = (torch.cat([one.flatten(1, -2) for one in tokens], 1), ~torch.cat([m.flatten(1) for m in masks], 1))
    mean = (flat * kept[..., None]).sum(dim=1) / kept.sum(dim=1, keepdim=True)
    for ours, name in ((found, "per_patch"), (mean, "average")):
        wanted = torch.from_numpy(known[f"p{side}_{name}"])
        assert (ours - wanted).abs().max() < 1e-5 * wanted.abs().max()


@published
def test_a_group_that_is_not_given_is_a_group_that_is_masked():
    """And what is masked says nothing, be it 0 or 1e6; a sample alone is what it is among others."""
    given, hidden, months = case(np.load(KNOWN), "p4", 4)
    hidden = {name: mask | (name in ("S1", "WC", "TC", "DW_static")) for name, mask in hidden.items()}
    few = {name: values for name, values in given.items() if not hidden[name].all()}
    assert set(GROUPS) - set(few) >= {"S1", "WC", "TC", "DW_static"}
    noise = {name: torch.where(hidden[name].all(), 1e6, values) for name, values in given.items()}
    network = encoder(4)
    with torch.no_grad():
        wanted = network(given, hidden, months, 10.0)
        assert torch.allclose(network(few, hidden, months, 10.0), wanted, atol=1e-5)
        assert torch.equal(network(noise, hidden, months, 10.0), wanted)
        one = slice(1, 2)
        alone = [{name: values[one] for name, values in group.items()} for group in (given, hidden)]
        assert torch.allclose(network(*alone, months[one], 10.0), wanted[one], atol=1e-5)


def test_a_patch_that_sees_nothing_is_finite():
    """Without any token the features are 0, and no NaN comes of it in training either."""
    network, months = Encoder(4), torch.zeros(1, 1, dtype=torch.long)
    image = torch.ones(1, 1, 1, 4, 4)
    found = network({"NDVI": image}, {"NDVI": torch.ones(1, 1, 1, 1, dtype=torch.bool)}, months, 10.0)
    found.sum().backward()
    assert found.tolist() == torch.zeros(1, 1, 1, 128).tolist()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
