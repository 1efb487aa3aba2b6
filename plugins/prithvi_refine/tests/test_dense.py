"""``prithvi_dense``: any bands and size, published weights, what is frozen, and that context and pixel both count."""

import pytest
import torch
from eozoo_core import ZooError
from eozoo_prithvi_refine.dense import prithvi_dense
from eozoo_prithvi_refine.encoder import build_encoder

NANO = {"encoder": "prithvi_eo_nano", "width": 8, "blocks": 1}


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (16, 16), (33, 20)])
def test_any_size_and_number_of_bands(size):
    network = prithvi_dense(in_channels=3, outputs=2, **NANO)
    assert network(torch.randn(2, 3, *size)).shape == (2, 2, *size)


def test_a_pixel_depends_on_itself_and_on_what_the_encoder_sees_around():
    torch.manual_seed(0)
    network, x = (
        prithvi_dense(in_channels=7, bands=[1, 2, 3, 4, 5, 6], outputs=1, **NANO).eval(),
        torch.randn(1, 7, 40, 40),
    )
    with torch.no_grad():
        before = network(x)[0, 0]
        near, far = x.clone(), x.clone()
        near[:, 0, 20, 20] += 3.0  # no band of Prithvi's: through the convolution of the input alone
        far[:, 1, 0, 0] += 3.0
        changed = [(network(other)[0, 0] - before).abs() for other in (near, far)]
    assert changed[0][20, 20] > 10 * changed[0][20, 36].clamp(min=1e-6)
    assert changed[0][2, 36] == 0
    assert changed[1][39, 39] > 0  # attention sees the whole image


def test_known_bands_are_chosen_at_the_start():
    network = prithvi_dense(in_channels=14, bands=[1, 2, 3, 8, 10, 11], **NANO)
    x = torch.randn(1, 14, 4, 4)
    torch.testing.assert_close(network.to_six(x), x[:, [1, 2, 3, 8, 10, 11]])


def test_published_weights_are_loaded_strictly(tmp_path):
    torch.manual_seed(3)
    published = build_encoder("prithvi_eo_nano")
    state = {f"encoder.{name}": value for name, value in published.state_dict().items()}
    torch.save(state | {"decoder.norm.weight": torch.ones(3)}, tmp_path / "p.pt")
    network = prithvi_dense(in_channels=4, pretrained=str(tmp_path / "p.pt"), trainable="none", **NANO)
    assert torch.equal(network.encoder.blocks[0].attn.qkv.weight, published.blocks[0].attn.qkv.weight)
    assert "1 tensors of the decoder" in network.receipt
    assert not any(p.requires_grad for p in network.encoder.parameters())
    assert network.to_six.weight.requires_grad
    assert prithvi_dense(in_channels=4, **NANO).receipt is None
    del state["encoder.norm.weight"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(ZooError, match=r"short\.pt.*missing"):
        prithvi_dense(in_channels=4, pretrained=str(tmp_path / "short.pt"), **NANO)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": [0, 1, 2]}, r"bands: \[0, 1, 2\] must be 6 of the channels 0\.\.3"),
        ({"bands": [0, 1, 2, 3, 4, 5]}, r"must be 6 of the channels 0\.\.3"),
        ({"trainable": "some"}, "'some' is neither 'all' nor 'none'"),
        ({"outputs": 0}, "outputs and width are at least 1"),
        ({"encoder": "prithvi"}, "no encoder 'prithvi'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ZooError, match=message):
        prithvi_dense(**{"in_channels": 4, **NANO, **options})
