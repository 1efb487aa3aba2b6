"""The conformance kit on this task: two optimisers, adapters, a frozen base."""

import pytest
from eozoo.testing import parametrize_with_checks

SMALL = ("data.max_samples=8", "train.batch_size=2", "model.num_convnext_blocks=1", "train.validate_every=1")


@parametrize_with_checks("prithvi_refine", overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)


@pytest.mark.slow
@parametrize_with_checks("prithvi_refine", overrides=(*SMALL, "model.encoder=prithvi_eo_nano_tl"))
def test_conformance_with_time_and_place(check, tmp_path):
    check(tmp_path)
