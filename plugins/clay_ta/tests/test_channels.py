"""Calibration against the numbers of KMA's table and of a public conversion table of IR105."""

import numpy as np
import pytest
from eozoo_clay_ta.channels import BT, CHANNELS, RF, channel
from eozoo_core import ZooError


def test_order_and_wavelengths():
    assert [c.name for c in BT][:3] == ["sw038", "wv063", "wv069"]
    assert [c.name for c in RF] == ["vi004", "vi005", "vi006", "vi008", "nr013", "nr016"]
    assert channel("IR105").wave_um == pytest.approx(10.35032, abs=1e-5)
    assert all(c.kind == "rf" for c in RF)
    assert len(CHANNELS) == 16


@pytest.mark.parametrize(("count", "kelvin"), [(0, 330.0526), (1, 330.0431), (4000, 284.899), (6500, 239.8155)])
def test_brightness_temperature_of_ir105(count, kelvin):
    """The first two stand in a public table of this channel (330.0526, 330.0431)."""
    assert channel("ir105").calibrate(count) == pytest.approx(kelvin, abs=6e-4)


@pytest.mark.parametrize(("name", "dark"), [("vi004", 20), ("vi006", 40), ("vi008", 80), ("nr016", 20)])
def test_zero_radiance_is_zero_albedo(name, dark):
    assert channel(name).calibrate(dark) == pytest.approx(0, abs=2e-5)
    assert 1.1 < channel(name).calibrate(2 ** channel(name).valid_bits - 1) < 1.35


@pytest.mark.parametrize("c", CHANNELS.values(), ids=lambda c: c.name)
def test_counts_undo_calibration(c):
    counts = np.arange(0, 2**c.valid_bits, 7)
    values = c.calibrate(counts)
    known = np.isfinite(values)
    assert known.mean() > 0.98
    np.testing.assert_array_equal(c.counts(values[known]), counts[known])


def test_no_radiance_has_no_temperature():
    c = channel("ir105")
    assert c.gain * 8191 + c.offset < 0
    assert np.isnan(c.calibrate(8191))


def test_values_beyond_the_range_saturate():
    assert channel("ir105").counts(400.0) == 0
    assert channel("vi006").counts(5.0) == 4095


def test_unknown_channel():
    with pytest.raises(ZooError, match=r"Did you mean 'ir105'"):
        channel("ir106")
