"""Predicted memory of a training step against what a real one allocates."""

import pytest
import torch
from eozoo.testing.watch import allocated_by
from eozoo_clay_ta.model import build_encoder, build_model, features_are_fixed
from eozoo_clay_ta.plan import memory_of
from eozoo_clay_ta.sample_schema import CHANNELS, Normalisation
from eozoo_clay_ta.settings import ClayModel
from eozoo_core import TrainSettings
from eozoo_core.train.optimizer import make_optimizer

NORM = Normalisation.from_state({"mean": [0.0] * CHANNELS, "std": [1.0] * CHANNELS, "ta_mean": 0, "ta_std": 1})
BATCH = 32


@pytest.mark.parametrize(
    "given",
    [
        {},  # frozen, its features from the cache
        {"lora_rank": 4},
        {"trainable_blocks": 1},
        {"freeze_encoder": False},
        {"type": "clay_free"},
    ],
)
def test_a_real_step_allocates_what_was_predicted(given):
    options = ClayModel(encoder="clay_tiny", **given)
    with torch.device("meta"):
        shapes = build_model(options, NORM, build_encoder(options))
    found = memory_of(shapes, options, TrainSettings(), BATCH, "cpu")
    model = build_model(options, NORM, build_encoder(options)).train()
    optimizer = make_optimizer(model.parameters(), TrainSettings())

    def step():
        batch = {"x": torch.randn(BATCH, CHANNELS, 9, 9), "time7": torch.zeros(BATCH, 7)}
        batch |= {"loc": torch.full((BATCH, 3), 30.0), "landcover_onehot": torch.zeros(BATCH, 17)}
        if features_are_fixed(options):
            batch["features"] = torch.zeros(BATCH, 2 * model.encoder.size.dim)
        model(batch).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the states of the optimiser come with the first step, and what libraries allocate for themselves
    assert found.step == pytest.approx(allocated_by(step), rel=0.15)
    held = [s for state in optimizer.state.values() for s in state.values() if s.dim()]
    assert found.optimizer == sum(s.nbytes for s in held)
    assert found.weights == sum(t.nbytes for t in [*model.parameters(), *model.buffers()])


def test_a_trained_encoder_counts_its_activations():
    """They were left out, and with them most of the memory."""
    sizes = {}
    for name, given in {"frozen": {}, "full": {"freeze_encoder": False}}.items():
        options = ClayModel(encoder="clay_tiny", **given)
        model = build_model(options, NORM, build_encoder(options))
        sizes[name] = [memory_of(model, options, TrainSettings(), batch, "cpu").step for batch in (32, 64)]
    grown = {name: larger - smaller for name, (smaller, larger) in sizes.items()}  # by 32 samples: activations alone
    assert grown["full"] > 10 * grown["frozen"] > 0
