"""The conformance kit on this task: two optimisers, adapters, a frozen base."""

import pytest
from eozoo.testing import parametrize_with_checks
from eozoo_prithvi_refine.demo.landscape import write_world

SMALL = ("data.max_samples=4", "train.batch_size=2", "model.num_convnext_blocks=1", "train.validate_every=1")


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch):
    monkeypatch.setattr(write_world, "__defaults__", (64, 8, 3))


@parametrize_with_checks("prithvi_refine", overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)


@pytest.mark.slow
@parametrize_with_checks("prithvi_refine", overrides=(*SMALL, "model.encoder=prithvi_eo_nano_tl"))
def test_conformance_with_time_and_place(check, tmp_path):
    check(tmp_path)
