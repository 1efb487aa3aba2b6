"""Indices, angles, edges and losses against hand-worked values, with masks, and finite gradients everywhere."""

import math

import numpy as np
import pytest
import torch
from eozoo_prithvi_refine.discriminator import PatchDiscriminator, patch_weight
from eozoo_prithvi_refine.losses import identity_edge, least_squares, spectral_plausibility
from eozoo_prithvi_refine.scoring import Criterion, RefineScores, tile_sums
from eozoo_prithvi_refine.spectra import edge_mask, edges, evi, ndvi, spectral_angle
from hypothesis import given, settings
from hypothesis import strategies as st


def pixel(*bands):
    return torch.tensor(bands, dtype=torch.float32).reshape(1, 4, 1, 1)


def add(scores, refined, image, target):
    scores.add({"refined": refined.numpy()}, {"opt_v1": image.numpy(), "target": target.numpy()})


def everywhere(image):
    return torch.ones(len(image), *image.shape[-2:], dtype=torch.bool)


def test_indices_by_hand():
    x = pixel(0.05, 0.08, 0.1, 0.4)
    assert ndvi(x).item() == pytest.approx(0.3 / 0.5)
    assert evi(x).item() == pytest.approx(2.5 * 0.3 / (0.4 + 0.6 - 0.375 + 1))
    assert ndvi(pixel(0, 0, 0, 0)).item() == 0
    assert ndvi(pixel(0, 0, 0.001, 0.003)).item() == pytest.approx(0.2)
    assert evi(pixel(0.9, 0.9, 0.9, 0.95)).item() == pytest.approx(2.5 * 0.05 / 0.6, rel=1e-4)
    assert evi(pixel(1.2, 0.9, 0.9, 0.95)).item() == pytest.approx(2.5 * 0.05 / 0.5, rel=1e-4)


def test_spectral_angle_by_hand_and_against_torchmetrics():
    assert spectral_angle(pixel(1, 0, 0, 0), pixel(0, 1, 0, 0)).item() == pytest.approx(math.pi / 2, abs=1e-5)
    assert spectral_angle(pixel(1, 0, 0, 0), pixel(1, 1, 0, 0)).item() == pytest.approx(math.pi / 4, abs=1e-5)
    assert spectral_angle(pixel(0.1, 0.2, 0.3, 0.4), pixel(0.2, 0.4, 0.6, 0.8)).item() < 1e-5
    from torchmetrics.functional.image import spectral_angle_mapper

    torch.manual_seed(0)
    a, b = torch.rand(2, 4, 9, 9), torch.rand(2, 4, 9, 9)
    assert spectral_angle(a, b).mean().item() == pytest.approx(spectral_angle_mapper(a, b).item(), abs=1e-5)


def test_edges_of_a_ramp_and_of_a_hole():
    ramp = torch.arange(6.0).expand(1, 4, 5, 6) * 0.1
    assert torch.allclose(edges(ramp), torch.full((1, 4, 3, 4), 0.1), atol=1e-5)
    valid = torch.ones(1, 5, 6, dtype=torch.bool)
    valid[0, 2, 0] = False
    assert edge_mask(valid)[0].tolist() == [[False, True, True, True]] * 3


@pytest.mark.parametrize("make", [spectral_plausibility, identity_edge])
def test_gradients_are_finite_at_identical_spectra_and_black_pixels(make):
    target = torch.rand(2, 4, 6, 6)
    target[:, :, :2] = 0
    image = target.clone().requires_grad_()
    total, tiles = make()(image, target, everywhere(target))
    total.backward()
    assert tiles == 2
    assert total.item() == pytest.approx(0, abs=2e-4)
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("make", [spectral_plausibility, identity_edge])
def test_invalid_pixels_change_nothing_and_get_no_gradient(make):
    torch.manual_seed(1)
    image, target = torch.rand(1, 4, 8, 8), torch.rand(1, 4, 8, 8)
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    valid[0, :3] = False
    spoilt = image.clone()
    spoilt[:, :, :3] = float("nan")
    spoilt.requires_grad_()
    total, _ = make()(spoilt, torch.where(valid[:, None], target, torch.nan), valid)
    assert total.item() == pytest.approx(make()(image, target, valid)[0].item())
    assert total.item() == pytest.approx(make()(image[:, :, 3:], target[:, :, 3:], valid[:, 3:])[0].item(), rel=1e-5)
    total.backward()
    assert (spoilt.grad[:, :, :3] == 0).all()
    assert torch.isfinite(spoilt.grad).all()
    nothing, tiles = make()(spoilt.detach(), target, torch.zeros_like(valid))
    assert tiles == 0
    assert nothing.item() == pytest.approx(0, abs=1e-5)


