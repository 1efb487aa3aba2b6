"""Parity with the published outputs, and the conformance kit of the built-in task with this encoder in it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo.testing import parametrize_with_checks
from eozoo_core import ZooError
from eozoo_pretrained.presto_columns import presto

ROOT = Path(__file__).parents[4]  # the folder in which the repository and shared/ lie
SHARED = Path(os.environ.get("EOZOO_WEIGHTS", ROOT / "shared" / "weights"))


@pytest.mark.skipif(not (SHARED / "presto_default_model.pt").exists(), reason="no published weights at hand")
@pytest.mark.parametrize("name", ["nomask", "mask"])
def test_parity(name):
    """Samples with different masks in one batch: as published, one by one."""
    known = {k: torch.from_numpy(v) for k, v in np.load(SHARED.parent / "parity" / "presto_reference.npz").items()}
    encoder = presto(pretrained=SHARED / "presto_default_model.pt").eval().encoder
    missing = known["mask"].bool() & (name == "mask")
    month = (known["month"][:, None] + torch.arange(12)) % 12
    with torch.no_grad():
        found = encoder(known["x"], known["dynamic_world"], known["latlons"], month, missing)
    wanted = known[f"embedding_{name}"]
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def table(dates):
    return [(f"{name}_{t}", unit) for t in range(dates) for name, unit in (("B4", "reflectance 0..1"), ("month", ""))]


def test_columns_are_read_in_their_units_and_what_a_table_lacks_is_masked():
    """Reflectance 0.3 is 3000 / 10,000 of a group that is not whole; the month of date 1 is missing."""
    network, seen = presto(columns=[*table(2), ("temperature_2m_0", "degC"), ("lat", ""), ("lon", "")]).eval(), []
    network.encoder.register_forward_pre_hook(lambda module, given: seen.append(given))
    columns = torch.tensor([[0.3, 12.0, 0.1, 0.0, 7.0, 48.0, 16.0]])
    network(columns, torch.tensor([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]]))
    bands, cover, place, month, missing = seen[0]
    assert bands[0, :, 4].tolist() == pytest.approx([0.3, 0.1])
    assert bands[0, 0, 12].item() == pytest.approx((7 + 273.15 - 272.15) / 35)
    assert (month.tolist(), cover.tolist(), place.tolist()) == ([[11, 0]], [[9, 9]], [[48.0, 16.0]])
    assert (~missing).nonzero().tolist() == [[0, 0, 4], [0, 0, 12], [0, 1, 4]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([("red", "1")], "no column is called as one of VV, VH"),
        (table(25), "25 dates by options.pattern '{band}_{t}'; it knows 24 months"),
        ([("VV_0", "1")], "VV_0 is in '1', 'dB' is needed"),
    ],
)
def test_a_table_that_is_none_of_presto_is_one_line(columns, message):
    with pytest.raises(ZooError, match=message.replace("{", r"\{")):
        presto(columns=columns)


@pytest.mark.slow
@parametrize_with_checks("scalar_regression", overrides=["model.encoder={name: presto, options: {pattern: ''}}"])
def test_conformance(check, tmp_path):
    """The checks of every task, with this encoder."""
    check(tmp_path)
