"""The encoder against the published implementation's numbers, and the strict loader."""

import numpy as np
import pytest
import torch
from eozoo_clay_ta.clay import SIZES, ClayEncoder, ClaySize, position_encoding, wave_encoding
from eozoo_clay_ta.clay_weights import load_clay
from eozoo_core import ZooError
from safetensors.torch import save_file

TINY = ClaySize(64, 2, 4, 16)
INPUTS = ("pixels", "time", "latlon", "gsd", "waves")


def relative(found, expected):
    return float((found.detach() - expected).norm() / expected.norm())


@pytest.fixture
def encoder(tiny_reference):
    model = ClayEncoder(TINY).eval()
    model.load_state_dict(tiny_reference[0], strict=True)
    return model


@pytest.mark.parametrize("tag", ["s8", "s16", "s24", "s64", "s2_32"])
def test_outputs_equal_the_reference(tag, encoder, tiny_reference):
    arrays = tiny_reference[1]
    inputs = [arrays[f"{tag}_{name}"] for name in INPUTS]
    pixels, time, latlon, gsd, waves = inputs
    encoded = encoder.patch_embedding.fclayer(wave_encoding(waves))
    assert relative(encoded, arrays[f"{tag}_waves_encoded"]) < 1e-6
    weight, bias = encoder.patch_embedding.kernel(waves)
    patches = torch.nn.functional.conv2d(pixels, weight, bias, stride=8).flatten(2).transpose(1, 2)
    assert relative(patches, arrays[f"{tag}_patches"]) < 1e-5
    placed = patches + encoder.encoding(pixels.shape[-1] // 8, time, latlon, gsd)
    assert relative(placed, arrays[f"{tag}_encoded_patches"]) < 1e-5
    assert relative(encoder(*inputs), arrays[f"{tag}_out"]) < 1e-5
    assert relative(encoder(*inputs, kernel=(weight, bias)), arrays[f"{tag}_out"]) < 1e-5


def test_gradients_equal_the_reference(encoder, tiny_reference):
    arrays = tiny_reference[1]
    inputs = [arrays[f"grad_{name}"].clone() for name in INPUTS]
    inputs[0].requires_grad_()
    (encoder(*inputs) * arrays["grad_cot"]).sum().backward()
    generator = encoder.patch_embedding.weight_generator
    assert relative(inputs[0].grad, arrays["grad_dx"]) < 1e-5
    assert relative(encoder.transformer.layers[0][0].to_qkv.weight.grad, arrays["grad_qkv0"]) < 1e-5
    assert relative(generator.weight_tokens.grad, arrays["grad_wtok"]) < 1e-5
    assert relative(generator.fc_weight.weight.grad, arrays["grad_fc_weight"]) < 1e-5


@pytest.mark.slow
def test_large_equals_the_reference(parity):
    """Same seed, same start, same outputs: 311 M parameters, so only the two smaller windows."""
    torch.manual_seed(1234)
    large = ClayEncoder(SIZES["clay_v1_5_large"]).eval()
    sums = np.load(parity / "clay_large_param_sums.npz", allow_pickle=False)
    state = large.state_dict()
    assert sorted(state) == sorted(sums.files)
    assert sum(v.numel() for v in state.values()) == 311_442_944
    if any(abs(float(state[k].double().sum()) - sums[k][0]) > 1e-6 * max(sums[k][1], 1) for k in sums.files):
        pytest.skip("this torch draws other random numbers than the reference did: outputs cannot be compared")
    arrays = np.load(parity / "clay_large.npz", allow_pickle=False)
    for tag in ("s8", "s24"):
        inputs = [torch.as_tensor(arrays[f"{tag}_{name}"]) for name in INPUTS]
        with torch.no_grad():
            assert relative(large(*inputs), torch.as_tensor(arrays[f"{tag}_out"])) < 2e-5


@pytest.mark.parametrize(("name", "parameters"), [("clay_v1_base", 92_102_144), ("clay_tiny", 4_030_592)])
def test_parameter_counts_of_the_sizes(name, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in ClayEncoder(SIZES[name]).parameters()) == parameters


def test_one_patch_does_not_see_the_gsd():
    """Why 9 x 9 windows are enlarged to 24: position (0, 0) encodes the same at any gsd."""
    near, far = (position_encoding(1, 56, torch.tensor(gsd)) for gsd in (10.0, 2000.0))
    assert torch.equal(near, far)
    near, far = (position_encoding(3, 56, torch.tensor(gsd)) for gsd in (10.0, 2000.0))
    assert float((near - far).abs().max()) > 1


def test_gsd_of_each_sample(encoder, tiny_reference):
    arrays = tiny_reference[1]
    pixels, time, latlon, _, waves = (arrays[f"s24_{name}"] for name in INPUTS)
    both = encoder(pixels[:2], time[:2], latlon[:2], torch.tensor([10.0, 750.0]), waves)
    for i, gsd in enumerate((10.0, 750.0)):
        one = encoder(pixels[i : i + 1], time[i : i + 1], latlon[i : i + 1], torch.tensor(gsd), waves)
        torch.testing.assert_close(both[i : i + 1], one, rtol=1e-4, atol=1e-5)


def test_joint_permutation_of_bands_and_waves(encoder, tiny_reference):
    arrays = tiny_reference[1]
    pixels, time, latlon, gsd, waves = (arrays[f"s24_{name}"] for name in INPUTS)
    order = torch.randperm(len(waves), generator=torch.Generator().manual_seed(0))
    shuffled = encoder(pixels[:, order], time, latlon, gsd, waves[order])
    torch.testing.assert_close(shuffled, encoder(pixels, time, latlon, gsd, waves), rtol=1e-4, atol=2e-5)
    unmatched = encoder(pixels[:, order], time, latlon, gsd, waves)
    assert float((unmatched - shuffled).detach().abs().max()) > 1e-2


@pytest.mark.parametrize("shape", [(9, 9), (16, 32), (0, 0)])
def test_windows_that_do_not_fit(shape, encoder):
    with pytest.raises(ZooError, match=r"square windows of a multiple of 8"):
        encoder(torch.zeros(1, 2, *shape), torch.zeros(1, 4), torch.zeros(1, 4), torch.tensor(10.0), torch.ones(2))


def save_as(kind, state, path):
    """Write ``state`` the way published files hold it."""
    lightning = {f"model.encoder.{k}": v for k, v in state.items()} | {"model.decoder.x": torch.ones(2)}
    if kind == "lightning":
        torch.save({"state_dict": lightning, "epoch": 7, "optimizer_states": [{"m": torch.ones(3)}]}, path)
    elif kind == "stripped":
        torch.save({k.removeprefix("model."): v for k, v in lightning.items()}, path)
    elif kind == "bare":
        torch.save(dict(state), path)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, path)