def test_loss_weights_and_mean_over_tiles():
    image, target = pixel(0.1, 0.1, 0.1, 0.3), pixel(0.1, 0.1, 0.1, 0.4)
    angle = math.acos((0.03 + 0.12) / math.sqrt(0.12 * 0.19))
    expected = 0.1 + 0.5 * abs(2.5 * 0.2 / 1.15 - 2.5 * 0.3 / 1.25) + 0.3 * angle
    loss, _ = spectral_plausibility()(image, target, everywhere(image))
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    twice, tiles = spectral_plausibility()(
        *(torch.cat([x, x]) for x in (image, target)), everywhere(image).repeat(2, 1, 1)
    )
    assert twice.item() == pytest.approx(2 * expected, rel=1e-4)
    assert tiles == 2
    only = spectral_plausibility(evi_rmse=0, sam=0)(image, target, everywhere(image))[0]
    assert only.item() == pytest.approx(0.1, rel=1e-4)


def test_least_squares_counts_only_weighted_patches():
    scores = torch.tensor([[[[1.0, 3.0]]], [[[0.0, 2.0]]]])
    weight = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 1.0]]]])
    assert least_squares(scores, 1.0, weight).tolist() == [0, 1]
    assert least_squares(scores, 0.0, 0 * weight).tolist() == [0, 0]


def test_discriminator_patches():
    judge = PatchDiscriminator()
    for i, layer in enumerate(judge.layers):
        if isinstance(layer, torch.nn.GroupNorm):  # its statistics are of the whole image
            judge.layers[i] = torch.nn.Identity()
    image = torch.rand(1, 4, 120, 120, requires_grad=True)
    scores = judge(image)
    assert scores.shape == (1, 1, 28, 28)
    scores[0, 0, 14, 14].backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen.any(1).sum() == seen.any(0).sum() == 34
    valid = torch.zeros(1, 120, 120, dtype=torch.bool)
    valid[:, :60] = True
    weight = patch_weight(valid, scores)
    assert weight[..., :13, :].all()
    assert not weight[..., 15:, :].any()


@given(st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_scores_pool_over_any_batching(cut, seed):
    generator = torch.Generator().manual_seed(seed)
    refined, image, target = (torch.rand(6, 4, 12, 13, generator=generator) for _ in range(3))
    target[torch.rand(6, 4, 12, 13, generator=generator) < 0.05] = torch.nan
    criterion = Criterion({"spectral": (1.0, spectral_plausibility()), "identity": (0.5, identity_edge())})
    whole, parts = RefineScores(criterion), RefineScores(criterion)
    add(whole, refined, image, target)
    for group in zip(*(x.split(cut) for x in (refined, image, target))):
        add(parts, *group)
    a, b = (one.compute(one.sums()) for one in (whole, parts))
    assert a.keys() == b.keys()
    for name in a:
        assert a[name] == pytest.approx(b[name], rel=1e-5)


def test_scores_by_hand():
    compute = RefineScores.compute
    target = torch.full((1, 4, 12, 12), 0.2)
    refined, image = target + 0.1, target - 0.1
    criterion = Criterion({"target": (1.0, identity_edge())})
    scores = compute(tile_sums(refined, image, target, criterion, with_ssim=True))
    assert scores["l1"] == pytest.approx(0.1)
    assert scores["identity_l1"] == pytest.approx(0.2)
    assert scores["psnr"] == pytest.approx(20)
    assert scores["loss"] == pytest.approx(0.1, rel=1e-4)
    # flat images: SSIM is its luminance term (2 a b + c) / (a^2 + b^2 + c), c = (0.01)^2
    assert scores["ssim"] == pytest.approx((2 * 0.2 * 0.3 + 1e-4) / (0.04 + 0.09 + 1e-4), rel=1e-4)
    assert scores["ndvi_rmse"] == pytest.approx(0, abs=1e-6)
    assert compute(RefineScores(criterion).sums()) == {}
    tinted = target.clone()
    tinted[:, 0] = 0.4
    angle = math.acos(5 / math.sqrt(4 * 7))  # between (2, 1, 1, 1) and (1, 1, 1, 1)
    assert compute(tile_sums(tinted, image, target, criterion))["sam"] == pytest.approx(angle, rel=1e-4)
    half = target.clone()
    half[..., 6:] = torch.nan
    partly = compute(tile_sums(refined, image, half, criterion, with_ssim=True))
    assert partly["l1"] == pytest.approx(0.1)
    assert "ssim" not in partly
    assert np.isfinite(list(partly.values())).all()
