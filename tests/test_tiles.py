"""Windows and blending: hand-worked numbers and properties over every size, window and stride."""

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.raster.tiles import Blender, Window, blend_weights, starts, windows
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def tilings(draw):
    """(height, width, size, stride), images smaller than the window included."""
    size = draw(st.integers(1, 12))
    return draw(st.integers(1, 40)), draw(st.integers(1, 40)), size, draw(st.integers(1, size))


def blend(image, size, stride, predict=lambda values: values):
    _, height, width = image.shape
    blender = Blender(height, width, image.shape[0], size, stride)
    rows = [blender.add(w, predict(image[(slice(None), *w.slices)])) for w in windows(height, width, size, stride)]
    return np.concatenate([*rows, blender.close()], axis=1)


def test_last_window_is_shifted_inside():
    assert starts(10, 4, 3) == [0, 3, 6]
    assert starts(11, 4, 3) == [0, 3, 6, 7]
    assert starts(4, 4, 4) == [0]
    assert starts(3, 4, 2) == [0]
    assert windows(3, 5, 4, 4) == [Window(0, 0, 3, 4), Window(0, 1, 3, 4)]


@pytest.mark.parametrize(("size", "stride"), [(4, 5), (0, 1), (4, 0), (-1, -1)])
def test_gaps_and_nonsense_are_refused(size, stride):
    with pytest.raises(ZooError, match=str(size)):
        windows(10, 10, size, stride)


def test_empty_raster_is_refused():
    with pytest.raises(ZooError, match="nothing to predict"):
        windows(0, 10, 4, 4)


@given(tilings())
def test_every_pixel_is_covered_and_windows_have_one_shape(tiling):
    height, width, size, stride = tiling
    cover = np.zeros((height, width), int)
    for window in windows(height, width, size, stride):
        assert (window.height, window.width) == (min(size, height), min(size, width))
        block = cover[window.slices]
        assert block.shape == (window.height, window.width)
        block += 1
    assert cover.min() >= 1


def test_weights_by_hand():
    # sin^2(pi/8) and sin^2(3 pi/8)
    np.testing.assert_allclose(blend_weights(6, 2), [0.1464466, 0.8535534, 1, 1, 0.8535534, 0.1464466], atol=1e-7)
    np.testing.assert_array_equal(blend_weights(3, 0), [1, 1, 1])
    np.testing.assert_array_equal(blend_weights(1, 0), [1])


@given(st.integers(1, 300), st.data())
def test_weights_are_positive_symmetric_and_a_partition_of_unity(size, data):
    overlap = data.draw(st.integers(0, size - 1))
    weights = blend_weights(size, overlap)
    assert weights.shape == (size,)
    assert (weights > 0).all()
    assert (weights <= 1).all()
    np.testing.assert_array_equal(weights, weights[::-1])
    if 0 < overlap <= size // 2:
        np.testing.assert_allclose(weights[-overlap:] + weights[:overlap], 1, rtol=1e-12)


@settings(deadline=None)
@given(tilings(), st.integers(0, 2**32 - 1))
def test_identity_reproduces_its_input_bit_for_bit(tiling, seed):
    height, width, size, stride = tiling
    rng = np.random.default_rng(seed)
    image = (rng.normal(size=(2, height, width)) * 10.0 ** rng.integers(-6, 7)).astype(np.float32)
    image[rng.random(image.shape) < 0.2] = np.nan
    np.testing.assert_array_equal(blend(image, size, stride), image)


@given(tilings())
def test_constant_prediction_is_constant(tiling):
    height, width, size, stride = tiling
    out = blend(np.zeros((1, height, width), np.float32), size, stride, lambda v: np.full_like(v, 0.1))
    np.testing.assert_array_equal(out, np.full_like(out, np.float32(0.1)))


def test_two_windows_by_hand():
    # 1 x 6 pixels, windows at 0 and 2; ramp of 2 pixels: 0.1464 and 0.8536, which sum to 1 in the overlap
    blender = Blender(1, 6, 1, 4, 2)
    assert blender.add(Window(0, 0, 1, 4), np.zeros((1, 1, 4))).shape == (1, 0, 6)
    blender.add(Window(0, 2, 1, 4), np.ones((1, 1, 4)))
    np.testing.assert_allclose(blender.close()[0, 0], [0, 0, 0.1464466, 0.8535534, 1, 1], atol=1e-7)


def test_nan_of_one_window_leaves_the_other_and_bands_are_independent():
    blender = Blender(1, 6, 2, 4, 2)
    first = np.full((2, 1, 4), 3.0)
    first[0, 0, 1:] = np.nan
    second = np.full((2, 1, 4), 5.0)
    second[0, 0, 0] = np.nan
    blender.add(Window(0, 0, 1, 4), first)
    blender.add(Window(0, 2, 1, 4), second)
    out = blender.close()
    np.testing.assert_array_equal(out[0, 0], [3, np.nan, np.nan, 5, 5, 5])
    np.testing.assert_allclose(out[1, 0], [3, 3, 3.292893, 4.707107, 5, 5], rtol=1e-6)


@given(st.integers(1, 12), st.data())
def test_memory_is_a_strip_and_rows_come_as_early_as_they_can(size, data):
    stride, height = data.draw(st.integers(1, size)), data.draw(st.integers(1, 200))
    blender = Blender(height, 20, 1, size, stride)
    assert blender._sum.shape[1] == min(size, height)
    done = 0
    for window in windows(height, 20, size, stride):
        done += blender.add(window, np.zeros((1, window.height, window.width), np.float32)).shape[1]
        assert done == window.row  # everything above the current window is out
    assert done + blender.close().shape[1] == height


def test_no_seam_where_windows_disagree():
    # windows alternate between 0 and 1, the hardest case: neighbours may differ by at most the steepest ramp step
    blender = Blender(8, 200, 1, 64, 32)
    for i, window in enumerate(windows(8, 200, 64, 32)):
        blender.add(window, np.full((1, 8, 64), i % 2, np.float32))
    steps = np.abs(np.diff(blender.close()[0], axis=1))
    assert steps[:, :160].max() < np.pi / 2 / 32 * 1.01  # slope of sin^2 over a ramp of 32 pixels


def test_wrong_order_wrong_shape_and_missing_windows_are_bugs():
    blender = Blender(8, 8, 1, 4, 4)
    with pytest.raises(ValueError, match="order"):
        blender.add(Window(4, 0, 4, 4), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="shape"):
        Blender(8, 8, 1, 4, 4).add(Window(0, 0, 4, 4), np.zeros((2, 4, 4)))
    blender.add(Window(0, 0, 4, 4), np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="1 of 4"):
        blender.close()
