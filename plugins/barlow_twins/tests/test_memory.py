"""Predicted memory of a training step against what a real one allocates."""

import pytest
from eozoo.registry import Registry
from eozoo.testing.watch import allocated_by
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.data import tensors
from eozoo_core.task.plan import OneProcess
from eozoo_core.task.train import Trainer
from eozoo_core.train.loading import Draw

SAMPLES = 256


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    BarlowTwinsTask.sample(folder)
    return folder


@pytest.mark.parametrize(
    ("cls", "overrides", "least", "most"),
    [
        (BarlowTwinsTask, ["model.backbone.name=btfm_transformer"], 0.95, 1.05),
        (BarlowTwinsTask, ["model.backbone.name=btfm_mlp"], 0.85, 1.05),
        (BarlowTwinsTask, ["model.backbone.name=btfm_mlp", "data.augment.mixup=0.1"], 0.85, 1.05),
        # oneDNN's convolutions keep copies in an order of their own.
        (BarlowTwinsTask, ["model.backbone.name=btfm_cnn"], 0.7, 1.05),
        (LandCoverTask, ["model.trainable=all"], 0.95, 1.05),
        (LandCoverTask, ["model.trainable=last"], 0.95, 1.05),
        # torch computes a frozen transformer layer in one piece
        (LandCoverTask, ["model.trainable=head"], 0.95, 1.4),
    ],
)
def test_a_real_step_allocates_what_was_predicted(root, tmp_path, cls, overrides, least, most):
    small = [f"train.batch_size={SAMPLES}", "runtime.device=cpu", "train.precision=fp32", *overrides]
    settings = load_settings(cls.Settings, None, small, to_dict(cls.sample(root).settings))
    task, run = cls(settings, Registry.discover()), Run(tmp_path / "run", "any", settings)
    predicted = task.plan(run).memory_parts["gradients and activations"]
    data = task.data("train")
    survey = task.survey(data)
    trainer = Trainer(run, OneProcess("cpu"), task.system(survey, True), task.loss(survey), survey, None)
    task.optimizers(trainer)
    trainer.system.train()
    step, batch = task.step(trainer), tensors(data.batch([Draw(i, 0) for i in range(SAMPLES)]))
    for _ in range(2):
        found = allocated_by(lambda: step([{n: v.clone() for n, v in batch.items()} | {"count": SAMPLES}], 0))
    assert least <= predicted / found <= most
