"""Quantisation, adapters, freezing, state, padding, metadata, the head and its fallback to the CPU."""

import re

import pytest
import torch
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import load_module
from eozoo_core.settings.config import build_settings
from eozoo_prithvi_refine.adapters import adapt, merge
from eozoo_prithvi_refine.convnext import ConvNeXtHead
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.fallback import Fallback, runtime_line
from eozoo_prithvi_refine.metadata import Fusion, MetadataEmbedding, month_cycle
from eozoo_prithvi_refine.refiner import Around, PrithviRefiner, band_mapping, pad_to_multiple
from eozoo_prithvi_refine.registered import prithvi_refiner
from eozoo_prithvi_refine.settings import ModelSettings
from eozoo_prithvi_refine.system import RefineSystem
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

NANO = {"encoder": "prithvi_eo_nano", "num_convnext_blocks": 1, "head_width": 8, "lora_dropout": 0.0, "drop_path": 0.0}


def model(seed=0, **changes):
    torch.manual_seed(seed)
    settings = ModelSettings(**(NANO | changes))
    encoder = build_encoder(settings.encoder)
    adapt(encoder, settings)
    refiner = PrithviRefiner(settings, encoder)
    torch.nn.init.normal_(refiner.head.head.change.weight, std=0.1)
    return refiner


def system(**changes):
    torch.manual_seed(0)
    settings = ModelSettings(**(NANO | changes))
    found = RefineSystem(settings, build_encoder(settings.encoder))
    found.adapt()
    return found


def refined(system):
    return system.raw(dict(zip(("opt_v1", "month", "biome"), batch())))["refined"]


def batch(size=20):
    torch.manual_seed(1)
    return 0.3 * torch.rand(2, 4, size, size + 3), torch.tensor([1, 7]), torch.tensor([0, 16])


@pytest.mark.parametrize(("quantization", "limit"), [("int8", 0.05), ("nf4", 0.35)])
@pytest.mark.parametrize("training", [True, False])
def test_quantised_tokens_are_near_the_plain_ones(quantization, limit, training):
    plain, cheap = model(quantization="none").encoder, model(quantization=quantization).encoder
    x = torch.randn(2, 6, 24, 24)
    with torch.no_grad():
        wanted, found = plain.train(training)(x), cheap.train(training)(x)
    error = (found - wanted).norm() / wanted.norm()
    assert 1e-5 < error < limit


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_what_is_trainable(quantization):
    refiner = model(quantization=quantization, unfreeze_last_n_blocks=1)
    trainable = {n for n, p in refiner.encoder.named_parameters() if p.requires_grad}
    assert {n for n in trainable if "lora_" not in n and "blocks.3." not in n} == set()
    assert any("blocks.3.norm1.weight" in n for n in trainable)
    assert any("blocks.3.attn.qkv.base_layer.weight" in n for n in trainable)
    adapted = {n.split(".lora_")[0] for n in trainable if "lora_" in n}
    assert adapted == {f"blocks.{i}.{t}" for i in range(4) for t in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")}
    before = {n: p.detach().clone() for n, p in refiner.named_parameters()}
    optimizer = torch.optim.Adam([p for p in refiner.parameters() if p.requires_grad], lr=0.01)
    for _ in range(3):  # the first step moves the projection, the second lora_B, the third lora_A
        refiner(*batch())[0].square().sum().backward()
        optimizer.step()
    changed = {n for n, p in refiner.named_parameters() if not torch.equal(p, before[n])}
    assert {n for n, p in refiner.named_parameters() if p.requires_grad} == changed


def test_all_frozen_all_free_and_impossible():
    assert not [n for n, p in model(use_lora=False).encoder.named_parameters() if p.requires_grad]
    free = model(use_lora=False, freeze_base=False, quantization="none")
    assert all(p.requires_grad for p in free.parameters())
    with pytest.raises(ZooError, match="freeze_base false needs quantization none"):
        build_settings(ModelSettings, {"freeze_base": False})
    with pytest.raises(ZooError, match="has 4 blocks"):
        model(unfreeze_last_n_blocks=5)


@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_state_holds_what_is_trained_and_restores_it_exactly(quantization, tmp_path):
    first, second = system(quantization=quantization), system(quantization=quantization)
    with torch.no_grad():
        for p in first.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    refined(first)  # a quantised layer keeps its scales elsewhere after a forward pass
    state = first.state_dict()
    assert {n for n, p in first.named_parameters() if p.requires_grad} | {"mean", "std"} == set(state)
    file = tmp_path / "x.pt"
    file.touch()
    load_module(second, state, file)
    for kind in (True, False):
        with torch.no_grad():
            assert torch.equal(refined(first.train(kind)), refined(second.train(kind)))
    with pytest.raises(ZooError, match="1 missing"):
        load_module(second, {k: v for k, v in state.items() if k != "mean"}, file)
    with pytest.raises(RuntimeError, match="missing"):
        second.load_state_dict({k: v for k, v in state.items() if k != "mean"})
    with pytest.raises(RuntimeError, match="unexpected"):
        second.load_state_dict(state | {"encoder.norm.weight2": torch.zeros(1)})


def test_mixed_precision_leaves_the_frozen_bias_alone():
    refiner = model(quantization="int8")
    before = refiner.encoder.blocks[0].attn.proj.base_layer.bias.clone()
    with torch.autocast("cpu", torch.bfloat16):
        refiner(*batch())
    after = refiner.encoder.blocks[0].attn.proj.base_layer.bias
    assert after.dtype == torch.float32
    assert torch.equal(before, after)


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        refiner = model(gradient_checkpointing=checkpointing).train()
        refiner(*batch())[0].square().sum().backward()
        gradients.append([p.grad for p in refiner.parameters() if p.requires_grad])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients))


