"""Windows and blending: hand-worked numbers and properties over every size, window and overlap."""

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.raster.tiles import Blender, Tiling, Window, blend_weights, weights_along
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def tilings(draw):
    """A tiling of windows up to 12 px, with sides that are fixed (0) or free; multiples of 4 for one."""
    window = draw(st.integers(1, 12))
    return Tiling(window, draw(st.integers(0, window - 1)), draw(st.sampled_from([0, 1, 4])))


@st.composite
def rasters(draw):
    """(height, width, tiling), rasters smaller than the window included."""
    return draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(tilings())


def blend(image, tiling, predict=lambda values: values):
    _, height, width = image.shape
    blender = Blender(height, width, image.shape[0], tiling)
    rows = [blender.add(w, predict(image[(slice(None), *w.slices)])) for w in tiling.windows(height, width)]
    return np.concatenate([*rows, blender.close()], axis=1)


def test_windows_are_spread_evenly_by_hand():
    assert Tiling(4, 1).starts(10) == [0, 3, 6]
    assert Tiling(4, 1).starts(11) == [0, 2, 4, 7]  # four of them, 7 pixels in three steps
    assert Tiling(4, 0).starts(4) == [0]
    assert Tiling(4, 2).windows(3, 5) == [Window(0, 0, 3, 4), Window(0, 1, 3, 4)]
    assert len(Tiling(512, 24).windows(1000, 1000)) == 4
    assert Tiling(512, 24).starts(1000) == [0, 488]


def test_windows_are_no_larger_than_their_number_asks_for():
    # 1,000 px with 64 shared take three windows of 512; three of (1000 + 2 * 64) / 3 = 376 cover it too, 384 is 24 * 16
    free = Tiling(512, 64, 1)
    assert (free.side(1000), free.starts(1000)) == (384, [0, 308, 616])
    assert (Tiling(512, 64).side(1000), Tiling(512, 64).starts(1000)) == (512, [0, 244, 488])
    assert (Tiling(512, 64, 14).side(1000), Tiling(512, 64, 32).side(1000)) == (392, 384)  # 14 * 28, 32 * 12
    assert Tiling(512, 64, 1).side(600) == 336  # two of 332


def test_what_is_smaller_than_a_window_is_seen_as_it_is():
    assert (Tiling(64, 16).side(50), Tiling(64, 16).padded(50)) == (50, 64)  # sides that the network takes: not known
    assert (Tiling(64, 16, 1).side(50), Tiling(64, 16, 1).padded(50)) == (50, 50)
    assert (Tiling(64, 16, 8).side(50), Tiling(64, 16, 8).padded(50)) == (50, 56)
    assert Tiling(60, 16, 8).padded(59) == 60  # the window is what was set


@pytest.mark.parametrize(("window", "overlap"), [(4, 4), (0, 0), (4, -1), (-1, -2)])
def test_nonsense_is_refused(window, overlap):
    with pytest.raises(ZooError, match=f"window {window} and overlap {overlap}"):
        Tiling(window, overlap)


def test_empty_raster_is_refused():
    with pytest.raises(ZooError, match="nothing to predict"):
        Tiling(4, 0).windows(0, 10)


@given(st.integers(1, 400), tilings())
def test_windows_cover_an_axis_share_what_is_asked_for_and_none_is_too_many(length, tiling):
    starts, side = tiling.starts(length), tiling.side(length)
    assert (starts[0], starts[-1] + side) == (0, length)
    assert 1 <= side <= tiling.window
    steps = np.diff(starts)
    assert (steps >= 1).all()
    assert (side - steps >= tiling.overlap).all()
    assert steps.size == 0 or steps.max() - steps.min() <= 1
    fewest = 1 if length <= tiling.window else -(-(length - tiling.overlap) // (tiling.window - tiling.overlap))
    assert len(starts) <= fewest
    assert tiling.padded(side) >= side
    if tiling.multiple and tiling.window % tiling.multiple == 0:
        assert tiling.padded(side) % tiling.multiple == 0


def test_weights_by_hand():
    # sin^2(pi/8) and sin^2(3 pi/8)
    np.testing.assert_allclose(blend_weights(6, 2, 2), [0.1464466, 0.8535534, 1, 1, 0.8535534, 0.1464466], atol=1e-7)
    np.testing.assert_allclose(blend_weights(4, 0, 2), [1, 1, 0.8535534, 0.1464466], atol=1e-7)
    np.testing.assert_array_equal(blend_weights(3, 0, 0), [1, 1, 1])
    np.testing.assert_array_equal(blend_weights(1, 0, 0), [1])
    first, last = weights_along([0, 3], 5)  # they share two pixels
    np.testing.assert_allclose(first[3:] + last[:2], [1, 1], rtol=1e-12)
    assert (first[:3] == 1).all()
    assert (last[2:] == 1).all()


@given(st.integers(1, 400), tilings())
def test_weights_are_positive_and_a_partition_of_unity(length, tiling):
    starts, side = tiling.starts(length), tiling.side(length)
    total = np.zeros(length)
    for start, weights in zip(starts, weights_along(starts, side), strict=True):
        assert weights.shape == (side,)
        assert (weights > 0).all()
        assert (weights <= 1).all()
        total[start : start + side] += weights
    if all(2 * (side - step) <= side for step in np.diff(starts)):  # no pixel lies in three windows
        np.testing.assert_allclose(total, 1, rtol=1e-12)


@settings(deadline=None)
@given(rasters(), st.integers(0, 2**32 - 1))
def test_identity_reproduces_its_input_bit_for_bit(raster, seed):
    height, width, tiling = raster
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(2, height, width)) * 10.0 ** rng.integers(-6, 7)).astype(np.float32)
    image[rng.random(image.shape) < 0.2] = np.nan
    np.testing.assert_array_equal(blend(image, tiling), image)


