"""Pictures: written whole, honest about missing data, and drawn without touching matplotlib's global state."""

import subprocess
import sys

import numpy as np
import pytest
from eozoo_core.errors import ZooError
from eozoo_core.score.plots import Panel, density_scatter, quicklook

GREY = np.array([0xB8] * 3) / 255


@pytest.fixture(scope="module", autouse=True)
def each_kind_of_picture_once():
    """All of them, here."""


def imread(path):
    from matplotlib.image import imread

    return imread(path)


def grey_share(path):
    return (np.abs(imread(path)[..., :3] - GREY).max(axis=2) < 0.004).mean()


def test_quicklook_shows_missing_in_grey(tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 200))
    whole, half = tmp_path / "whole.png", tmp_path / "new" / "half.png"
    quicklook([Panel(values, "Height", "m")], whole)
    values = values.copy()
    values[:150] = np.nan
    quicklook([Panel(values, "Height", "m")], half)
    assert grey_share(whole) < 0.01
    assert grey_share(half) > 0.3
    assert [p.name for p in half.parent.iterdir()] == ["half.png"]


def test_large_maps_are_thinned(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, imshow = [], Axes.imshow
    monkeypatch.setattr(
        Axes, "imshow", lambda axes, shown, **how: drawn.append(shown.shape) or imshow(axes, shown, **how)
    )
    quicklook([Panel(np.zeros((100, 4000), np.float32), "a")] * 2, tmp_path / "a.png", title="all", columns=1)
    assert drawn == [(34, 1334), (34, 1334)]  # every third pixel


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
        "import sys, numpy as np; from eozoo_core.score.plots import Panel, quicklook;"
        f"quicklook([Panel(np.zeros((3, 3)), 'a')], {str(tmp_path / 'a.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_classes_have_one_colour_each_and_their_names_on_the_bar(tmp_path):
    from eozoo_core.score.plots import _class_colours

    values = np.array([[0, 1], [2, np.nan]], np.float32)
    names = ("forest", "town", "a class with a very long name indeed")
    quicklook([Panel(values, "label", classes=names)], tmp_path / "classes.png")
    assert (tmp_path / "classes.png").stat().st_size > 1000
    for count in (3, 15, 30):
        colours = _class_colours(count)
        assert count == colours.N
        assert len({colours(i) for i in range(count)}) == min(count, 20)
