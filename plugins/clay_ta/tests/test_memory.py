"""Predicted memory of a training step against what a real one allocates."""

from pathlib import Path

import pytest
import torch
from eozoo.registry import Registry
from eozoo.testing.watch import allocated_by
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.build import sketch
from eozoo_core.task.data import tensors
from eozoo_core.task.features import feature_shapes
from eozoo_core.train.loading import Draw
from eozoo_core.train.optimizer import make_optimizer

BATCH = 32


def planned(prepared, *sets, batch=BATCH):
    """Return the task and its plan."""
    overrides = ["model.encoder=clay_tiny", f"train.batch_size={batch}", "model.hidden=256", *sets]
    settings = load_settings(ClayTa.Settings, None, overrides, to_dict(prepared))
    task = ClayTa(settings, Registry.discover())
    return task, task.plan(Run(Path(prepared.runtime.data_dir) / "no run", "clay_ta", settings))


@pytest.mark.parametrize(
    "given",
    [
        (),  # frozen, its features from the cache
        ("model.lora_rank=4",),
        ("model.trainable_blocks=1",),
        ("model.freeze_encoder=false",),
        ("model.type=clay_free",),
    ],
)
def test_a_real_step_allocates_what_was_predicted(prepared, given):
    task, plan = planned(prepared, *given)
    train = task.data("train")
    survey = task.survey(train)
    model, loss = task.system(survey, True), task.loss(survey)
    model.adapt()
    optimizer = make_optimizer(model.parameters(), task.settings.train)
    kept = feature_shapes(sketch(task, survey)[0], train, tensors(train.batch([Draw(0, 0)])))

    def step():
        batch = tensors(train.batch([Draw(i, 0) for i in range(BATCH)]))
        batch |= {name: torch.zeros(BATCH, *shape[1:]) for name, (shape, _) in kept.items()}
        loss(model.train()(model.staged(batch)), batch)["loss"][0].backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # the states of the optimiser come with the first step, and what libraries allocate for themselves
    assert bool(kept) == (given == ())
    kept_kernel = sum(t.nbytes for t in getattr(model, "_kernel", None) or ())  # made in the first step
    allocated = allocated_by(step) + kept_kernel
    assert plan.memory_parts["gradients and activations"] == pytest.approx(allocated, rel=0.15)
    held = [s for state in optimizer.state.values() for s in state.values() if s.dim()]
    assert plan.memory_parts["optimiser"] == sum(s.nbytes for s in held)
    assert plan.memory_parts["weights"] == sum(t.nbytes for t in [*model.parameters(), *model.buffers()])


def test_a_trained_encoder_counts_its_activations(prepared):
    """They were left out, and with them most of the memory."""
    sizes = {}
    for name, given in {"frozen": (), "full": ("model.freeze_encoder=false",)}.items():
        plans = [planned(prepared, *given, batch=batch)[1] for batch in (32, 64)]
        sizes[name] = [plan.memory_parts["gradients and activations"] for plan in plans]
    grown = {name: larger - smaller for name, (smaller, larger) in sizes.items()}  # by 32 samples: activations alone
    assert grown["full"] > 10 * grown["frozen"] > 0
