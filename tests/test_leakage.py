"""What two splits share: measured against brute force, hand-worked numbers and properties."""

import numpy as np
import pytest
from eozoo_core.checking.leakage import copies, fingerprints, nearest_time, shared_pixels
from hypothesis import given, settings
from hypothesis import strategies as st

stamps = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(stamps, stamps)
def test_nearest_time_is_that_of_brute_force(one, two):
    index, between = nearest_time(np.array(one, "datetime64[s]"), np.array(two, "datetime64[s]"))
    for i, t in enumerate(one):
        assert between[i].astype(int) == min(abs(t - u) for u in two)
        assert abs(t - two[index[i]]) == between[i].astype(int)


def test_unknown_times_are_near_to_nothing():
    times = np.array(["2020-01-02", "NaT"], "datetime64[s]")
    index, between = nearest_time(times, np.array(["NaT", "2020-01-01T12:00"], "datetime64[s]"))
    assert index[0] == 1
    assert between[0] == np.timedelta64(12, "h")
    assert np.isnat(between[1])
    assert np.isnat(nearest_time(times, np.array(["NaT"], "datetime64[s]"))[1]).all()


def image(seed, bands=3, side=40):
    return np.random.default_rng(seed).normal(size=(bands, side, side)).astype("float32")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3), st.booleans(), st.integers(0, 15), st.integers(0, 15))
def test_the_same_ground_is_known_turned_mirrored_and_cut(seed, turns, mirrored, row, col):
    whole = image(seed, bands=1 + seed % 3)
    part = whole[:, row : row + 25, col : col + 25]
    part = np.rot90(part, turns, axes=(1, 2))
    part = part[:, ::-1] if mirrored else part
    mine = fingerprints(part)
    assert len(mine) > 24 * 24 / 8 / 2
    assert np.isin(mine, fingerprints(whole)).all()
    assert shared_pixels([fingerprints(whole)], [mine]) == [(0, 0, 1.0)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000))
def test_other_ground_shares_nothing(seed):
    assert shared_pixels([fingerprints(image(seed))], [fingerprints(image(seed + 1))]) == []


def test_bands_in_another_order_and_other_values_are_other_ground():
    one = image(0)
    assert shared_pixels([fingerprints(one)], [fingerprints(one[::-1])]) == []
    assert shared_pixels([fingerprints(one)], [fingerprints(one * np.float32(1.01))]) == []


def test_missing_even_and_repeated_squares_say_nothing():
    assert len(fingerprints(np.full((3, 40, 40), np.nan, "float32"))) == 0
    assert len(fingerprints(np.zeros((3, 40, 40), "float32"))) == 0
    stripes = np.tile(np.array([0.0, 1.0], "float32"), (3, 40, 20))
    assert len(fingerprints(stripes)) == 0
    for part, rest in ((np.s_[:, :, :20], np.s_[:, :, 20:]), (np.s_[:, 20:], np.s_[:, :20])):
        hole = image(0)
        hole[:1][part] = np.nan
        assert (fingerprints(hole) == fingerprints(image(0)[rest])).all()


def test_half_an_image_is_half_shared_and_the_largest_share_comes_first():
    one = image(0)
    half = np.concatenate([one[:, :20], image(1)[:, 20:]], axis=1)
    found = shared_pixels([fingerprints(image(5)), fingerprints(one)], [fingerprints(half), fingerprints(one)])
    assert [(i, j) for i, j, _ in found] == [(1, 1), (1, 0)]
    assert found[0][2] == 1.0
    assert found[1][2] == pytest.approx(0.5, abs=0.1)


def test_few_grey_levels_are_no_leak():
    random = np.random.default_rng(0)
    for levels in (3, 12):  # 15 and 1,365 different squares, of 3,969 in each image
        dark = [random.integers(0, levels, (1, 64, 64)).astype("float32") for _ in range(2)]
        assert shared_pixels(*([fingerprints(a)] for a in dark)) == []


def test_copies_are_found_by_content_not_by_name_nor_by_their_ends(tmp_path):
    content = np.random.default_rng(0).bytes(100_000)
    middle = bytearray(content)
    middle[50_000] ^= 1  # both ends are the same
    files = [tmp_path / name for name in "abdce"]
    for file, data in zip(files, (content, content[:-1] + b"x", content[::-1], content, middle), strict=True):
        file.write_bytes(data)
    assert copies(files) == {3: 0}
    assert copies([files[1], files[1]]) == {1: 0}


def test_copies_are_those_of_the_first(tmp_path):
    files = [tmp_path / f"{i}.bin" for i in range(5)]
    for file, content in zip(files, (b"a", b"b", b"a", b"c", b"a"), strict=True):
        file.write_bytes(content * 100)
    assert copies(files) == {2: 0, 4: 0}
