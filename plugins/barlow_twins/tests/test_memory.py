"""Predicted memory of a training step against what a real one allocates."""

import pytest
import torch
from eozoo.registry import Registry
from eozoo.testing.watch import allocated_by
from eozoo_barlow_twins.classifier import Classifier, make_head
from eozoo_barlow_twins.encoders import EncoderInfo, build_encoder
from eozoo_barlow_twins.loss import BarlowTwinsLoss
from eozoo_barlow_twins.networks import Twins, projector
from eozoo_barlow_twins.settings import PixelTrain
from eozoo_barlow_twins.training import memory_of, optimizer_for
from eozoo_core.settings import Named

SAMPLES = 256
LOSS = BarlowTwinsLoss()


def encoder(name):
    info = EncoderInfo(Named(name=name), tuple("abcdefghijk"), 16, 32)
    return info, build_encoder(Registry.discover(), info)


def twins(name):
    info, found = encoder(name)
    return info, Twins(found, projector(64, 128, 1, False)), lambda given: LOSS.parts(*given[1].chunk(2)).total


def classifier(trainable):
    info, found = encoder("btfm_transformer")
    model = Classifier(found, make_head("linear", 64, 11, (), 0.0), trainable, 1)
    return info, model, lambda logits: logits.square().sum()


@pytest.mark.parametrize(
    ("made", "least", "most"),
    [
        (lambda: twins("btfm_transformer"), 0.95, 1.05),
        (lambda: twins("btfm_mlp"), 0.85, 1.05),
        (lambda: twins("btfm_cnn"), 0.7, 1.05),  # oneDNN's convolutions keep copies in an order of their own
        (lambda: classifier("all"), 0.95, 1.05),
        (lambda: classifier("last"), 0.95, 1.05),
        (lambda: classifier("head"), 0.95, 1.4),  # torch computes a frozen transformer layer in one piece
    ],
)
def test_a_real_step_allocates_what_was_predicted(made, least, most):
    info, model, loss = made()
    model.train()
    train = PixelTrain()
    optimizer = optimizer_for(model, train)

    def step():
        bands, days = torch.randn(SAMPLES, 16, 11), torch.randint(1, 366, (SAMPLES, 16))
        loss(model(bands, days)).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    found = memory_of(model, loss, info, SAMPLES, train, "cpu")
    assert least <= found.step / allocated_by(step) <= most
