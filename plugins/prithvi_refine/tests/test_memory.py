"""Predicted memory of the refiner against the real model: its bytes, what autograd saves, what a step allocates."""

import pytest
import torch
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, read_yaml
from eozoo_core.task.build import sketch
from eozoo_core.train.memory import follow
from eozoo_prithvi_refine.adapters import adapt
from eozoo_prithvi_refine.demo.landscape import write_world
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.settings import LOWVR, ModelSettings, PrithviSettings, PrithviTrainSettings
from eozoo_prithvi_refine.survey import RefineSurvey
from eozoo_prithvi_refine.task import PrithviRefine

NANO = {"encoder": "prithvi_eo_nano", "num_convnext_blocks": 2, "head_width": 16}


def real(settings):
    encoder = build_encoder(settings.encoder)
    adapt(encoder, settings)
    return PrithviRefiner(settings, encoder).train()


def shapes_of(model):
    """What core counts with: the system of these settings as shapes alone, and its number of parameters."""
    return sketch(PrithviRefine(PrithviSettings(model=model)), RefineSurvey())


def tensors(model):
    return [*model.parameters(), *model.buffers()]


@pytest.mark.parametrize("unfrozen", [0, 1])
@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_weights_take_what_they_take(quantization, unfrozen):
    settings = ModelSettings(**NANO, quantization=quantization, unfreeze_last_n_blocks=unfrozen)
    (shapes, _), model = shapes_of(settings), real(settings)
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
        return PrithviRefiner.forward(model, torch.empty(2, 4, 48, 48).zero_(), codes, codes, pairs, pairs)

    amp = torch.autocast("cpu", torch.bfloat16, enabled=precision != "fp32")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), amp:
        for output in forward(model):
            keep(output)
    _, left = follow([shapes_of(settings)[0]], lambda nets: forward(nets[0]), precision, False)
    held = sum(size for size, _ in saved.values())
    # A little more than autograd's own is left: states of random numbers, to recompute with.
    assert held * 0.99 <= left <= held * 1.01 + 2e5 * settings.gradient_checkpointing


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), size=48, train=2, held_out=1).data_dir


def planned(world, model, train=None, size=48):
    settings = PrithviSettings(
        model=model,
        data={"tile_size": size},
        train=train or PrithviTrainSettings(),
        runtime={"data_dir": world, "device": "cpu"},
    )
    return PrithviRefine(settings, Registry.discover()).plan(Run(world, "prithvi_refine", settings))


@pytest.mark.slow
def test_what_makes_it_smaller(world):
    base, step = planned(world, ModelSettings(**NANO)).memory_parts, "gradients and activations"
    assert base["weights"] < planned(world, ModelSettings(**NANO, quantization="none")).memory_parts["weights"]
    assert base["weights"] > planned(world, ModelSettings(**NANO, quantization="nf4")).memory_parts["weights"]
    assert base[step] > planned(world, ModelSettings(**NANO, gradient_checkpointing=True)).memory_parts[step]
    assert base[step] > planned(world, ModelSettings(**NANO), size=24).memory_parts[step]
    alone = planned(world, ModelSettings(**NANO), PrithviTrainSettings(adversarial_weight=0)).memory_parts
    assert base["weights"] - alone["weights"] == base["optimiser"] / 2 - alone["optimiser"] / 2 > 2e5  # the judge


def test_the_discriminator_is_in_the_plan(world):
    plan = planned(world, ModelSettings(**NANO))
    alone = planned(world, ModelSettings(**NANO), PrithviTrainSettings(adversarial_weight=0))
    judge = plan.parameters - alone.parameters
    assert judge == plan.trainable - alone.trainable == 168_545
    step = "gradients and activations"
    assert plan.memory_parts[step] - alone.memory_parts[step] > 4 * judge  # its gradients, and what it keeps


def test_the_documented_configuration():
    documented = load_settings(PrithviSettings, LOWVR)
    assert documented.train.precision == "fp16-mixed"
    assert read_yaml(LOWVR)["train"]["accumulate"] == documented.train.accumulate == 8
    network, count = shapes_of(documented.model)
    adapters = sum(p.numel() for n, p in network.named_parameters() if "lora_" in n)
    assert adapters == 32 * 163_840  # rank 8 on four layers a block; the patch embedding has none
    assert count > 631_188_480
    codes = sum(b.numel() for n, b in network.named_buffers() if n.endswith("codes"))
    assert codes == 32 * 12 * 1280**2
    assert 0.65e9 < sum(t.numel() * t.element_size() for t in tensors(network)) < 0.7e9
