import pytest
import torch
from eozoo.builtin.losses import gaussian_nll, laplacian_nll, mse
from eozoo_core import Port
from eozoo_core.errors import ZooError
from eozoo_core.images.moments import MomentsSystem
from eozoo_gedi_sparse.networks import context_net, gedi_unet, square_mean, timm_unet

SIZES = [(1, 1), (1, 40), (17, 33), (61, 30), (64, 64)]


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_documented_network_has_its_documented_size():
    assert count(gedi_unet()) == 17_250_818
    assert count(gedi_unet(in_channels=10)) == 17_250_818 - 4 * 64 * 9
    assert count(gedi_unet(outputs=1)) == 17_250_818 - 33


def test_documented_channels_at_every_level():
    network = gedi_unet(width=64)
    assert [d[3].out_channels for d in network.down] == [128, 256, 512, 512]
    decoder = [(u.convolve[0].in_channels, u.convolve[0].out_channels, u.convolve[3].out_channels) for u in network.up]
    assert decoder == [(1024, 512, 256), (512, 256, 128), (256, 128, 64), (128, 64, 32)]


@pytest.mark.parametrize("bilinear", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_any_size_in_the_same_size_out(bilinear, size):
    network = gedi_unet(in_channels=3, width=4, bilinear=bilinear)
    out = network(torch.randn(1, 3, *size))  # in training mode: batch norm must have something to average over
    assert out.shape == (1, 2, *size)
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_a_pixel_does_not_depend_on_the_size_of_its_window():
    torch.manual_seed(0)
    network = gedi_unet(in_channels=2, width=4).eval()
    scene = torch.randn(1, 2, 448, 448)
    with torch.no_grad():
        whole = network(scene)
        part = network(scene[..., 64 : 64 + 320, 48 : 48 + 304])  # offsets are multiples of 16, the coarsest pixel
    # 137 px is the reach of one output pixel; up-sampling with align_corners=True differs here by far more than 1e-5.
    inner = part[..., 140:-140, 140:-140]
    assert inner.numel() > 0
    assert whole.std() > 1e-3
    torch.testing.assert_close(inner, whole[..., 204:244, 188:212], rtol=0, atol=1e-5)


def test_every_pixel_is_reached_by_the_deepest_level():
    network = gedi_unet(in_channels=1, width=4).eval()
    x = torch.randn(1, 1, 61, 47, requires_grad=True)
    network(x)[0, 0, 60, 46].backward()
    assert x.grad[0, 0, 30:, 20:].abs().sum() > x.grad[0, 0, 56:, 42:].abs().sum() > 0


def test_dropout_is_random_in_training_only():
    torch.manual_seed(0)
    network = gedi_unet(in_channels=1, width=4, dropout=0.5)
    x = torch.randn(1, 1, 32, 32)
    network.eval()
    assert torch.equal(network(x), network(x))
    network.dropout.train()
    assert not torch.equal(network(x), network(x))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"width": 5}, "width"),
        ({"in_channels": 0}, "in_channels"),
        ({"outputs": 0}, "outputs"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_bad_options_are_named(options, field):
    with pytest.raises(ZooError, match=field):
        gedi_unet(**options)


@pytest.mark.parametrize(
    "encoder",
    [
        "resnet18",
        "mobilenetv3_small_050",
        "vit_tiny_patch16_224",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("swin_tiny_patch4_window7_224", "vgg11")),
    ],
)
def test_timm_encoders_of_every_kind(encoder):
    network = timm_unet(in_channels=5, encoder=encoder)
    for size in ((1, 1), (37, 70)):
        out = network(torch.randn(2, 5, *size))
        assert out.shape == (2, 2, *size)
    out.sum().backward()
    assert all(p.grad is not None for p in network.up.parameters())


def test_timm_unet_sees_the_single_pixel():
    network = timm_unet(in_channels=2, encoder="mobilenetv3_small_050").eval()
    x = torch.randn(1, 2, 64, 64)
    bumped = x.clone()
    bumped[0, 0, 31, 33] += 5
    change = (network(bumped) - network(x)).abs().sum(dim=(0, 1))
    assert divmod(int(change.argmax()), 64)[0] in range(29, 34)
    assert divmod(int(change.argmax()), 64)[1] in range(31, 36)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet_18"}, "Did you mean 'resnet18'"),
        ({"encoder": "maxvit_tiny_tf_224"}, "does not take every image size"),
        ({"decoder_channels": (8, 8)}, "needs 5 numbers"),
    ],
)
def test_timm_mistakes_are_one_line(options, message):
    with pytest.raises(ZooError, match=message) as caught:
        timm_unet(in_channels=3, **options)
    assert "\n" not in str(caught.value)


class Constant(torch.nn.Module):
    """Give the same raw output everywhere and remember what came in."""

    def __init__(self, *values):
        super().__init__()
        self.values = values

    def forward(self, x):
        self.seen = x
        return torch.cat([torch.full_like(x[:, :1], v) for v in self.values], dim=1)


def run_on(system, image):
    """Raw numbers of an image (B, C, H, W): mean and log-scale, None where there is none."""
    raw = system.raw(system.stage({"image": image}))
    return raw["mean"], raw.get("log_scale")


