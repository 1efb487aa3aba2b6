"""The promises that every task keeps, checked on this one with its smallest encoder and a quarter of its scenes."""

import pytest
from eozoo.testing import parametrize_with_checks
from eozoo_clay_ta.demo import sample
from eozoo_clay_ta.settings import SimulateSettings

SMALL = (
    "model.encoder=clay_micro",
    "model.encoder_input_size=8",
    "model.hidden=16",
    "train.batch_size=128",
    "infer.stride=6",
)


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch):
    def small(root, *grid, whole=sample.sample_settings):
        settings = whole(root, *grid)
        scenes = SimulateSettings(every_days=28, days=12, hours=(3,), map_stamps=("202204040300",))
        index = settings.prepare.build_index.model_copy(update={"block_days": 28})
        prepare = settings.prepare.model_copy(update={"simulate": scenes, "build_index": index})
        return settings.model_copy(update={"prepare": prepare})

    monkeypatch.setattr(sample, "sample_settings", small)


@parametrize_with_checks("clay_ta", overrides=SMALL)
def test_conformance(check, tmp_path):
    check(tmp_path)
