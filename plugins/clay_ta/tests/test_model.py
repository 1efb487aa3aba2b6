"""The networks: everything that is wired in matters, what is frozen stays out of checkpoints, adapters, baselines."""

import numpy as np
import pytest
import torch
from eozoo_clay_ta.chunks import PatchStore
from eozoo_clay_ta.clay import ClayEncoder, ClaySize
from eozoo_clay_ta.data import Patches
from eozoo_clay_ta.sample_schema import Normalisation
from eozoo_clay_ta.settings import ClayModel
from eozoo_clay_ta.system import CentreRidge, ClayRegressor, build_model, context_of, features_are_fixed
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.settings.config import build_settings

NORM = Normalisation(np.zeros(19, np.float32), np.ones(19, np.float32), 12.0, 10.0)


def options(**given):
    return build_settings(ClayModel, {"encoder": "clay_micro", "hidden": 16, **given})


def make(**given):
    torch.manual_seed(0)
    size = ClaySize(64, 2, 4, 16)
    encoder = None if given.get("type") in ("clay_free", "centre_ridge") else ClayEncoder(size)
    model = build_model(options(**given), NORM, encoder)
    model.adapt()
    return model.eval()


def z(model, batch):
    return model(model.staged(batch))["z"]


def features(model, batch):
    return model.features(model.stage(batch))["features"]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    hot = torch.zeros(5, 17)
    hot[torch.arange(5), torch.tensor([0, 3, 16, 9, 9])] = 1
    loc = torch.tensor([[37.5, 127.0, 2000.0]]).repeat(5, 1) + torch.randn(5, 3, generator=generator) * torch.tensor(
        [1, 1, 0]
    )
    angle = torch.rand(5, 3, generator=generator) * 6.28
    time = torch.stack([angle.sin(), angle.cos()], 2).flatten(1)
    return {
        "x": torch.randn(5, 19, 9, 9, generator=generator), "loc": loc, "landcover_onehot": hot,
        "time7": torch.cat([time, torch.randn(5, 1, generator=generator)], 1),
    }  # fmt: skip


def changed(batch, name, index, value):
    other = {k: v.clone() for k, v in batch.items()}
    other[name][index] += value
    return other


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("time7", (slice(None), 0), 0.5),  # season
        ("time7", (slice(None), 2), 0.5),  # hour
        ("loc", (slice(None), 0), 5.0),  # latitude
        ("loc", (slice(None), 1), 5.0),  # longitude
        ("loc", (slice(None), 2), 500.0),  # gsd
        ("x", (slice(None), 3, 0, 0), 1.0),  # a corner of a BT channel
        ("x", (slice(None), 15, 8, 8), 1.0),  # the far corner of a RF channel
    ],
)
def test_clay_sees_all_of_it(name, index, value, batch):
    model = make()
    with torch.no_grad():
        difference = features(model, changed(batch, name, index, value)) - features(model, batch)
    assert (difference.abs().amax(dim=1) > 1e-3).all()


def test_wavelengths_matter(batch):
    torch.manual_seed(0)
    moved = list(ClayModel().bt_waves_um)
    moved[6] += 1.0
    with torch.no_grad():
        one, two = features(make(), batch), features(make(bt_waves_um=moved), batch)
    assert float((one - two).abs().max()) > 1e-3


@pytest.mark.parametrize("channel", [16, 17, 18])
def test_auxiliary_maps_matter_and_do_not_reach_clay(channel, batch):
    model, other = make(), changed(batch, "x", (slice(None), channel, 0, 0), 3.0)
    with torch.no_grad():
        assert torch.equal(features(model, batch), features(model, other))
        assert float((z(model, batch) - z(model, other)).abs().min()) > 1e-6


@pytest.mark.parametrize("size", [8, 16, 24, 40])
def test_sizes_of_the_enlarged_window(size, batch):
    assert features(make(encoder_input_size=size), batch).shape == (5, 128)


def test_features_given_equal_features_computed(batch):
    model = make()
    with torch.no_grad():
        assert torch.equal(z(model, batch), z(model, {**batch, "features.features": features(model, batch)}))
        assert not torch.equal(z(model, batch), z(model, {**batch, "features.features": torch.zeros(5, 128)}))


def test_the_kept_kernel_is_the_generated_one(batch):
    model = make()
    with torch.no_grad():
        expected = model.encoder.patch_embedding.kernel(model.waves)
        assert all(torch.equal(a, b) for a, b in zip(model.kernel(), expected))
        assert model.kernel()[0] is model.kernel()[0]
    assert make(freeze_encoder=False).kernel() is None