@pytest.mark.parametrize("kind", ["lightning", "stripped", "bare", "safetensors"])
def test_loader_reads_every_published_layout(kind, tmp_path):
    torch.manual_seed(3)
    source, target = ClayEncoder(TINY), ClayEncoder(TINY)
    file = tmp_path / ("clay.safetensors" if kind == "safetensors" else "clay.ckpt")
    save_as(kind, source.state_dict(), file)
    receipt = load_clay(target, file)
    assert receipt.tensors == len(source.state_dict()) == 45
    assert len(receipt.sha256) == 64
    assert all(torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values()))


def test_loader_refuses_what_does_not_fit(tmp_path):
    state = ClayEncoder(TINY).state_dict()
    cases = {
        "part.ckpt": ({k: v for k, v in state.items() if "layers.1" not in k}, "10 missing"),
        "more.ckpt": (state | {"transformer.extra": torch.ones(1)}, "1 unexpected"),
        "other.ckpt": ({"conv.weight": torch.ones(1)}, "no Clay encoder"),
        "empty.ckpt": ({}, "no named tensors"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / name)
        target = ClayEncoder(TINY)
        before = {k: v.clone() for k, v in target.state_dict().items()}
        with pytest.raises(ZooError, match=message):
            load_clay(target, tmp_path / name)
        assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items())
    torch.save(ClayEncoder(ClaySize(32, 2, 4, 16)).state_dict(), tmp_path / "small.ckpt")
    with pytest.raises(ZooError, match=r"of another shape"):
        load_clay(ClayEncoder(TINY), tmp_path / "small.ckpt")
    with pytest.raises(ZooError, match=r"no such file"):
        load_clay(ClayEncoder(TINY), tmp_path / "absent.ckpt")
