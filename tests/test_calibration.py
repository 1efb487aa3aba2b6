"""Numbers about uncertainty against hand-worked values, numerical integration and simulated truth."""

import math

import numpy as np
import pytest
from eozoo_core.score.calibration import (
    certain_curve,
    clustered_intervals,
    coverage,
    crps,
    half_width,
    judge,
    std_bins,
    variance_scale,
)
from eozoo_core.score.intervals import resampled_interval
from eozoo_core.task.spread import moments
from hypothesis import given
from hypothesis import strategies as st


def test_two_draws_by_hand():
    mean, aleatoric, epistemic = moments([(1.0, 4.0), (3.0, 2.0)])
    assert (mean, aleatoric, epistemic) == (2.0, 3.0, 1.0)
    assert moments([(1.5, None), (2.5, None)]) == (2.0, None, 0.25)
    assert moments([(1.5, 0.5)]) == (1.5, 0.5, 0.0)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e3)), min_size=1, max_size=8), st.floats(-1e6, 1e6))
def test_combined_draws_are_numpys_mean_and_population_variance(draws, far):
    means, variances = np.array(draws).T
    mean, aleatoric, epistemic = moments(zip(means + far, variances))
    np.testing.assert_allclose(mean, means.mean() + far, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(aleatoric, variances.mean(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(epistemic, means.var(), rtol=1e-4, atol=1e-4)


def test_coverage_counts_what_lies_inside():
    error, std = np.array([0.5, -1.0, 1.9, -2.1]), np.array([1.0, 1.0, 1.0, 1.0])
    assert coverage(error, std, [0.6827, 0.9545]) == [0.5, 0.75]
    assert half_width(0.6827) == pytest.approx(1, abs=1e-4)
    # Laplace with standard deviation 1 has b = 1 / sqrt(2): half of it lies within b ln 2
    assert half_width(0.5, "laplace") == pytest.approx(math.log(2) / math.sqrt(2))


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_crps_is_the_integral_of_squared_distance_of_distributions(kind):
    std, error = 2.5, -1.3
    x = np.linspace(-80, 80, 400_001)
    if kind == "gaussian":
        cdf = 0.5 * (1 + np.vectorize(math.erf)(x / std / math.sqrt(2)))
    else:
        b = std / math.sqrt(2)
        cdf = np.where(x < 0, 0.5 * np.exp(-np.abs(x) / b), 1 - 0.5 * np.exp(-np.abs(x) / b))
    target = -error  # prediction at 0
    expected = ((cdf - (x >= target)) ** 2).sum() * (x[1] - x[0])
    assert crps(np.array([error]), np.array([std]), kind) == pytest.approx(expected, rel=1e-3)


def test_a_sure_prediction_scores_its_absolute_error():
    assert crps(np.array([3.0]), np.array([1e-6])) == pytest.approx(3, rel=1e-5)


def test_the_variance_factor_makes_the_mean_square_one():
    error, std = np.array([2.0, -4.0]), np.array([1.0, 1.0])
    assert variance_scale(error, std) == 10
    assert variance_scale(error, std * math.sqrt(10)) == pytest.approx(1)


def test_bins_have_equal_counts_and_rise():
    std = np.arange(40, 0, -1.0)
    bins = std_bins(2 * std, std, bins=10, least=20)
    assert [b["n"] for b in bins] == [20, 20]
    assert bins[0]["std"] == pytest.approx(math.sqrt((np.arange(1, 21.0) ** 2).mean()))
    assert [b["rmse"] / b["std"] for b in bins] == pytest.approx([2, 2])
    assert len(std_bins(std[:5], std[:5])) == 1


def test_the_certain_curve_takes_the_smallest_std_first():
    curve = certain_curve(np.array([9.0, 1.0, 3.0, 5.0]), np.array([4.0, 1.0, 2.0, 3.0]), points=4)
    assert [c["share"] for c in curve] == [0.25, 0.5, 0.75, 1.0]
    assert [c["rmse"] ** 2 for c in curve] == pytest.approx([1, 5, 35 / 3, 29])


def test_a_calibrated_simulation_is_found_calibrated_and_an_overconfident_one_not():
    rng = np.random.default_rng(0)
    std = rng.uniform(1, 5, 20_000)
    error = std * rng.standard_normal(std.size)
    good, sure = judge(error, std), judge(error, std / 2)
    for entry in good["coverage"]:
        assert entry["observed"] == pytest.approx(entry["expected"], abs=0.015)
    assert good["mean_squared_z"] == pytest.approx(1, abs=0.03)
    assert sure["mean_squared_z"] == pytest.approx(4, abs=0.12)
    assert sure["coverage"][3]["observed"] < 0.65
    assert sure["crps"] > good["crps"]
    assert [b["rmse"] / b["std"] for b in good["std_bins"]] == pytest.approx([1] * 10, abs=0.06)
    laplace = rng.laplace(0, std / math.sqrt(2))
    assert coverage(laplace, std, [0.5, 0.9], "laplace") == pytest.approx([0.5, 0.9], abs=0.01)


def test_intervals_resample_patches_not_shots():
    rng = np.random.default_rng(1)
    patch = np.repeat(np.arange(30), 50)
    shared = rng.standard_normal(30)[patch]  # an error that the shots of a patch share
    found = clustered_intervals(shared, None, patch)
    alone = clustered_intervals(rng.standard_normal(1500), None, patch)
    assert found["bias"][1] - found["bias"][0] > 4 * (alone["bias"][1] - alone["bias"][0])
    assert found["bias"][0] < shared.mean() < found["bias"][1]
    assert "coverage_90" in clustered_intervals(shared, np.ones(1500), patch)
    assert clustered_intervals(shared[:250], None, patch[:250]) is None


def test_few_groups_widen_an_interval_and_bounds_hold():
    samples = np.linspace(0.0, 1.0, 1001)  # 2.5 % and 97.5 % of them: 0.025, 0.975
    factor = math.sqrt(8 / 7) * 2.364624 / 1.959964  # t of 7 degrees of freedom
    expected = [0.5 - 0.475 * factor, 0.5 + 0.475 * factor]
    assert resampled_interval(np.append(samples, np.nan), 0.5, 8) == pytest.approx(expected, abs=1e-6)
    assert resampled_interval(samples, 0.5, 8, (0, 1)) == [0, 1]
    wide = resampled_interval(samples, 0.5, 6)
    assert wide[0] < expected[0] < resampled_interval(samples, 0.5, 1000)[0] < 0.025
