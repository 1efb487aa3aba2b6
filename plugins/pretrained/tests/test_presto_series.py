"""Presto on series: it gets what the columns of a table with the same values would give it."""

import numpy as np
import pytest
import torch
from eozoo.testing import parametrize_with_checks
from eozoo_core import ZooError
from eozoo_pretrained.presto_columns import presto
from eozoo_pretrained.presto_series import presto_series

S2 = "reflectance x 10000"


def test_a_series_is_read_as_a_table_is():
    """Day 366 is December, 1 March day 60; January, without a date, is a month that is missing; NDVI 2000 / 4000."""
    bands, doys = ("B02", "B03", "B04", "B08", "SCL"), torch.tensor([[366, 59, 60]])
    values = torch.tensor([[[500.0, 800, 1000, 3000, 4]] * 3])
    torch.manual_seed(0)
    series = presto_series(in_channels=5, sample_size=3, bands=bands).eval()
    columns = [(f"{band}_{t}", unit) for t in range(4) for band, unit in (
        ("B2", S2), ("B3", S2), ("B4", S2), ("B8", S2), ("NDVI", "1"), ("month", ""))]  # fmt: skip
    table = presto(columns=columns).eval()
    table.encoder.load_state_dict(series.encoder.state_dict())
    row = [value for month in (12, 1, 2, 3) for value in (500.0, 800.0, 1000.0, 3000.0, 0.5, month)]
    gaps = torch.zeros(1, 4, 6)
    gaps[:, 1] = 1
    with torch.no_grad():
        found = series(values, doys)
        wanted = table(torch.tensor([row]), gaps.flatten(1))
    assert torch.allclose(found, wanted, atol=1e-6)
    dark = values.clone()
    dark[0, 1, 2:4] = 0  # there is no index of it, and no NaN
    assert np.isfinite(series(dark, doys).detach().numpy()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_size": 25}, r"25 dates \(data.sample_size\); it knows 24 at most"),
        ({"bands": ["SCL", "angle"]}, "none of B2, .* is among SCL, angle"),
    ],
)
def test_a_series_that_is_none_of_presto_is_one_line(options, message):
    with pytest.raises(ZooError, match=message):
        presto_series(**options)


@pytest.mark.slow
@parametrize_with_checks(
    "barlow_landcover", overrides=["model.backbone={name: presto_series, options: {}}", "train.batch_size=16"]
)
def test_conformance(check, tmp_path):
    """The checks of every task, with this encoder."""
    check(tmp_path)
