"""Pictures: written whole, honest about missing data, and drawn without touching matplotlib's global state."""

import subprocess
import sys

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.score.plots import density_scatter
from eozoo_core.score.quicklook import Panel, class_colours, painted, quicklook, ticks

GREY = np.array([0xB8] * 3) / 255


@pytest.fixture(scope="module", autouse=True)
def each_kind_of_picture_once():
    """All of them, here."""


def imread(path):
    from matplotlib.image import imread

    return imread(path)


def grey_pixels(path):
    return (np.abs(imread(path)[..., :3] - GREY).max(axis=2) < 0.004).sum()


def test_quicklook_shows_missing_in_grey(tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 200))
    whole, half = tmp_path / "whole.png", tmp_path / "new" / "half.png"
    quicklook([Panel(values, "Height", "m")], whole)
    values = values.copy()
    values[:150] = np.nan
    quicklook([Panel(values, "Height", "m")], half)
    assert grey_pixels(whole) < 200
    assert grey_pixels(half) == pytest.approx(150 * 200, abs=200)
    assert [p.name for p in half.parent.iterdir()] == ["half.png"]


def test_a_pixel_is_a_square_of_the_picture_and_large_maps_are_thinned(tmp_path):
    quicklook([Panel(np.full((30, 20), np.nan), "a")] * 2, tmp_path / "small.png")
    assert grey_pixels(tmp_path / "small.png") == pytest.approx(2 * 600 * 16**2, abs=200)  # edges of letters are grey
    quicklook([Panel(np.full((100, 4000), np.nan), "a")], tmp_path / "large.png", title="all", columns=1)
    assert grey_pixels(tmp_path / "large.png") == pytest.approx(25 * 1000, abs=200)  # every fourth


def test_colours_of_values_by_hand():
    colours = np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]], np.uint8)
    values = np.array([[-9, 0, 0.9, 1.1, 2.5], [3.9, 4, 99, np.nan, 2]], np.float32)
    assert painted(values, colours, 0.0, 4.0, [0xB8] * 3)[..., 0].tolist() == [[0, 0, 0, 1, 2], [3, 3, 3, 0xB8, 2]]


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.3, 34.2, ["10", "20", "30"]), (-1.0, 1.0, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        (0.0, 1.2, ["0.00", "0.25", "0.50", "0.75", "1.00"]), (0.0, 3e7, ["0", "1e+07", "2e+07", "3e+07"]),
        (0.0, 2e-6, ["0", "5e-07", "1e-06", "1.5e-06", "2e-06"]), (271.93, 272.07, ["271.95", "272.00", "272.05"]),
    ],
)  # fmt: skip
def test_ticks_are_round(low, high, shown):
    found = ticks(low, high)
    assert list(found.values()) == shown
    np.testing.assert_allclose([float(text) for text in shown], list(found), atol=1e-9 * max(abs(low), abs(high)))


@pytest.mark.parametrize(
    "values", [np.full((4, 5), np.nan), np.zeros((1, 1)), np.array([[np.inf, 1.0]]), np.ones((3, 3), np.uint8)]
)
def test_quicklook_of_odd_maps(tmp_path, values, recwarn):
    quicklook([Panel(values, "odd", "m")], tmp_path / "a.png")
    assert imread(tmp_path / "a.png").size > 0
    assert not list(recwarn)


def test_what_is_no_map_is_named(tmp_path):
    with pytest.raises(ZooError, match=r"map 'b': expected one band .*\(2, 3, 4\)"):
        quicklook([Panel(np.zeros((3, 4)), "a"), Panel(np.zeros((2, 3, 4)), "b")], tmp_path / "a.png")
    with pytest.raises(ZooError, match="at least one map"):
        quicklook([], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1, 100, 3000])
def test_scatter_of_any_number_of_samples(tmp_path, count, recwarn):
    rng = np.random.default_rng(0)
    target = rng.gamma(3, 5, (1, count + 2))
    pred = target + rng.normal(size=target.shape)
    target[0, 0] = pred[0, 1] = np.nan
    density_scatter(target, pred, tmp_path / "a.png", "m", "Canopy height", limits=None if count > 1 else (0, 30))
    height, width, _ = imread(tmp_path / "a.png").shape
    assert min(height, width) > 500
    assert not list(recwarn)


def test_unwritable_picture_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=r"a\.png: cannot be written"):
        quicklook([Panel(np.zeros((2, 2)), "a")], tmp_path / "file" / "a.png")


def test_no_pyplot(tmp_path):
    code = (
        "import sys, numpy as np; from eozoo_core.score.quicklook import Panel, quicklook;"
        f"quicklook([Panel(np.zeros((3, 3)), 'a')], {str(tmp_path / 'a.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_classes_have_one_colour_each_and_missing_is_grey(tmp_path):
    values = np.array([[0, 1], [2, np.nan]], np.float32)
    names = ("forest", "town", "a class with a very long name indeed")
    quicklook([Panel(values, "label", classes=names)], tmp_path / "classes.png")
    shown = {tuple(c) for c in (imread(tmp_path / "classes.png")[..., :3] * 255).round().astype(int).reshape(-1, 3)}
    assert {tuple(c) for c in class_colours(3).tolist()} | {(0xB8,) * 3} <= shown
    for count in (3, 15, 30):
        assert class_colours(count).shape == (count, 3)
        assert len(np.unique(class_colours(count), axis=0)) == min(count, 20)
