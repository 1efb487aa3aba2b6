"""The encoder equals the published one: outputs, gradients, position tables, key names, and what loading refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo_core import ZooError
from eozoo_prithvi_refine.encoder import PrithviEncoder, build_encoder
from eozoo_prithvi_refine.positions import position_table, resize_table
from eozoo_prithvi_refine.variants import VARIANTS, Variant
from eozoo_prithvi_refine.weights import load_prithvi

PARITY = Path(__file__).parents[4] / "shared" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no reference outputs at {PARITY}")
TINY = Variant(64, 2, 4, patch=14, image=112)


def close(ours, reference, limit=1e-5):
    reference = torch.as_tensor(reference)
    error = (ours - reference).norm() / reference.norm()
    assert error < limit, f"relative error {error:.2e}"


@pytest.fixture(scope="module")
def reference():
    with np.load(PARITY / "prithvi_tiny.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def states():
    return torch.load(PARITY / "prithvi_tiny_state.pt", weights_only=True)


def encoder_of(state, variant=TINY):
    encoder = PrithviEncoder(variant)
    encoder.load_state_dict(state, strict=True)
    return encoder.eval()


@needs_parity
@pytest.mark.parametrize("size", ["112", "120", "140", "224"])
def test_every_layer_equals_the_published_encoder(reference, states, size):
    encoder = encoder_of(states["A"])
    with torch.no_grad():
        layers = encoder.layers(reference[f"A_x{size}"])
        for i, layer in enumerate(layers):
            close(layer, reference[f"A_y{size}_layer{i}"])
        side = int(size) // 14
        close(encoder.feature_map(layers[-1], side, side), reference[f"A_img{size}"])
        close(encoder(reference[f"A_x{size}"]), reference[f"A_y{size}_layer1"])


@needs_parity
def test_oblong_images(reference, states):
    with torch.no_grad():
        close(encoder_of(states["A"])(reference["A_x112x126"]), reference["A_y112x126_layer1"])


@needs_parity
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_the_published_encoder(reference, states, checkpointing):
    encoder = encoder_of(states["A"]).train()
    encoder.checkpointing = checkpointing
    x = reference["A_grad_x"].clone().requires_grad_()
    (encoder(x) * reference["A_grad_cot"]).sum().backward()
    close(x.grad, reference["A_grad_dx"])
    close(encoder.blocks[0].attn.qkv.weight.grad, reference["A_grad_qkv0"])
    close(encoder.patch_embed.proj.weight.grad, reference["A_grad_patch"])


@needs_parity
def test_time_and_location(reference, states):
    variant = Variant(64, 2, 4, patch=14, frames=3, image=112, coordinates=True)
    encoder, x = encoder_of(states["B"], variant), reference["B_x"]
    time, place = reference["B_temporal"], reference["B_location"]
    with torch.no_grad():
        close(encoder(x, time, place), reference["B_y_both"])
        close(encoder(x, time), reference["B_y_time"])
        close(encoder(x, location=place), reference["B_y_loc"])
        close(encoder(x), reference["B_y_none"])
        close(encoder.feature_map(encoder(x, time, place), 8, 8), reference["B_img"])


@needs_parity
def test_published_checkpoint_layout_loads_with_a_receipt(reference, states, tmp_path):
    file = tmp_path / "prithvi.pt"
    torch.save(states["C_mae"], file)
    encoder = PrithviEncoder(TINY).eval()
    receipt = load_prithvi(encoder, file)
    assert receipt.frames == 4
    assert receipt.left_out == sum(k.startswith("decoder.") for k in states["C_mae"])
    assert "all 31 tensors" not in str(receipt)
    assert str(len(encoder.state_dict())) in str(receipt)
    with torch.no_grad():
        close(encoder(reference["C_x"]), reference["C_y_encoder1frame"])
        close(encoder.layers(reference["C_x4"])[-1], reference["C_feat4_layer1"])


@needs_parity
def test_position_tables_of_the_full_size():
    with np.load(PARITY / "prithvi_posembed.npz", allow_pickle=False) as arrays:
        close(position_table(1280, 1, 16, 16)[0], arrays["pe600"])
        close(position_table(1024, 4, 14, 14)[0], arrays["pe300_t4"])
        for size in (112, 120, 126):
            side = size // 14
            resized = resize_table(position_table(1280, 1, 16, 16), (1, 16, 16), (1, side, side))
            close(resized, arrays[f"pe600_{size}"])


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        counts = {n: sum(p.numel() for p in build_encoder(n).parameters()) for n in VARIANTS}
    assert counts["prithvi_eo_v2_600"] == 631_188_480
    assert round(counts["prithvi_eo_v2_300"] / 1e6, 2) == 303.89
    assert round(counts["prithvi_eo_v2_100_tl"] / 1e6, 2) == 86.24
    assert round(counts["prithvi_eo_v2_tiny_tl"] / 1e6, 2) == 5.63
    assert counts["prithvi_eo_v2_600_tl"] == counts["prithvi_eo_v2_600"] + 2


def mae_state(encoder):
    state = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    return state | {"decoder.mask_token": torch.zeros(1), "decoder.decoder_embed.weight": torch.zeros(2)}


def test_loading_refuses_what_does_not_match(tmp_path):
    file, encoder = tmp_path / "w.pt", PrithviEncoder(TINY)
    good = mae_state(encoder)
    for change, message in [
        ({"encoder.norm.weight": None}, "1 missing"),
        ({"encoder.extra": torch.zeros(1)}, "1 unexpected"),
        ({"encoder.norm.weight": torch.zeros(3)}, "another shape"),
        ({"encoder.pos_embed": torch.zeros(1, 65, 64)}, "position table is not the fixed one"),
        ({"encoder.pos_embed": torch.zeros(1, 65, 32)}, "choose the model.encoder"),
    ]:
        state = {k: v for k, v in (good | change).items() if v is not None}
        torch.save(state, file)
        with pytest.raises(ZooError, match=message):
            load_prithvi(PrithviEncoder(TINY), file)
    torch.save(good, file)
    other = PrithviEncoder(Variant(64, 2, 4, patch=14, image=112, coordinates=True))
    with pytest.raises(ZooError, match="temporal_embed_enc"):
        load_prithvi(other, file)


def test_time_for_an_encoder_without_it_and_a_name_that_does_not_exist():
    encoder = PrithviEncoder(TINY)
    with pytest.raises(ZooError, match="_tl"):
        encoder(torch.zeros(1, 6, 14, 14), temporal=torch.zeros(1, 1, 2))
    with pytest.raises(ZooError, match="smaller than one patch"):
        encoder(torch.zeros(1, 6, 13, 14))
    with pytest.raises(ZooError, match="prithvi_eo_v2_600"):
        build_encoder("prithvi_eo_v2_60")
