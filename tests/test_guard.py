"""The guard's rule by hand: what is refused, what is warned of, and what passes."""

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.checking.guard import Observed, judge, judge_band, judge_labels
from eozoo_core.checking.units import channel
from eozoo_core.score.quantiles import LEVELS, Thinned
from eozoo_core.score.statistics import ChannelStatistics
from eozoo_core.task.guard import Watch, allow
from eozoo_core.task.survey import BandSurvey, surveyed

RNG = np.random.default_rng(0)
VALUES = np.stack([RNG.gamma(4, 0.01, 40_000), RNG.gamma(5, 0.012, 40_000), RNG.normal(0.3, 0.05, 40_000)])


def known(values=VALUES, names=("B02", "B04", "B08"), unit="reflectance"):
    statistics = ChannelStatistics(names)
    statistics.update(values)
    return surveyed(statistics, (unit,) * len(names))


def verdict(values, bands=None):
    observed = Observed(bands or known())
    observed.add(values)
    return judge(observed)


def band(low, high, unit=""):
    """A band whose values lie evenly from low to high."""
    quantiles = tuple(low + (high - low) * level for level in LEVELS)
    return BandSurvey(name="x", unit=unit, mean=(low + high) / 2, std=high - low, count=1000, quantiles=quantiles)


def evenly(low, high):
    return np.linspace(low, high, 1001)[None]


@pytest.mark.parametrize("cuts", [[0, 100_000], [0, 1, 70_000, 100_000], list(range(0, 100_001, 777))])
def test_a_thinned_stream_does_not_depend_on_how_it_was_cut_and_is_bounded(cuts):
    stream, thinned = np.arange(100_000.0)[None].repeat(2, 0), Thinned(2, 1000)
    for start, stop in zip(cuts, [*cuts[1:], 100_000]):
        thinned.add(stream[:, start:stop])
    whole = Thinned(2, 1000)
    whole.add(stream)
    np.testing.assert_array_equal(thinned.values, whole.values)
    assert 500 <= thinned.values.shape[1] <= 1000
    assert np.diff(thinned.values[0]).max() < 3 * 100_000 / thinned.values.shape[1]  # evenly, also between
    assert thinned.quantiles()[0] == pytest.approx(np.array(LEVELS) * 100_000, abs=300)


def test_quantiles_and_missing_of_few_values_are_exact():
    statistics = ChannelStatistics(["a"])
    statistics.update(np.array([[0.0, np.nan, 1, 2, 3, 4]]))
    (found,) = surveyed(statistics)
    assert found.quantiles[2:7] == pytest.approx((0.2, 1, 2, 3, 3.8))
    assert found.missing == pytest.approx(1 / 6)


def test_training_itself_passes_with_0_2_percent_outside():
    found = verdict(VALUES)
    assert (found.level, found.text) == ("ok", "")
    assert found.share == pytest.approx(0.002, abs=2e-4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v * 10_000, "digital numbers (x 10000)"),
        (lambda v: v * 100, "per cent"),
        (lambda v: v * 255, "bytes"),
        (lambda v: v - 9999, "has median -9999"),
        (lambda v: v / 10_000, "divided by 10000 once too often"),
    ],
)
def test_another_unit_is_refused_and_named(change, says):
    found = verdict(change(VALUES))
    assert found.level == "error"
    assert says in found.line, found.line


@pytest.mark.parametrize(("sign", "says"), [(1, "was not subtracted"), (-1, "was subtracted twice")])
def test_a_forgotten_offset_is_warned_of(sign, says):
    found = verdict(VALUES + sign * 0.1)
    assert found.level == "warning"
    assert says in found.line
    digital = known(VALUES * 10_000, unit="reflectance x 10000")
    assert says in verdict((VALUES + sign * 0.1) * 10_000, digital).line


@pytest.mark.parametrize(
    ("low", "high", "level"),
    [  # training saw 0.002 to 1.998, so one width is 1.996: three of them beyond is a median of 7.99, or of -5.99
        (6.9, 8.9, "warning"),
        (7.1, 9.1, "error"),
        (-6.9, -4.9, "warning"),
        (-7.1, -5.1, "error"),
        (-2.0, 4.0, "warning"),  # a third is outside
        (-2.3, 4.3, "warning"),  # the middle 90 % spans 5.94
        (-2.4, 4.4, "error"),  # and here 6.12
        (0.0, 2.4, "ok"),  # 17 % outside
    ],
)
def test_three_widths_and_a_fifth(low, high, level):
    assert verdict(evenly(low, high), [band(0, 2, "K")]).level == level


