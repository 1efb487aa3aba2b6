"""Predicted memory of the refiner against the real model: its bytes, what autograd saves, what a step allocates."""

import pytest
import torch
from eozoo.registry import Registry
from eozoo_core.settings.config import load_settings, read_yaml
from eozoo_core.train.memory import follow
from eozoo_prithvi_refine.adapters import adapt
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.plan import as_stored, memory_of, skeleton
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import LOWVR, ModelSettings, PrithviSettings, PrithviTrainSettings
from eozoo_prithvi_refine.training import make_criterion

NANO = {"encoder": "prithvi_eo_nano", "num_convnext_blocks": 2, "head_width": 16}


def real(settings):
    encoder = build_encoder(settings.encoder)
    adapt(encoder, settings)
    return PrithviRefiner(settings, encoder).train()


def tensors(model):
    return [*model.parameters(), *model.buffers()]


@pytest.mark.parametrize("unfrozen", [0, 1])
@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_weights_take_what_they_take(quantization, unfrozen):
    settings = ModelSettings(**NANO, quantization=quantization, unfreeze_last_n_blocks=unfrozen)
    shapes, model = as_stored(skeleton(settings), quantization), real(settings)
    found = {}
    for tensor in tensors(model):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        for extra in (getattr(tensor, "SCB", None), *_states(tensor)):
            if extra is not None:
                found[extra.untyped_storage().data_ptr()] = extra.untyped_storage().nbytes()
    predicted = sum(t.numel() * t.element_size() for t in tensors(shapes))
    assert predicted == pytest.approx(sum(found.values()), rel=0.005)
    trained = {n: p.shape for n, p in model.named_parameters() if p.requires_grad}
    assert {n: p.shape for n, p in shapes.named_parameters() if p.requires_grad} == trained


def _states(tensor):
    state = getattr(tensor, "quant_state", None)
    return () if state is None else (state.absmax, state.code, state.state2.absmax, state.state2.code)


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
@pytest.mark.parametrize(
    "change",
    [{"quantization": "none"}, {}, {"gradient_checkpointing": True}, {"quantization": "nf4", "use_lora": False}],
)
def test_what_autograd_saves(precision, change):
    settings = ModelSettings(**(NANO | change))
    model, saved = real(settings), {}
    known = {t.untyped_storage().data_ptr() for t in tensors(model)}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor

    def forward(model):
        codes, pairs = torch.empty(2, dtype=torch.long).zero_(), torch.empty(2, 2).zero_()
        return model(torch.empty(2, 4, 48, 48).zero_(), codes, codes, pairs, pairs)

    amp = torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), amp:
        for output in forward(model):
            keep(output)
    _, left = follow(
        [as_stored(skeleton(settings), settings.quantization)], lambda nets: forward(nets[0]), precision, False
    )
    held = sum(size for size, _ in saved.values())
    # A little more than autograd's own is left: states of random numbers, to recompute with.
    assert held * 0.99 <= left <= held * 1.01 + 2e5 * settings.gradient_checkpointing


def predicted(model, train=None, size=48):
    settings = PrithviSettings(model=model, data={"tile_size": size}, train=train or PrithviTrainSettings())
    return memory_of(settings, make_criterion(settings, Registry.discover()), 1, "cpu")


@pytest.mark.slow
def test_what_makes_it_smaller():
    base = predicted(ModelSettings(**NANO))
    assert base.weights < predicted(ModelSettings(**NANO, quantization="none")).weights
    assert base.weights > predicted(ModelSettings(**NANO, quantization="nf4")).weights
    assert base.step > predicted(ModelSettings(**NANO, gradient_checkpointing=True)).step
    assert base.step > predicted(ModelSettings(**NANO), size=24).step
    alone = predicted(ModelSettings(**NANO), PrithviTrainSettings(adversarial_weight=0))
    assert base.weights - alone.weights == base.optimizer / 2 - alone.optimizer / 2 > 2e5  # the discriminator


def test_the_documented_configuration():
    documented = load_settings(PrithviSettings, LOWVR)
    assert documented.train.precision == "fp16-mixed"
    assert read_yaml(LOWVR)["train"]["accumulate"] == documented.train.accumulate == 8
    network = skeleton(documented.model)
    adapters = sum(p.numel() for n, p in network.named_parameters() if "lora_" in n)
    assert adapters == 32 * 163_840  # rank 8 on four layers a block; the patch embedding has none
    assert sum(p.numel() for p in network.parameters()) > 631_188_480
    network = as_stored(network, documented.model.quantization)
    codes = sum(b.numel() for n, b in network.named_buffers() if n.endswith("codes"))
    assert codes == 32 * 12 * 1280**2
    assert 0.65e9 < sum(t.numel() * t.element_size() for t in tensors(network)) < 0.7e9