def test_system_scales_both_ways_by_hand():
    network = Constant(0.5, -1.0)
    model = MomentsSystem(network, gaussian_nll(), [10.0, 100.0], [2.0, 50.0], target_mean=20.0, target_std=4.0)
    model.inputs = (Port("image", "B C H W"),)
    model.outputs = (Port("mean", "B H W", spread="moments"), Port("std", "B H W", spread="deviation", of="mean"))
    image = torch.tensor([[[[14.0, float("nan")]], [[50.0, float("inf")]]]])
    mean, log_variance = run_on(model, image)
    assert torch.equal(network.seen, torch.tensor([[[[2.0, 0.0]], [[-1.0, 0.0]]]]))
    torch.testing.assert_close(mean, torch.full((1, 1, 1, 2), 22.0))
    # variance in m2: exp(-1) of a standardised unit times 4^2.
    torch.testing.assert_close(log_variance.exp(), torch.full((1, 1, 1, 2), 16 * 0.36787944))
    # std: sqrt(16 exp(-1)); the pixel that misses a band has neither.
    found = model.predict({"image": image})
    torch.testing.assert_close(found["mean"], torch.tensor([[[22.0, float("nan")]]]), equal_nan=True)
    torch.testing.assert_close(found["std"], torch.tensor([[[2.4261226, float("nan")]]]), equal_nan=True)


@pytest.mark.parametrize("loss", [gaussian_nll(), laplacian_nll()])
def test_standardised_std_becomes_std_in_the_unit(loss):
    model = MomentsSystem(Constant(0.0, -0.7), loss, [0.0], [1.0], 5.0, 3.0)
    _, log_scale = run_on(model, torch.zeros(1, 1, 1, 1))
    expected = 3.0 * loss.std(torch.tensor(-0.7))
    torch.testing.assert_close(loss.std(log_scale).squeeze(), expected)


def test_system_identity_and_single_output():
    network = Constant(7.5)
    image = torch.randn(2, 3, 4, 5)
    mean, log_scale = run_on(MomentsSystem(network, mse(), [0.0] * 3, [1.0] * 3), image)
    assert torch.equal(network.seen, image)
    assert (mean == 7.5).all()
    assert log_scale is None


def test_constant_band_is_centred_and_bad_statistics_refused():
    network = Constant(0.0)
    run_on(MomentsSystem(network, mse(), [3.0], [0.0]), torch.full((1, 1, 1, 1), 5.0))
    assert network.seen.item() == 2
    for mean, std in (([float("nan")], [1.0]), ([0.0], [-1.0]), ([0.0, 1.0], [1.0])):
        with pytest.raises(ValueError, match=r"finite|means"):
            MomentsSystem(network, mse(), mean, std)


def test_scaling_travels_in_the_state_dict_and_loads_strictly():
    def build(loss, *statistics):
        return MomentsSystem(gedi_unet(in_channels=2, width=2), loss, *statistics).eval()

    trained, fresh = (
        build(laplacian_nll(), [1.0, 2.0], [3.0, 4.0], 5.0, 6.0),
        build(gaussian_nll(), [0.0] * 2, [1.0] * 2),
    )
    fresh.load_state_dict(trained.state_dict(), strict=True)
    x = torch.randn(1, 2, 16, 16)
    for a, b in zip(run_on(trained, x), run_on(fresh, x)):
        assert torch.equal(a, b)
    three = MomentsSystem(gedi_unet(in_channels=3, width=2), mse(), [0.0] * 3, [1.0] * 3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        three.load_state_dict(trained.state_dict())


def test_square_mean_by_hand_and_at_the_edge():
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    mean = square_mean(x, 3)[0, 0]
    assert mean[1, 1] == 6.0  # of 0 1 2, 5 6 7, 10 11 12
    assert mean[0, 0] == 3.0  # of 0 1, 5 6: what lies inside
    assert square_mean(x, 15)[0, 0].unique().tolist() == [9.5]  # larger than the image: the mean of all of it


@pytest.mark.parametrize("size", SIZES)
def test_context_net_any_size_in_the_same_size_out(size):
    network = context_net(in_channels=3)
    out = network(torch.randn(2, 3, *size))
    assert out.shape == (2, 2, *size)
    out.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_context_net_has_noise_in_training_only_and_sees_what_its_squares_hold():
    torch.manual_seed(0)
    network = context_net(in_channels=2, dropout=0.0)
    x = torch.randn(1, 2, 40, 40)
    assert not torch.equal(network(x), network(x))
    network.eval()
    before = network(x)
    x[0, 0, 20, 20] += 5
    changed = (network(x) - before)[0].abs().amax(0) > 0
    assert changed[13:28, 13:28].any(dim=1).all()
    changed[13:28, 13:28] = False
    assert not changed.any()


@pytest.mark.parametrize("options", [{"sizes": (4,)}, {"sizes": (1,)}, {"hidden": 0}, {"noise": -1}, {"dropout": 1}])
def test_context_net_refuses_options_out_of_range(options):
    with pytest.raises(ZooError, match=next(iter(options))):
        context_net(**options)


@pytest.mark.parametrize("options", [{"width": "abc"}, {"bilinear": 1}, {"dropout": "0.1"}])
def test_an_option_of_another_type_is_one_line(options):
    from eozoo import create_model

    with pytest.raises(ZooError, match=rf"model 'gedi_unet': option '{next(iter(options))}' is a "):
        create_model("gedi_unet", **options)


def test_offline_no_weights_are_fetched(monkeypatch):
    monkeypatch.setenv("EOZOO_OFFLINE", "1")
    with pytest.raises(ZooError, match="fetches weights and EOZOO_OFFLINE is set"):
        timm_unet(pretrained=True)


def test_published_weights_of_timm_are_not_called_random(monkeypatch):
    import timm

    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **words: made(name, pretrained=False, **words))
    options = {"in_channels": 3, "encoder": "resnet18", "decoder_channels": (8, 8, 8, 8, 8)}
    assert timm_unet(pretrained=False, **options).receipt is None
    assert timm_unet(pretrained=True, **options).receipt.startswith("resnet18 of timm ")
