"""Channel statistics: hand-worked numbers, and equality with numpy over any split into chunks."""

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.score.statistics import ChannelStatistics
from hypothesis import given, settings
from hypothesis import strategies as st


def of(*chunks, names=("a", "b")):
    statistics = ChannelStatistics(names)
    for chunk in chunks:
        statistics.update(np.asarray(chunk))
    return statistics


def test_by_hand():
    statistics = of([[1.0, 3.0], [np.nan, 10.0]], [[5.0], [np.nan]])
    assert statistics.count.tolist() == [3, 1]
    np.testing.assert_allclose(statistics.mean, [3, 10])
    np.testing.assert_allclose(statistics.std, [np.sqrt(8 / 3), 0])
    assert statistics.minimum.tolist() == [1, 10]
    assert statistics.maximum.tolist() == [5, 10]


def test_pooled_not_averaged():
    """One chunk of one value and one of three: the mean is (0 + 4 + 4 + 4) / 4, not (0 + 4) / 2."""
    assert of([[0.0]], [[4.0, 4.0, 4.0]], names=["a"]).mean[0] == 3


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=6), st.sampled_from([0.0, 1e3, 1e6]))
def test_equals_numpy_for_any_split(seed, cuts, offset):
    rng = np.random.default_rng(seed)
    values = offset + rng.normal(size=(2, 60)) * [[1.0], [1e-3]]
    values[:, 1:][rng.random((2, 59)) < 0.3] = np.nan
    chunks = np.split(values, sorted(cuts), axis=1)
    statistics = of(*chunks)
    assert statistics.count.tolist() == (~np.isnan(values)).sum(axis=1).tolist()
    np.testing.assert_allclose(statistics.mean, np.nanmean(values, axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.std, np.nanstd(values, axis=1), rtol=1e-7, atol=1e-12)
    np.testing.assert_array_equal(statistics.minimum, np.nanmin(values, axis=1))
    np.testing.assert_array_equal(statistics.maximum, np.nanmax(values, axis=1))


def test_float32_with_large_mean_keeps_its_spread():
    values = (1e4 + np.tile([0.0, 0.015625], 50_000)).astype(np.float32)[None]
    assert of(values, names=["a"]).std[0] == pytest.approx(0.0078125, rel=1e-9)


def test_nothing_seen_is_nan_without_a_warning():
    statistics = of(np.full((2, 3), np.nan), np.empty((2, 0)))
    for numbers in (statistics.mean, statistics.std, statistics.minimum, statistics.maximum):
        assert np.isnan(numbers).all()


def test_unusable_channels_are_named():
    with pytest.raises(ZooError, match=r"train: .*channel VH is missing"):
        of([[1.0, 2.0], [np.nan, np.nan]], names=["VV", "VH"]).require_spread("train")
    with pytest.raises(ZooError, match=r"VH \(always 0\.1\)"):
        of([[1.0, 2.0], [0.1, 0.1]], [[3.0], [0.1]], names=["VV", "VH"]).require_spread("train")
    with pytest.raises(ZooError, match="VV holds infinite"):
        of([[1.0, np.inf]], [[2.0, 3.0]], names=["VV"]).require_spread("train")
    of([[1.0, 2.0], [0.1, 0.2]]).require_spread("train")


def test_wrong_channels_are_refused():
    with pytest.raises(ZooError, match="expected 2 channels"):
        of(np.zeros((3, 4)))
