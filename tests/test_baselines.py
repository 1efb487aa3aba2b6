"""The training mean and ridge regression: by hand, against other solvers, and pooled."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from eozoo_core.score.baselines import Ridge, RidgeFit
from hypothesis import given
from hypothesis import strategies as st


def fitted(x, y, **how):
    x, y = np.atleast_2d(np.asarray(x, float)), np.asarray(y, float)
    fit = RidgeFit(len(x))
    fit.update(x, y)
    return fit.solve(**how)


def test_two_samples_without_a_penalty_are_met_exactly():
    found = fitted([1, 3], [10, 14], penalty=0)
    assert found.weights == (2,)
    assert found.intercept == 8
    assert (found.mean, found.std) == (12, 2)
    assert found.residual == pytest.approx(1e-6)  # never 0: it serves as a standard deviation
    assert found.predict(np.array([[2.0, np.nan]])).tolist()[0] == 12
    assert np.isnan(found.predict(np.array([[2.0, np.nan]]))[1])


def test_a_penalty_of_as_many_samples_halves_the_weight():
    """x = -1, 0, 1, 2 scaled to unit spread: weight = covariance / (1 + penalty / n) = half at penalty = n."""
    x, y = [-1, 0, 1, 2], [-2, 0, 2, 4]
    assert fitted(x, y, penalty=4.0).weights == pytest.approx((1,))
    assert fitted(x, y, penalty=4.0).intercept == pytest.approx(1 - 0.5)  # through the means, (0.5, 1)
    assert fitted(x, y, penalty=4.0).residual == pytest.approx(np.sqrt(1.25))  # errors are 1 x (x - 0.5)


def test_a_penalty_per_sample_is_on_the_features_as_they_are():
    """Variance of x 1.25, covariance 2.5: 2.5 / (1.25 + 1.25) = 1, however often the samples are seen."""
    x, y = [-1, 0, 1, 2], [-2, 0, 2, 4]
    for times in (1, 10):
        assert fitted(x * times, y * times, penalty=1.25, per_sample=True).weights == pytest.approx((1,))
    assert fitted(x * 10, y * 10, penalty=4.0).weights == pytest.approx((20 / 11,))


@pytest.mark.parametrize("how", [{"penalty": 0.0}, {"penalty": 1.0}, {"penalty": 0.1, "per_sample": True}])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1234.567])
def test_a_feature_without_spread_gets_no_weight(how, constant):
    x = np.random.default_rng(0).normal(size=50)
    alone, beside = fitted(x, 3 * x + 1, **how), fitted([x, np.full(50, constant)], 3 * x + 1, **how)
    assert beside.weights == (pytest.approx(alone.weights[0]), 0)
    assert beside.intercept == pytest.approx(alone.intercept)


def test_what_misses_something_is_left_out():
    x = np.array([[1, 2, np.nan, 4, 5], [0, 1, 0, 1, np.inf]])
    y = np.array([1, np.nan, 3, 4, 5.0])
    fit = RidgeFit(2)
    fit.update(x, y)
    assert fit.count == 2
    assert fit.solve() == fitted(x[:, [0, 3]], y[[0, 3]])
    fit.update(x[:, :0], y[:0])
    assert fit.count == 2


def test_the_record_restores_the_prediction_exactly():
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 4, 5)).astype("float32")
    found = fitted(random.normal(size=(3, 30)), random.normal(size=30))
    again = Ridge(**json.loads(json.dumps(asdict(found))))
    np.testing.assert_array_equal(again.predict(x), found.predict(x))
    assert found.predict(x).shape == (4, 5)


samples = st.tuples(st.integers(0, 1000), st.integers(1, 4), st.integers(6, 40))


def world(drawn):
    seed, features, n = drawn
    random = np.random.default_rng(seed)
    x = random.normal(random.uniform(-5, 5, (features, 1)), random.uniform(0.1, 3, (features, 1)), (features, n))
    return x, random.normal(size=features) @ x + random.normal(size=n)


@given(samples)
def test_without_a_penalty_it_is_least_squares(drawn):
    x, y = world(drawn)
    design = np.vstack([x, np.ones(len(y))]).T
    expected = np.linalg.lstsq(design, y, rcond=None)[0]
    found = fitted(x, y, penalty=0)
    np.testing.assert_allclose([*found.weights, found.intercept], expected, rtol=1e-6, atol=1e-6)
    assert found.residual == pytest.approx(np.sqrt(((design @ expected - y) ** 2).mean()), rel=1e-5, abs=1e-5)


@given(samples, st.floats(0.01, 100))
def test_with_one_it_is_that_of_scikit_learn(drawn, penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = world(drawn)
    raw = linear_model.Ridge(alpha=penalty * len(y), solver="cholesky").fit(x.T, y)
    found = fitted(x, y, penalty=penalty, per_sample=True)
    np.testing.assert_allclose([*found.weights, found.intercept], [*raw.coef_, raw.intercept_], rtol=1e-6, atol=1e-6)
    scale = x.std(axis=1)
    unit = linear_model.Ridge(alpha=penalty, solver="cholesky").fit((x.T - x.mean(axis=1)) / scale, y)
    np.testing.assert_allclose(fitted(x, y, penalty=penalty).weights, unit.coef_ / scale, rtol=1e-6, atol=1e-6)


@given(samples, st.integers(1, 5))
def test_sums_of_parts_are_those_of_the_whole(drawn, cut):
    x, y = world(drawn)
    pooled = RidgeFit(len(x))
    pooled.update(x[:, :cut], y[:cut])
    pooled.update(x[:, cut:], y[cut:])
    assert pooled.count == len(y)
    whole = fitted(x, y)
    np.testing.assert_allclose([*pooled.solve().weights], whole.weights, rtol=1e-8, atol=1e-9)
    assert pooled.solve().mean == pytest.approx(whole.mean)
