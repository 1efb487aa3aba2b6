"""Metrics: hand-worked numbers, equality over any batching and any number of processes, and hard numbers."""

import json
import math
import warnings

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.score.metrics import COLUMNS, RegressionMetrics
from hypothesis import given, settings
from hypothesis import strategies as st

NAN = np.nan
EDGES = [0, 5, 10, 20, 30, math.inf]


def of(pred, target, strata=None, **options):
    metrics = RegressionMetrics(strata)
    metrics.update(np.asarray(pred, np.float64), np.asarray(target, np.float64), **options)
    return metrics


def test_by_hand():
    """Errors 1, -2, 3: bias 2/3, MAE 2, RMSE sqrt(14/3); targets 2, 4, 6: mean 4, spread 8, so R2 = 1 - 14/8."""
    result = of([3, 2, 9, 7, NAN, NAN], [2, 4, 6, NAN, 5, NAN]).compute()
    assert result == {
        "n": 3,
        "n_unpredicted": 1,
        "n_missing": 3,
        "rmse": pytest.approx(math.sqrt(14 / 3)),
        "mae": pytest.approx(2),
        "bias": pytest.approx(2 / 3),
        "r2": pytest.approx(-0.75),
        "relative_rmse_percent": pytest.approx(100 * math.sqrt(14 / 3) / 4),
        "target_mean": pytest.approx(4),
    }


def test_likelihoods_by_hand():
    """Error 1 with std 1, error 2 with std 2: both are the density at one standard deviation."""
    std = np.array([1.0, 2.0, NAN, -1.0])
    result = of([1, 2, 5, 5], [0, 0, 0, NAN], std=std).compute()
    assert result["n_std"] == 2
    gaussian = [-math.log(math.exp(-0.5) / (math.sqrt(2 * math.pi) * s)) for s in (1, 2)]
    laplace = [-math.log(math.exp(-math.sqrt(2)) / (math.sqrt(2) * s)) for s in (1, 2)]
    assert result["gaussian_nll"] == pytest.approx(np.mean(gaussian))
    assert result["laplace_nll"] == pytest.approx(np.mean(laplace))
    with pytest.raises(ZooError, match="standard deviation is 0"):
        of([1], [1], std=np.zeros(1))


def test_likelihoods_equal_torch():
    torch = pytest.importorskip("torch")
    pred, target, std = torch.randn(3, 50, dtype=torch.float64) + torch.tensor([[0.0], [0.0], [9.0]])
    metrics = RegressionMetrics()
    metrics.update(pred.numpy(), target.numpy(), std=std.numpy())
    result = metrics.compute()
    normal, laplace = torch.distributions.Normal(pred, std), torch.distributions.Laplace(pred, std / math.sqrt(2))
    assert result["gaussian_nll"] == pytest.approx(-normal.log_prob(target).mean().item(), rel=1e-12)
    assert result["laplace_nll"] == pytest.approx(-laplace.log_prob(target).mean().item(), rel=1e-12)


def test_strata_own_their_lower_edge():
    target = [-1, 0, 4.999, 5, 10, 29, 30, 1000]
    strata = of(np.add(target, 1), target, EDGES).compute()["strata"]
    assert [s["n"] for s in strata] == [2, 1, 1, 1, 2]  # -1 is in none
    assert [(s["from"], s["to"]) for s in strata] == [(0, 5), (5, 10), (10, 20), (20, 30), (30, None)]
    assert strata[0]["bias"] == pytest.approx(1)
    assert of([1, 1], [1, NAN], EDGES).compute()["strata"][4]["rmse"] is None


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_to_compare_is_none_without_a_warning(values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = of(values, values, EDGES, std=np.array(values)).compute()
    assert result["n"] == 0
    assert {result[key] for key in ("rmse", "mae", "bias", "r2", "relative_rmse_percent", "target_mean")} == {None}
    assert json.loads(json.dumps(result, allow_nan=False))["n_missing"] == len(values)


def test_undefined_ratios_are_none():
    assert of([1, 2], [3, 3]).compute()["r2"] is None
    assert of([0, 1], [-1, 1]).compute()["relative_rmse_percent"] is None
    result = of([math.inf, 1], [1, 2]).compute()
    assert (result["n"], result["rmse"], result["r2"]) == (2, None, None)


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1e3, 1e-3), (1e3 + 0.5, 1e-4), (1e6, 0.1), (1e-4, 1e-6)])
def test_r2_keeps_a_small_spread_about_a_large_mean(mean, spread):
    rng = np.random.default_rng(0)
    target = mean + spread * rng.normal(size=20_000)
    pred = target + 0.5 * spread * rng.normal(size=20_000)
    metrics = RegressionMetrics()
    for p, t in zip(np.array_split(pred, 7), np.array_split(target, 7)):
        metrics.update(p, t)
    expected = 1 - ((pred - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()
    assert metrics.compute()["r2"] == pytest.approx(expected, rel=1e-6)


def samples(seed, n=80):
    rng = np.random.default_rng(seed)
    target, pred = rng.gamma(2, 8, n), rng.gamma(2, 8, n)
    target[rng.random(n) < 0.3] = NAN
    pred[rng.random(n) < 0.1] = NAN
    return pred, target, rng.uniform(0.5, 3, n)


def assert_same_sums(actual, expected):
    """Counts equal; sums to 1e-12 of the sum of their absolute values (errors may cancel)."""
    a, e = (s.reshape(-1, len(COLUMNS)) for s in (actual, expected))
    counts = [COLUMNS.index(c) for c in ("n", "unpredicted", "missing", "n_std")]
    np.testing.assert_array_equal(a[:, counts], e[:, counts])
    scale = np.abs(e).max(axis=1, keepdims=True)
    assert (np.abs(a - e) <= 1e-12 * scale).all()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 80), max_size=8), st.integers(1, 4))
def test_same_over_any_batching_and_any_processes(seed, cuts, processes):
    pred, target, std = samples(seed)
    whole = of(pred, target, EDGES, std=std)
    parts = [RegressionMetrics(EDGES) for _ in range(processes)]
    for i, (p, t, s) in enumerate(zip(*(np.split(values, sorted(cuts)) for values in (pred, target, std)))):
        parts[i % processes].update(p.reshape(1, -1, 1), t.reshape(1, -1, 1), std=s.reshape(1, -1, 1))
    added = RegressionMetrics.from_sums(sum(part.sums() for part in parts), EDGES)
    assert_same_sums(added.sums(), whole.sums())
    result, valid = added.compute(), ~np.isnan(pred - target)
    error = (pred - target)[valid]
    assert result["rmse"] == pytest.approx(math.sqrt((error**2).mean()))
    assert result["n_missing"] == 80 - result["n"]


def test_chunks_inside_an_update_change_nothing(monkeypatch):
    pred, target, std = samples(0)
    whole = of(pred, target, EDGES, std=std)
    monkeypatch.setattr("eozoo_core.score.metrics._CHUNK", 7)
    assert_same_sums(of(pred, target, EDGES, std=std).sums(), whole.sums())


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ZooError, match="one shape"):
        of([1, 2], [1])
    with pytest.raises(ZooError, match="strata"):
        RegressionMetrics([5, 5])
    with pytest.raises(ZooError, match="sums of shape"):
        RegressionMetrics.from_sums(np.zeros(3))
