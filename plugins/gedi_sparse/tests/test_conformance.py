"""The conformance kit on this task, with a smaller landscape than the demo's."""

import pytest
from eozoo.testing import parametrize_with_checks
from eozoo_gedi_sparse.demo.landscape import write_landscape

SMALL = ("model.options.width=4", "data.crop=32", "train.batch_size=4", "infer.window=64", "infer.stride=48")


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch):
    monkeypatch.setattr(write_landscape, "__defaults__", (0, (12, 4, 4), 64, (128, 160), 20.0))


@parametrize_with_checks("gedi_sparse", overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)