def trained_names(model):
    return {n for n, p in model.named_parameters() if p.requires_grad and n.startswith("encoder.")}


def test_what_is_frozen_is_not_in_the_checkpoint():
    frozen, partly, whole = make(), make(trainable_blocks=1), make(freeze_encoder=False)
    assert not any(k.startswith("encoder.") for k in frozen.state_dict())
    assert {"mean", "std", "ta_mean", "ta_std", "head.0.weight"} & set(frozen.state_dict()) >= {"mean", "ta_std"}
    names = {k for k in partly.state_dict() if k.startswith("encoder.")}
    assert names == trained_names(partly)
    assert all(".layers.1." in n or "transformer.norm" in n for n in names)
    assert len(trained_names(whole)) == 45 == sum(k.startswith("encoder.") for k in whole.state_dict())


@pytest.mark.parametrize("given", [{}, {"trainable_blocks": 1}, {"lora_rank": 2}, {"freeze_encoder": False}])
def test_checkpoints_come_back(given, batch, tmp_path):
    file = tmp_path / "x.pt"
    file.touch()  # for the receipt
    one, two = make(**given), make(**given)
    for p in one.parameters():
        if p.requires_grad:
            p.data += 0.01 * torch.randn(p.shape, generator=torch.Generator().manual_seed(2))
    load_module(two, one.state_dict(), file)
    with torch.no_grad():
        assert torch.equal(z(one, batch), z(two, batch))
    with pytest.raises(ZooError, match=r"1 missing"):
        load_module(two, {k: v for k, v in one.state_dict().items() if k != "direct.weight"}, file)


def test_lora_starts_as_the_encoder_and_trains_only_itself(batch):
    plain, lora = make(), make(lora_rank=2)
    with torch.no_grad():
        torch.testing.assert_close(features(lora, batch), features(plain, batch))
    z(lora, batch).sum().backward()
    assert {n.rsplit(".", 1)[1] for n in trained_names(lora)} == {"lora_a", "lora_b"}
    assert len(trained_names(lora)) == 2 * 2 * 2
    grads = [p.grad for n, p in lora.named_parameters() if n.endswith("lora_b")]
    assert all(g is not None and g.abs().max() > 0 for g in grads)


def test_settings_that_do_not_go_together():
    for given, message in (
        ({"freeze_encoder": False, "lora_rank": 2}, r"freeze_encoder=false trains everything"),
        ({"encoder_input_size": 20}, r"a multiple of 8"),
        ({"bt_waves_um": [3830.0] * 10}, r"not nanometres"),
        ({"rf_waves_um": [0.47]}, r"give 6 wavelengths"),
    ):
        with pytest.raises(ZooError, match=message):
            options(**given)
    with pytest.raises(ZooError, match=r"has 2 blocks|has \d+ blocks"):
        make(trainable_blocks=9)
    assert features_are_fixed(options())
    assert not any(
        features_are_fixed(options(**g))
        for g in ({"lora_rank": 1}, {"trainable_blocks": 1}, {"freeze_encoder": False}, {"type": "clay_free"})
    )


def test_clay_free_is_the_same_head(batch):
    free = make(type="clay_free")
    names = {k for k in make().state_dict() if not k.startswith("clay.")}
    assert set(free.state_dict()) == names
    assert z(free, batch).shape == (5,)


def test_ridge_is_the_least_squares_solution(prepared):
    store = PatchStore(prepared.runtime.data_dir, "train")
    penalty = 1e-2
    ridge = CentreRidge(NORM, penalty)
    ridge.solve(Patches(store))
    batch = store.batch(np.arange(len(store)))
    context = context_of(batch).double().numpy()
    centred = context - context.mean(axis=0)
    y = batch["y"].double().numpy()
    n = len(y)
    weights = np.linalg.solve(centred.T @ centred + penalty * n * np.eye(context.shape[1]), centred.T @ (y - y.mean()))
    np.testing.assert_allclose(ridge.direct.weight[0].detach(), weights, rtol=1e-6, atol=1e-9)
    with torch.no_grad():
        np.testing.assert_allclose(z(ridge, batch), centred @ weights + y.mean(), atol=1e-5)


def test_statistics_are_kept_exactly():
    norm = Normalisation(np.full(19, 271.123, np.float32), np.full(19, 0.1, np.float32), 11.82072877277415, 10.4)
    system = ClayRegressor(options(type="clay_free"), norm, None)
    assert {name: system.get_buffer(name).tolist() for name in norm.state()} == norm.state()