@given(rasters())
def test_constant_prediction_is_constant(raster):
    height, width, tiling = raster
    out = blend(np.zeros((1, height, width), np.float32), tiling, lambda v: np.full_like(v, 0.1))
    np.testing.assert_array_equal(out, np.full_like(out, np.float32(0.1)))


def test_two_windows_by_hand():
    # 1 x 6 pixels, windows at 0 and 2, which share 2 pixels: 0.1464 and 0.8536, which sum to 1
    blender = Blender(1, 6, 1, Tiling(4, 2))
    assert blender.add(Window(0, 0, 1, 4), np.zeros((1, 1, 4))).shape == (1, 0, 6)
    blender.add(Window(0, 2, 1, 4), np.ones((1, 1, 4)))
    np.testing.assert_allclose(blender.close()[0, 0], [0, 0, 0.1464466, 0.8535534, 1, 1], atol=1e-7)


def test_nan_of_one_window_leaves_the_other_and_bands_are_independent():
    blender = Blender(1, 6, 2, Tiling(4, 2))
    first = np.full((2, 1, 4), 3.0)
    first[0, 0, 1:] = np.nan
    second = np.full((2, 1, 4), 5.0)
    second[0, 0, 0] = np.nan
    blender.add(Window(0, 0, 1, 4), first)
    blender.add(Window(0, 2, 1, 4), second)
    out = blender.close()
    np.testing.assert_array_equal(out[0, 0], [3, np.nan, np.nan, 5, 5, 5])
    np.testing.assert_allclose(out[1, 0], [3, 3, 3.292893, 4.707107, 5, 5], rtol=1e-6)


@given(st.integers(1, 200), tilings())
def test_memory_is_a_strip_and_rows_come_as_early_as_they_can(height, tiling):
    blender = Blender(height, 20, 1, tiling)
    assert blender._sum.shape[1] <= min(tiling.window, height)
    done = 0
    for window in tiling.windows(height, 20):
        done += blender.add(window, np.zeros((1, window.height, window.width), np.float32)).shape[1]
        assert done == window.row  # everything above the current window is out
    assert done + blender.close().shape[1] == height


def test_no_seam_where_windows_disagree():
    # windows alternate between 0 and 1, the hardest case: neighbours may differ by at most the steepest ramp step
    blender, windows = Blender(8, 200, 1, Tiling(64, 18)), Tiling(64, 18).windows(8, 200)
    assert [window.col for window in windows] == [0, 45, 90, 136]
    for i, window in enumerate(windows):
        blender.add(window, np.full((1, 8, 64), i % 2, np.float32))
    steps = np.abs(np.diff(blender.close()[0], axis=1))
    assert steps.max() < np.pi / 2 / 18 * 1.01  # slope of sin^2 over a ramp of 18 pixels, the least that is shared


def test_wrong_order_wrong_shape_and_missing_windows_are_bugs():
    blender = Blender(8, 8, 1, Tiling(4, 0))
    with pytest.raises(ValueError, match="order"):
        blender.add(Window(4, 0, 4, 4), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="shape"):
        Blender(8, 8, 1, Tiling(4, 0)).add(Window(0, 0, 4, 4), np.zeros((2, 4, 4)))
    blender.add(Window(0, 0, 4, 4), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="1 of 4"):
        blender.close()