def test_merged_adapters_give_the_same_tokens():
    encoder = model(quantization="none").encoder.eval()
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
        x = torch.randn(1, 6, 16, 16)
        wanted = encoder(x)
        merge(encoder)
        assert torch.allclose(encoder(x), wanted, atol=1e-5)
    assert set(encoder.state_dict()) == set(build_encoder("prithvi_eo_nano").state_dict())


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16))
@examples(max_examples=40, deadline=None)
def test_padding_reflects_and_crops_back(height, width, multiple):
    image = torch.arange(float(height * width)).reshape(1, 1, height, width)
    padded, top, left = pad_to_multiple(image, multiple)
    assert padded.shape[-2] % multiple == 0 == padded.shape[-1] % multiple
    assert padded.shape[-2] - height < multiple
    assert (top, left) == ((padded.shape[-2] - height) // 2, (padded.shape[-1] - width) // 2)
    assert torch.equal(padded[..., top : top + height, left : left + width], image)
    below = padded.shape[-2] - height - top
    if max(top, below, left, padded.shape[-1] - width - left) < min(height, width):
        sides = (left, padded.shape[-1] - width - left, top, below)
        assert torch.equal(padded, torch.nn.functional.pad(image, sides, mode="reflect"))


@pytest.mark.parametrize("encoder", ["prithvi_eo_nano", "none"])
def test_any_size_missing_pixels_and_bounds(encoder):
    refiner = prithvi_refiner(encoder=encoder, num_convnext_blocks=1, head_width=8).eval()
    for height, width in ((1, 1), (5, 30), (17, 8)):
        image = torch.full((1, 4, height, width), 0.2)
        image[..., 0, 0] = torch.nan
        made, features = refiner(image, torch.tensor([6]), torch.tensor([3]))
        assert made.shape == (1, 4, height, width)
        assert features.shape == (1, 8, height, width)
        assert torch.isfinite(made).all()
        known = torch.isfinite(image)
        assert torch.equal(made[known], image[known])  # untrained: the input, bit by bit
    torch.nn.init.constant_(refiner.head.head.change.bias, 100.0)
    assert refiner(image, torch.tensor([6]), torch.tensor([3]))[0][known].max().item() == pytest.approx(0.7, abs=1e-3)
    torch.nn.init.constant_(refiner.head.head.change.bias, -100.0)
    assert refiner(image, torch.tensor([6]), torch.tensor([3]))[0][known].max().item() == 0


def test_months_are_cyclic_and_as_far_apart_as_on_a_calendar():
    cycle = month_cycle(torch.arange(1, 14))
    assert torch.allclose(cycle[12], cycle[0], atol=1e-5)
    steps = (cycle[1:] - cycle[:-1]).norm(dim=1)
    assert torch.allclose(steps, steps[0].expand(12), atol=1e-5)
    assert sum(p.numel() for p in Fusion().parameters()) == 36


def test_bands_stay_themselves_and_short_wave_begins_between_red_and_nir():
    x = torch.randn(1, 4, 2, 2)
    six = band_mapping()(x)
    assert torch.allclose(six[:, :4], x)
    assert torch.allclose(six[:, 4], 0.5 * (x[:, 2] + x[:, 3]))


def test_prithvi_begins_as_the_head_alone_and_is_learned_in():
    """Two encoders, one head: the same image before training, different ones after a step."""
    first, second = model(quantization="none"), model(quantization="none")
    with torch.no_grad():
        second.encoder.patch_embed.proj.weight.mul_(-2)
    before = [m.eval()(*batch())[0] for m in (first, second)]
    assert torch.equal(*before)
    assert (before[0] - batch()[0]).abs().max() > 0.01  # the head is not silent
    for m in (first, second):
        m.train()(*batch())[0].square().sum().backward()
        torch.optim.Adam([m.project.weight], lr=0.01).step()
    after = [m.eval()(*batch())[0] for m in (first, second)]
    assert (after[0] - after[1]).abs().max() > 1e-3


def test_a_biome_that_training_never_showed_says_nothing():
    torch.manual_seed(0)
    embedding, month = MetadataEmbedding(), torch.tensor([7, 7])
    optimizer = torch.optim.AdamW(embedding.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        (embedding(month, torch.tensor([4, 6])) - torch.tensor([[1.0], [-1.0]])).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        seen = embedding(month, torch.tensor([4, 6]))
        unseen = embedding(month, torch.tensor([12, 13]))
    assert (seen[0] - seen[1]).abs().min() > 0.5
    assert torch.equal(unseen[0], unseen[1])


def test_month_and_biome_matter():
    """From one and the same image, a model learns two months and two biomes apart; without them it could not."""
    torch.manual_seed(0)
    refiner = prithvi_refiner(encoder="prithvi_eo_nano", num_convnext_blocks=1, head_width=8).train()
    image = torch.full((4, 4, 16, 16), 0.2)
    month, biome = torch.tensor([1, 7, 1, 7]), torch.tensor([2, 2, 16, 16])
    target = (0.2 + torch.tensor([-0.1, 0.1, 0.0, 0.05]))[:, None, None, None].expand_as(image)
    optimizer = torch.optim.Adam([p for p in refiner.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (refiner(image, month, biome)[0] - target).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        made = refiner.eval()(image, month, biome)[0].mean(dim=(1, 2, 3))
    assert torch.allclose(made, target.mean(dim=(1, 2, 3)), atol=0.02)


class OutOfMemory(Fallback):
    """A head on a GPU without memory: fails in the calls that ``fails`` names."""

    def __init__(self, head, fails, error=None):
        super().__init__(head)
        self.fails, self.calls, self.error = fails, 0, error or torch.OutOfMemoryError("injected")

    def guards(self, x):
        return True

    def on_device(self, x, keep):
        self.calls += 1
        if self.calls in self.fails:
            raise self.error
        return super().on_device(x, keep)


@pytest.mark.parametrize(("fails", "count"), [((), 0), ((1,), 1), ((2,), 1), ((1, 2), 2)])
@pytest.mark.filterwarnings("ignore:CPU fallback")
def test_fallback_gives_the_same_numbers_and_gradients(fails, count):
    torch.manual_seed(0)
    head = ConvNeXtHead(6, 8, 2, 0.5).train()
    torch.nn.init.normal_(head.change.weight, std=0.1)
    x, keep = torch.randn(3, 6, 9, 9), head.draw(3, torch.device("cpu"))
    results = []
    for guard in (head, OutOfMemory(head, fails)):
        head.zero_grad()
        given = x.clone().requires_grad_()
        features, change = guard(given, keep)
        (features.square().sum() + change.sum()).backward()
        results.append([features, change, given.grad, *(p.grad.clone() for p in head.parameters())])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*results, strict=True))
    assert guard.calls == 2
    assert guard.take() == count
    assert guard.take() == 0


@pytest.mark.filterwarnings("ignore:CPU fallback")
def test_a_library_without_memory_is_a_gpu_without_memory_and_nothing_else_is():
    """Torch's message of cuBLAS and cuDNN; on other errors of theirs the head must not be tried again."""
    x, keep = torch.randn(1, 6, 5, 5, requires_grad=True), torch.ones(1, 1)
    for said in ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                 "GET was unable to find an engine to execute this computation"):  # fmt: skip
        guard = OutOfMemory(ConvNeXtHead(6, 8, 1, 0.0), (1, 2), RuntimeError(said))
        sum(values.sum() for values in guard(x, keep)).backward()
        assert guard.take() == 2
    guard = OutOfMemory(ConvNeXtHead(6, 8, 1, 0.0), (2,), RuntimeError("CUDA error: device-side assert triggered"))
    found = sum(values.sum() for values in guard(x, keep))
    with pytest.raises(RuntimeError, match="device-side assert"):
        found.backward()
    assert guard.take() == 0


def test_fallback_is_said_as_the_document_does(capsys):
    head = ConvNeXtHead(6, 8, 1, 0.0)
    guard, x, keep = OutOfMemory(head, (1, 2)), torch.randn(1, 6, 5, 5), torch.ones(1, 1)
    with pytest.warns(RuntimeWarning, match=r"CPU fallback\n.*\nGPU OUT OF MEMORY - ConvNeXt Head Fallback"):
        guard(x, keep)
    guard(x, keep)  # a second warning would be an error
    said = "".join(capsys.readouterr())
    numbers = re.findall(r"^CPU fallback runtime: (\S+)s \(expected GPU: ~(\S+)s, penalty: ~(\S+)s\)$", said, re.M)
    assert len(numbers) == 1
    assert runtime_line(0.125) == "CPU fallback runtime: 0.125s (expected GPU: ~0.013s, penalty: ~0.113s)"
    assert guard.take() == 2
    assert re.match(r"⚠️  CPU fallback occurred 2 times this epoch \(\d.*s in all\)\n   Consider reducing", guard.tell())
    assert guard.tell() == ""
    with pytest.raises(RuntimeError, match="expected input"):
        guard(torch.randn(1, 5, 5, 5), keep)
    assert guard.take() == 0


class Echo(torch.nn.Module):
    """Shows what a network for maps is given: red reflectance, what is missing of it, standardised blue and red."""

    multiple = 8

    def forward(self, image, values, missing):
        assert image.shape[2] % 8 == image.shape[3] % 8 == 0
        return torch.stack([values[:, 2], missing[:, 2], image[:, 0], image[:, 2]], dim=1)


def test_context_sees_the_input_pixel_by_pixel_and_counts_from_zero_on():
    around = Around(Echo(), ("image", "values", "missing"), 4)
    image, months, biomes = batch()
    image[0, 2, 5, 7] = torch.nan
    scaled = torch.randn_like(image)
    assert not around(scaled, image).any()
    with torch.no_grad():
        around.join.weight.copy_(torch.eye(4)[..., None, None])
    found = around(scaled, image)
    wanted = [image[:, 2].nan_to_num(0.0), image[:, 2].isnan().float(), scaled[:, 0], scaled[:, 2]]
    assert torch.equal(found, torch.stack(wanted, dim=1))

    settings = ModelSettings(**(NANO | {"encoder": "none", "head_width": 4}))
    refiner = PrithviRefiner(settings, None, around).eval()
    torch.nn.init.normal_(refiner.head.head.change.weight, std=0.1)
    with torch.no_grad():
        whole, _ = refiner(image, months, biomes)
        around.join.weight.zero_()
        without, _ = refiner(image, months, biomes)
    assert torch.isfinite(whole).all()
    assert not torch.equal(whole, without)
