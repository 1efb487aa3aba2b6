"""The loss against hand-worked numbers, and over two processes."""

import multiprocessing

import numpy as np
import pytest
import torch
from eozoo_barlow_twins.effective_rank import collapse_line, effective_rank
from eozoo_barlow_twins.loss import BarlowTwinsLoss, PixelCrossEntropy, PixelFocal, gather_all, mixup_term
from eozoo_core import ZooError


def test_loss_by_hand():
    """Two samples, two dimensions. z1 columns (1, 3), (0, 4) standardise (N - 1) to -+1/sqrt 2, both; z2 has the second
    column reversed. C = [[1/2, -1/2], [1/2, -1/2]]: on = 1/4 + 9/4, off = 2 * 1/4 times lambda."""
    z1 = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    z2 = torch.tensor([[5.0, 9.0], [7.0, 1.0]])
    parts = BarlowTwinsLoss(lambda_offdiag=0.01, eps=1e-12).parts(z1, z2)
    assert torch.allclose(parts.correlation, torch.tensor([[0.5, -0.5], [0.5, -0.5]]), atol=1e-6)
    assert parts.on_diag.item() == pytest.approx(2.5, abs=1e-5)
    assert parts.off_diag.item() == pytest.approx(0.005, abs=1e-6)
    assert parts.total.item() == pytest.approx(2.505, abs=1e-5)


def test_equal_views_reach_the_documented_floor():
    """The diagonal ends at (N - 1) / N: 128 dimensions of 256 samples leave 128 / 256^2 = 0.00195."""
    z = torch.linalg.qr(torch.randn(256, 129, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    z = z - z.mean(0)
    z = torch.linalg.qr(z)[0][:, :128].float()
    on = BarlowTwinsLoss().parts(z, z).on_diag.item()
    assert on == pytest.approx(0.00195, abs=2e-5)


def test_constant_dimension_has_a_finite_gradient():
    z1 = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    z1[:, 3] = 7.0
    z1.requires_grad_()
    loss, count = BarlowTwinsLoss()(z1, z1 * 1.5)
    loss.backward()
    assert count == 1
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()


def test_loss_needs_two_samples():
    with pytest.raises(ZooError, match="at least 2"):
        BarlowTwinsLoss()(torch.ones(1, 4), torch.ones(1, 4))


def test_mixup_term_vanishes_for_an_exact_mixture():
    """The cross-correlations of a linear mixture of standardised views are the mixture of theirs, so with share 1 and
    zm = za the term is 0; with another view it is not."""
    g = torch.Generator().manual_seed(0)
    za, zb = torch.randn(64, 4, generator=g), torch.randn(64, 4, generator=g)
    loss, order = BarlowTwinsLoss(lambda_offdiag=1.0), torch.arange(64)
    assert mixup_term(loss, za, zb, za, order, 1.0).item() == pytest.approx(0, abs=1e-8)
    assert mixup_term(loss, za, zb, zb, order, 1.0).item() > 1


def _trained(rank, world, meet, out):
    """Three steps of a small network; process 0 keeps loss and weights. What a task does, without what surrounds it."""
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=world)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
    model = torch.nn.parallel.DistributedDataParallel(net) if world > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    x = torch.randn(2, 24, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        optimizer.zero_grad()
        z = model(x[:, rank * 24 // world : (rank + 1) * 24 // world].flatten(0, 1))
        loss = BarlowTwinsLoss(0.05).parts(*map(gather_all, z.chunk(2))).total
        loss.backward()
        optimizer.step()
    if rank == 0:
        torch.save([loss.detach(), *(p.detach() for p in net.parameters())], out)


def test_two_processes_train_as_one(tmp_path):
    one, two, meet = tmp_path / "one.pt", tmp_path / "two.pt", tmp_path / "meet"
    context = multiprocessing.get_context("fork")  # torch is imported once, not three times
    running = [context.Process(target=_trained, args=(rank, 2, meet, two)) for rank in (0, 1)]
    running += [context.Process(target=_trained, args=(0, 1, meet, one))]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    assert [process.exitcode for process in running] == [0, 0, 0]
    pairs = zip(torch.load(one, weights_only=True), torch.load(two, weights_only=True), strict=True)
    for alone, together in pairs:
        assert torch.allclose(alone, together, atol=1e-5)


def test_cross_entropy_sums_over_labelled_pixels():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]])
    total, count = PixelCrossEntropy()(logits, torch.tensor([0, 1, -1]))
    assert count == 2
    assert total.item() == pytest.approx(np.log(2) + np.log(1 + np.exp(2)), rel=1e-6)
    weighted, _ = PixelCrossEntropy(weights=[3.0, 1.0])(logits, torch.tensor([0, 1, -1]))
    assert weighted.item() == pytest.approx(3 * np.log(2) + np.log(1 + np.exp(2)), rel=1e-6)


def test_focal_loss_by_hand():
    """p = 1/2, gamma 2: (1/2)^2 log 2; gamma 0 is the cross-entropy."""
    logits, target = torch.tensor([[0.0, 0.0], [9.0, 9.0]]), torch.tensor([0, -1])
    total, count = PixelFocal(gamma=2)(logits, target)
    assert count == 1
    assert total.item() == pytest.approx(0.25 * np.log(2), rel=1e-6)
    some = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(20) % 5 - 1
    assert PixelFocal(0)(some, classes)[0].item() == pytest.approx(
        PixelCrossEntropy()(some, classes)[0].item(), rel=1e-5
    )


def test_effective_ranks():
    """Orthonormal columns use every dimension: RankMe D, normalised 1. One direction only: 1 and 0."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 16)))[0]
    full = effective_rank(q)
    assert full["rankme"] == pytest.approx(16, rel=1e-3)
    assert full["effective_rank"] == pytest.approx(1, rel=1e-3)
    flat = effective_rank(np.outer(np.arange(1, 201), np.ones(16)))
    assert flat["rankme"] == pytest.approx(1, abs=1e-3)
    gauss = effective_rank(np.random.default_rng(0).normal(size=(256, 128)))
    assert gauss["effective_rank"] == pytest.approx(0.984, abs=0.003)  # as documented


def test_collapse_is_said_in_one_line():
    assert collapse_line(20.0, 0.5, 64) is None
    for rankme, std in ((1.5, 0.5), (20.0, 1e-6)):
        line = collapse_line(rankme, std, 64)
        assert line.startswith("collapse")
        assert "\n" not in line
