"""Which dates are seen: distributions, order, repeatability, and the shuffle over all pixels."""

from math import comb

import numpy as np
from eozoo_barlow_twins.permutation import key32, permute
from eozoo_barlow_twins.settings import Augment
from eozoo_barlow_twins.views import augment, even_dates, gather, random_bits, random_dates
from hypothesis import given, settings
from hypothesis import strategies as st


@given(n=st.integers(1, 5000), key=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_permutation_visits_every_pixel_once(n, key):
    assert sorted(permute(np.arange(n), n, key).tolist()) == list(range(n))


def test_permutation_of_a_part_is_the_part_of_the_permutation():
    whole = permute(np.arange(1000), 1000, 7)
    assert (permute(np.arange(400, 500), 1000, 7) == whole[400:500]).all()


def test_permutation_mixes():
    """Neighbours end up a third of the range apart on average, as for a uniform shuffle; another key, another order."""
    n = 100_000
    order = permute(np.arange(n), n, key32(1, 2))
    assert abs(np.abs(np.diff(order)).mean() / n - 1 / 3) < 0.01
    assert abs(np.corrcoef(np.arange(n), order)[0, 1]) < 0.02
    assert (permute(np.arange(n), n, key32(1, 3)) != order).mean() > 0.99


def test_permutation_works_beyond_32_bits():
    some = permute(np.arange(10**6, 10**6 + 1000), 10**12, 5)
    assert len(set(some.tolist())) == 1000
    assert some.min() >= 0
    assert some.max() < 10**12
    assert some.max() > 9 * 10**11


@given(
    clear=st.lists(st.lists(st.booleans(), min_size=20, max_size=20), min_size=1, max_size=8),
    key=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_drawn_dates_are_clear_distinct_and_in_order(clear, key):
    clear = np.array(clear)
    clear[:, :5] = True  # at least as many as are drawn
    for dates in (random_dates(clear, 5, key, np.arange(len(clear))), even_dates(clear, 5), even_dates(clear, 5, 2, 3)):
        assert dates.shape == (len(clear), 5)
        assert np.take_along_axis(clear, dates, 1).all()
        assert (np.diff(dates, axis=1) > 0).all()


def test_every_subset_is_equally_likely():
    """2 of 5 clear dates: 10 subsets; chi-square with 9 degrees of freedom, 99.99 % quantile 33.7."""
    clear = np.zeros((40000, 9), bool)
    clear[:, [0, 2, 3, 7, 8]] = True
    dates = random_dates(clear, 2, 11, np.arange(40000))
    _, counts = np.unique(dates[:, 0] * 9 + dates[:, 1], return_counts=True)
    assert len(counts) == comb(5, 2)
    assert ((counts - 4000) ** 2 / 4000).sum() < 33.7


def test_two_views_are_independent():
    """With 33 clear dates two draws of 16 share 16 * 16 / 33 = 7.76 on average (documented: 7.8)."""
    clear = np.ones((20000, 33), bool)
    a, b = (random_dates(clear, 16, key32(0, 0, 0, view), np.arange(20000)) for view in (0, 1))
    chosen = np.zeros((2, 20000, 33), bool)
    np.put_along_axis(chosen[0], a, True, 1)
    np.put_along_axis(chosen[1], b, True, 1)
    assert abs((chosen[0] & chosen[1]).sum(1).mean() - 16 * 16 / 33) < 0.05


def test_draw_of_a_pixel_does_not_depend_on_its_batch():
    clear = np.random.default_rng(0).random((50, 40)) < 0.7
    items = np.arange(100, 150) * 10**10
    whole = random_dates(clear, 8, 3, items)
    assert (random_dates(clear[20:30], 8, 3, items[20:30]) == whole[20:30]).all()
    assert (random_dates(clear, 8, 4, items) != whole).any()


def test_even_dates_by_hand():
    """8 clear dates, 4 chosen: one pass takes the second of each pair; two passes take all."""
    clear = np.array([[1, 0, 1, 1, 1, 0, 1, 1, 1, 1]], bool)
    places = np.flatnonzero(clear[0])
    assert even_dates(clear, 4)[0].tolist() == places[[1, 3, 5, 7]].tolist()
    both = np.concatenate([even_dates(clear, 4, p, 2)[0] for p in (0, 1)])
    assert sorted(both.tolist()) == places.tolist()


def test_even_dates_differ_in_length_per_pixel():
    clear = np.zeros((2, 10), bool)
    clear[0, :4] = True
    clear[1] = True
    dates = even_dates(clear, 4)
    assert dates[0].tolist() == [0, 1, 2, 3]
    assert dates[1].tolist() == [1, 3, 6, 8]


def test_gather_takes_bands_and_days():
    bands = np.arange(24, dtype=np.uint16).reshape(2, 4, 3)
    values, days = gather(bands, np.array([[0, 2], [1, 3]]), np.array([10, 20, 30, 40]))
    assert values.tolist() == [[[0, 1, 2], [6, 7, 8]], [[15, 16, 17], [21, 22, 23]]]
    assert days.tolist() == [[10, 30], [20, 40]]


def test_augmentations():
    values = np.random.default_rng(0).normal(1000, 200, (500, 16, 4)).astype(np.float32)
    mean, std = np.full(4, 1000.0), np.array([10.0, 20.0, 30.0, 40.0])
    items = np.arange(500)
    assert (augment(values, mean, std, Augment(), 1, items) == values).all()
    noisy = augment(values, mean, std, Augment(noise=0.5), 1, items)
    assert np.allclose((noisy - values).std((0, 1)), 0.5 * std, rtol=0.03)
    assert np.allclose((noisy - values).mean((0, 1)), 0, atol=1)
    dropped = augment(values, mean, std, Augment(band_dropout=0.3), 1, items)
    hidden = (dropped == 1000).all(1)
    assert abs(hidden.mean() - 0.3) < 0.03
    assert (dropped[~hidden[:, None, :].repeat(16, 1)] == values[~hidden[:, None, :].repeat(16, 1)]).all()
    dates = augment(values, mean, std, Augment(date_dropout=0.25), 1, items)
    same = (dates == values).all(2)
    assert abs((~same).mean() - 0.25 * 15 / 16) < 0.02  # the first date has none before it
    assert (dates[:, 1:][~same[:, 1:]] != values[:, 1:][~same[:, 1:]]).any()


def test_random_bits_are_uniform():
    bits = random_bits(5, np.arange(2000), 50)
    assert abs(bits.mean() / 2**32 - 0.5) < 0.005
    assert len(np.unique(bits)) > 99_990


def test_keys_are_the_scramble_of_arrays():
    from eozoo_barlow_twins.permutation import _mix, mix32

    some = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    assert [_mix(int(v)) for v in some] == mix32(some).tolist()
    assert len({key32(a, b) for a in range(50) for b in range(50)}) == 2500