def test_one_far_band_of_many_is_a_warning_unless_a_usual_mistake_explains_it():
    several = [band(0, 2, "m"), band(0, 2, "K"), band(0, 2, "K")]
    assert verdict(np.concatenate([evenly(80, 120), *[evenly(0, 2)] * 2]), several).level == "warning"
    decibels = np.concatenate([10 * np.log10(evenly(0.1, 1.9)), *[evenly(0, 2)] * 2])
    found = verdict(decibels, [band(0, 2), *several[1:]])
    assert found.level == "error"
    assert "10 ** (dB / 10)" in found.line
    found = verdict(10 ** (evenly(-19, -16) / 10), [band(-20, -15, "dB")])
    assert found.level == "error"
    assert "10 * log10(power)" in found.line


def test_linear_power_near_zero_is_no_decibel():
    wide = [band(-30, -2, "dB"), band(0, 2, "K"), band(0, 2, "K")]
    found = verdict(np.concatenate([10 ** (evenly(-25, -5) / 10), *[evenly(0, 2)] * 2]), wide)
    assert found.level == "error"  # 0.01 to 0.3, less than a width above what training saw


def test_even_scenes_pass_where_their_median_was_seen():
    lake = np.stack([np.full(999, value) for value in (0.02, 0.03, 0.3)])
    assert verdict(lake + RNG.normal(0, 1e-6, lake.shape)).level == "ok"


def test_missing_values_are_not_looked_at_and_nothing_is_no_verdict():
    holes = np.where(np.arange(40_000) % 3 == 0, np.nan, VALUES)
    assert verdict(holes).level == "ok"
    assert verdict(np.full((3, 9), np.nan)).level == "ok"


def test_a_run_without_quantiles_is_judged_by_deviations():
    old = tuple(one.model_copy(update={"quantiles": ()}) for one in known())
    assert verdict(VALUES * 10_000, old).level == "error"
    assert verdict(VALUES * 10, old).level == "ok"


def label(values, unit="m"):
    return known(np.asarray(values, float)[None], ("label",), unit)[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([*range(40), -9999.0] * 30, "-9999, which means no label"),
        ([*range(40)] * 30 + [255.0] * 40, "255 usually means no label"),
        (np.linspace(10, 40_000, 1000), "that looks like centimetres"),
        (np.linspace(0, 30, 1000), ""),
        (np.linspace(0, 255, 1000), ""),
        ([*range(250), 255.0] * 9, ""),
    ],
)
def test_labels_that_are_none(values, says):
    found = judge_labels(label(values), channel("label", "m"))
    assert (found.level == "error") == bool(says)
    assert says in found.line


@pytest.mark.parametrize(
    ("values", "level", "says"),
    [
        (
            np.append(VALUES[0], [-9999.0] * 500),
            "error",
            "band B02 holds -9999, which means missing; declare it as nodata",
        ),
        (VALUES[0] * 1e4, "warning", "that looks like digital numbers"),
        (VALUES[0], "ok", ""),
    ],
)
def test_bands_of_the_training_data(values, level, says):
    found = judge_band(known(values[None], ("B02",))[0], channel("B02", "reflectance"))
    assert found.level == level
    assert says in found.line


def test_a_refusal_names_the_setting_that_goes_on(capsys):
    found = verdict(VALUES * 10_000)
    with pytest.raises(ZooError, match=r"^x\.tif: values are not .* --set infer\.on_unlike=warn goes on$"):
        allow(found, "x.tif", "infer.on_unlike", "stop")
    allow(found, "x.tif", "infer.on_unlike", "warn")
    assert capsys.readouterr().err.startswith("warning: x.tif: values are not")


@pytest.mark.parametrize(
    ("axes", "shape"), [("B C H W", (2, 3, 90, 80)), ("B T C", (2, 5, 3)), ("B 3 9 9", (4, 3, 9, 9))]
)
def test_the_watch_finds_the_bands_of_any_input(axes, shape):
    from eozoo_core.spec import Port

    place = axes.split().index("3" if "3" in axes else "C")
    values = np.moveaxis(np.broadcast_to([1.0, 2.0, 3.0], (*shape[:place], *shape[place + 1 :], 3)), -1, place)
    watch = Watch(known(), (Port("time", "B"), Port("x", axes)))
    watch({"x": values, "time": np.zeros(len(values))})
    assert watch.observed.quantiles[:, 4].tolist() == [1, 2, 3]
    assert 0 < watch.observed.count[0] <= 4096
