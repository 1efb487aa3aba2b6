"""What is computed by a shortcut is what its plain definition gives; limits and one-sided values above all."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import torch
from eozoo_core import Port
from eozoo_core.raster.predict import predicted_rows
from eozoo_core.raster.read import ArrayReader, RasterReader, find_fillers
from eozoo_core.raster.tiles import Tiling
from eozoo_core.score.quantiles import LEVELS, Thinned, quantiles_of
from eozoo_core.task.system import hide

NAN, LOWEST = np.nan, float(np.finfo(np.float32).min)
FILLED = {  # type and values (bands, pixels) -> what is counted
    "least": ("float32", [[-9999, 1, 2]], {-9999.0: 1}),
    "beside_lower": ("int16", [[-9999, -32768, 7]], {-9999.0: 1, -32768.0: 1}),
    "far_below": ("float32", [[LOWEST, 5, -9999]], {LOWEST: 1, -9999.0: 1}),
    "far_above": ("float32", [[-LOWEST, 5, NAN]], {-LOWEST: 1}),
    "beside_nan": ("float32", [[NAN, -9999, 3]], {-9999.0: 1}),
    "infinite": ("float32", [[np.inf, -np.inf, 3]], {}),
    "most": ("uint16", [[65535, 0, 3]], {65535.0: 1}),
    "type_has_none": ("int8", [[-99, 0, 3]], {}),
    "zeros_are_least": ("uint8", [[0, 4]] * 4, {0.0: 1}),
    "zeros_are_most": ("float32", [[0, -4]] * 4, {0.0: 1}),
    "zeros_beside_nan": ("float32", [[0, NAN, 2]] * 3, {0.0: 1}),
    "three_of_four": ("uint8", [[0, 4]] * 3 + [[3, 4]], {0.0: 1}),
    "two_of_four": ("uint8", [[0, 4]] * 2 + [[3, 4]] * 2, {}),
    "two_bands": ("uint8", [[0, 4]] * 2, {}),
    "never_at_once": ("uint8", np.eye(4) * 5, {0.0: 4}),
}


@pytest.mark.parametrize("case", FILLED)
def test_numbers_for_nothing_are_counted_wherever_they_lie_in_the_range(case):
    kind, bands, expected = FILLED[case]
    stored = np.array(bands, kind)[:, None]
    assert find_fillers(stored, [None] * len(stored)) == Counter(expected)
    assert find_fillers(stored, [np.ones(stored[0].shape, bool)] * len(stored)) == Counter()


@pytest.mark.parametrize("nodata", [-1.0, 7.0, 3.0, LOWEST, 9.96921e36, np.inf, -np.inf])
@pytest.mark.parametrize("others", [(NAN, NAN), (-1.0, 7.0), (NAN, 3.5)])
@pytest.mark.parametrize("stands", [True, False])  # else only its neighbour in float32, which GDAL takes for it too
def test_nodata_is_found_at_either_end_of_the_values_and_beside_nan(tmp_path, nodata, others, stands):
    stored = np.array(
        [[*others, nodata if stands else NAN, np.nextafter(np.float32(nodata), np.float32(0)), 3.0]], "float32"
    )
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "height": 1, "width": 5, "nodata": nodata}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as out:
        out.write(stored, 1)
    with RasterReader(tmp_path / "a.tif") as reader:
        found = reader.read(reader.info.grid.whole)[0, 0]
    near = [np.isfinite(nodata) and abs(float(v) - nodata) < 4 * 2.0**-23 * abs(nodata) for v in stored[0]]
    gone = near | ~np.isfinite(stored[0]) | (stored[0] == np.float32(nodata))
    np.testing.assert_array_equal(found, np.where(gone, NAN, stored[0]))


def test_quantiles_are_those_of_unsorted_channels_of_any_length():
    random = np.random.default_rng(0)
    channels = [random.normal(size=n).astype("float32") for n in (500, 31, 500, 0, 1)]
    found = quantiles_of(channels)
    for row, values in zip(found, channels):
        expected = np.quantile(values.astype("float64"), LEVELS) if values.size else np.full(9, NAN)
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("count", [1500, 4000])  # thinned once, twice
def test_of_one_channel_missing_values_take_no_place(count):
    values = np.arange(float(count))
    sparse = np.where(np.arange(2 * count) % 2, NAN, np.repeat(values, 2))
    thinned, dense = Thinned(1, 1000), Thinned(1, 1000)
    for part in np.array_split(sparse, 8):
        thinned.add(part[None])
    dense.add(values[None])
    np.testing.assert_array_equal(thinned.values, dense.values)
    assert np.isfinite(thinned.values).all()
    assert 500 <= thinned.values.shape[1] <= 1000


@pytest.mark.parametrize(("height", "windows"), [(6, 1), (12, 2), (14, 2)])
def test_one_window_is_not_blended_two_are(height, windows):
    image, seen = np.random.default_rng(0).normal(size=(1, height, 8)).astype("float32"), []
    image[0, 2, 3] = NAN

    def ask(batch):
        seen.append(len(batch))
        return lambda: batch.astype("float64") * 2  # a network may give float64; maps are float32

    rows = predicted_rows(ArrayReader(image), ask, Tiling(8, 2, 2), 8, (1,), lambda: 1)
    found = [row for row in rows if row is not None]
    assert sum(seen) == windows
    assert {row.dtype for row in found} == {np.dtype("float32")}
    np.testing.assert_allclose(np.concatenate(found, axis=1), image * 2, rtol=1e-6)


def test_infinities_of_opposite_sign_hide_their_pixel_only():
    image = torch.ones(1, 2, 1, 4)
    image[0, :, 0, 0] = torch.tensor([torch.inf, -torch.inf])
    image[0, 1, 0, 1], image[0, 0, 0, 2] = torch.inf, torch.nan
    port, out = Port("image", "B C H W"), Port("mean", "B 1 H W")
    found = hide({"mean": torch.ones(1, 1, 1, 4)}, [out], {"image": image}, [port])
    np.testing.assert_array_equal(found["mean"][0, 0, 0], [NAN, NAN, NAN, 1])
