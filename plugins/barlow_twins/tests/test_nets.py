"""Encoders: documented sizes, honoured settings, what they know of dates."""

import inspect
from types import SimpleNamespace

import pytest
import torch
from eozoo_barlow_twins.networks import CNN, MLP, Encoder, Transformer, day_encoding, index_encoding, projector
from eozoo_barlow_twins.settings import LandCoverRuntime, LandCoverTrain, SelectDates
from eozoo_barlow_twins.step import add_pixel_model
from eozoo_barlow_twins.survey import PixelSurvey
from eozoo_barlow_twins.system import ClassSystem, make_head
from eozoo_core import ZooError


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def series(batch=6, length=16, channels=11):
    g = torch.Generator().manual_seed(0)
    days = torch.randint(1, 367, (batch, length), generator=g).sort(dim=1).values
    return torch.randn(batch, length, channels, generator=g), days


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: Transformer(), 154_880),
        (lambda: Transformer(latent_dim=128), 415_488),
        (lambda: MLP(position="index"), 64_704),
        (lambda: CNN(position="index"), 739_968),
        (lambda: projector(64, 128, 1, False), 24_704),
    ],
)
def test_documented_parameter_counts(make, count):
    assert parameters(make()) == count


@pytest.mark.parametrize("model", [Transformer, MLP, CNN])
def test_settings_are_honoured(model):
    """Every option changes the network; the documented code swallowed them."""
    changed = {"in_channels": 5, "sample_size": 8, "latent_dim": 32, "heads": 4, "layers": 1, "feedforward": 64,
               "hidden_dim": 32, "channels": (8,), "position": "index", "dropout": 0.5}  # fmt: skip
    base = model()
    for name in inspect.signature(model).parameters:
        other = model(**{name: changed[name]})
        same = str(base) == str(other) and [b.shape for b in base.buffers()] == [b.shape for b in other.buffers()]
        if name == "sample_size" and model is Transformer:
            assert model(sample_size=8, position="index").table.shape == (8, 64)
        elif name == "heads":
            assert other.layers.layers[0].self_attn.num_heads == 4
        else:
            assert not same, f"{name} changed nothing"


@pytest.mark.parametrize("model", [Transformer, MLP, CNN])
def test_dates_are_used_with_doy_and_not_with_index(model):
    bands, days = series()
    for position, differs in (("doy", True), ("index", False)):
        torch.manual_seed(0)
        net = model(position=position).eval()
        with torch.no_grad():
            a, b = net(bands, days), net(bands, 367 - days)
        assert a.shape == (6, 64)
        assert (not torch.allclose(a, b, atol=1e-6)) is differs


def test_unknown_position_and_size_are_refused():
    with pytest.raises(ZooError, match="'doy'"):
        MLP(position="week")
    with pytest.raises(ZooError, match="multiple of heads"):
        Transformer(latent_dim=30, heads=8)


def test_day_encoding_is_periodic_and_index_encoding_is_the_published_one():
    days = day_encoding(16)
    assert days.shape == (367, 16)
    assert (days[1] - days[366]).norm() < 0.2 * (days[1] - days[180]).norm()
    table = index_encoding(16, 64)
    assert table[0, :4].tolist() == [0, 1, 0, 1]
    assert table[3, 0].item() == pytest.approx(0.14112, abs=1e-5)  # sin 3
    assert table[3, 2].item() == pytest.approx(0.77827, abs=1e-4)  # sin(3 / 10000^(2/64)) = sin(2.24968)


@pytest.mark.parametrize(("trainable", "share"), [("head", 0), ("last", 1), ("all", 3)])
def test_frozen_parts_stay_still_and_in_eval_mode(trainable, share):
    encoder = Encoder(Transformer(dropout=0.5), 11)
    net = ClassSystem(encoder, make_head("linear", 64, 5, (), 0.0), PixelSurvey(), SelectDates(), trainable, 1)
    net.train()
    trained = [all(p.requires_grad for p in layer.parameters()) for layer in encoder.backbone.layers.layers]
    assert sum(trained) == share
    assert [layer.training for layer in encoder.backbone.layers.layers] == trained
    assert encoder.backbone.embed.weight.requires_grad is (trainable == "all")
    bands, days = series()
    if trainable == "head":
        one, two = (net({"bands": bands, "doys": days})["logits"] for _ in range(2))
        assert torch.equal(one, two)  # no dropout in what is frozen


@pytest.mark.parametrize(
    ("trainable", "head_rate", "rates"),
    [
        ("head", 100.0, {"head": 100, "head vectors": 50}),
        ("all", 100.0, {"matrices": 1, "vectors": 0.5, "head": 100, "head vectors": 50}),
        ("all", 1.0, {"matrices": 1, "vectors": 0.5, "head": 1, "head vectors": 0.5}),
    ],
)
def test_head_and_vectors_learn_at_rates_of_their_own(trainable, head_rate, rates):
    encoder = Encoder(Transformer(layers=1), 11)
    net = ClassSystem(encoder, make_head("linear", 64, 5, (), 0.0), PixelSurvey(), SelectDates(), trainable, 1)
    made = {}
    settings = SimpleNamespace(train=LandCoverTrain(bias_rate=0.5), runtime=LandCoverRuntime())
    run = SimpleNamespace(settings=settings)
    trainer = SimpleNamespace(run=run, system=net, add=lambda name, _system, optimizer: made.update({name: optimizer}))
    add_pixel_model(trainer, head_rate)
    groups = made["model"].param_groups
    assert len(groups) == (2 if trainable == "head" or head_rate == 1 else 4)
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    named = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert set(scale) == {id(parameter) for parameter in named.values()}
    for name, parameter in named.items():
        of_head = "head" if name.startswith("head.") else ""
        kind = f"{of_head} vectors".strip() if parameter.ndim <= 1 else of_head or "matrices"
        assert scale[id(parameter)] == rates[kind], name
