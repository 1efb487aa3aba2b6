"""Reading rasters: missing pixels of every kind become NaN, bad files become one line that names them."""

import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid, misfit, part_of, same_grid
from eozoo_core.raster.read import ArrayReader, RasterReader, by_stem, first_readable, open_reader, read_info
from eozoo_core.raster.tiles import Window

ALL = Window(0, 0, 6, 5)
UTM = {"crs": "EPSG:32616", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 1400000)}


def write(path, values, mask=None, names=(), **profile):
    """A GeoTIFF of ``values (C, H, W)``."""
    count, height, width = values.shape
    profile = (
        UTM | {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype} | profile
    )
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(values)
        if mask is not None:
            dataset.write_mask(mask)
        for number, name in enumerate(names, 1):
            dataset.set_band_description(number, name)
            dataset.set_band_unit(number, "m")
    return path


def read(path, bands=None, missing=()):
    with RasterReader(path, missing) as reader:
        return reader.read(ALL, bands)


@pytest.fixture
def values():
    return np.arange(60, dtype=np.uint16).reshape(2, 6, 5)


def test_info(tmp_path, values):
    info = read_info(write(tmp_path / "a.tif", values, names=("B4", "B8"), nodata=7))
    assert info.grid == Grid(6, 5, rasterio.CRS.from_epsg(32616), UTM["transform"])
    assert (info.bands, info.dtypes, info.nodata) == ((1, 2), ("uint16", "uint16"), (7, 7))
    assert (info.descriptions, info.units) == (("B4", "B8"), ("m", "m"))


def test_no_georeference_is_none_and_not_a_warning(tmp_path, values, recwarn):
    path = write(tmp_path / "a.tif", values, crs=None, transform=None)
    recwarn.clear()
    info = read_info(path)
    assert (info.grid.crs, info.grid.transform) == (None, None)
    assert not list(recwarn)


def test_bands_by_number_and_name(tmp_path, values):
    info = read_info(write(tmp_path / "a.tif", values, names=("B4", "B8")))
    assert info.select(None) == (1, 2)
    assert info.select(["B8", 1]) == (2, 1)
    with pytest.raises(ZooError, match=r"a\.tif: no band is called 'B88'. Did you mean 'B8'"):
        info.select(["B88"])
    with pytest.raises(ZooError, match=r"a\.tif: no band 0; the file has bands 1 to 2"):
        info.select([0])
    twice = read_info(write(tmp_path / "b.tif", values, names=("B4", "B4")))
    with pytest.raises(ZooError, match="several bands"):
        twice.select(["B4"])


def test_integer_nodata_is_nan(tmp_path, values):
    out = read(write(tmp_path / "a.tif", values, nodata=7))
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, np.where(values == 7, np.nan, values))


@pytest.mark.parametrize("nodata", [-9999.0, float(np.finfo(np.float32).min), 0.1, np.nan])
def test_float_nodata_is_nan(tmp_path, values, nodata):
    data = values.astype(np.float32)
    data[0, 1, 2] = nodata
    data[1, 0, 0] = np.nan
    expected = values.astype(np.float32)
    expected[0, 1, 2] = expected[1, 0, 0] = np.nan
    np.testing.assert_array_equal(read(write(tmp_path / "a.tif", data, nodata=nodata)), expected)


@pytest.mark.parametrize(("steps", "hidden"), [(0, True), (1, True), (2, True), (6, False)])
def test_float_nodata_may_be_a_rounding_away(tmp_path, steps, hidden):
    """A value written by a program that rounds otherwise is still nodata; a real value beside it is not."""
    nodata, value = np.float32(-9999), np.float32(-9999)
    for _ in range(steps):
        value = np.nextafter(value, np.float32(0))
    out = read(write(tmp_path / "a.tif", np.full((1, 2, 2), value), nodata=float(nodata)))
    assert np.isnan(out).all() == hidden
    assert np.isnan(out).any() == hidden


def test_internal_mask_and_nodata_both_hide(tmp_path, values):
    mask = np.full((6, 5), 255, np.uint8)
    mask[2, 3] = 0
    out = read(write(tmp_path / "a.tif", values, mask=mask, nodata=7))
    np.testing.assert_array_equal(out, np.where((values == 7) | (mask == 0), np.nan, values))


def test_alpha_hides_and_is_no_data_unless_asked_for(tmp_path):
    data = np.full((4, 6, 5), 9, np.uint8)
    data[3] = 255
    data[3, 4, 4] = 0
    path = write(tmp_path / "a.tif", data, photometric="RGB", alpha="yes")
    out = read(path)
    assert out.shape == (3, 6, 5)
    assert np.isnan(out[:, 4, 4]).all()
    assert np.isnan(out).sum() == 3
    np.testing.assert_array_equal(read(path, [4, 1])[:, 4, 4], [0, 9])


def test_scale_and_offset_are_applied(tmp_path, values):
    path = write(tmp_path / "a.tif", values, nodata=7)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 2.0), (1.0, 0.0)
    scaled = read(path)
    assert (scaled[0, 0, 3], scaled[1, 0, 3]) == (2.5, 66)
    assert np.isnan(scaled[0, 1, 2])
    assert np.isnan(read(path, missing=(8,))[0, 1, 3])  # as stored
    with RasterReader(path) as raster:
        np.testing.assert_array_equal(raster.thumbnail(), scaled)


def test_window_and_order_of_bands(tmp_path, values):
    with RasterReader(write(tmp_path / "a.tif", values)) as reader:
        np.testing.assert_array_equal(reader.read(Window(2, 1, 3, 2), [2, 1]), values[::-1, 2:5, 1:3])


def test_thumbnail(tmp_path):
    rows, cols = np.mgrid[:400, :100]
    data = np.stack([rows, cols]).astype(np.int16)
    data[0, 200:] = -1
    path = write(tmp_path / "a.tif", data, nodata=-1)
    with RasterReader(path) as raster:
        small = raster.thumbnail(40)
        np.testing.assert_array_equal(raster.thumbnail(1000)[0], np.where(data[0] < 0, np.nan, data[0]))
        assert raster.thumbnail(40, [2]).shape == (1, 40, 10)
    assert (small.shape, small.dtype) == ((2, 40, 10), np.float32)
    assert np.isnan(small[0, 20:]).all()
    assert not np.isnan(small[0, :20]).any()
    assert np.abs(small[1] - np.arange(5, 100, 10)).max() <= 5
    thinned = ArrayReader(data.astype(np.float32)).thumbnail(40)
    assert thinned.shape == (2, 40, 10)
    assert thinned[1, 7].tolist() == list(range(0, 100, 10))
    assert ArrayReader(data[:, :1]).thumbnail(10).shape == (2, 1, 10)


def test_bad_files_are_named(tmp_path, values):
    (tmp_path / "text.tif").write_text("not a raster")
    for name in ("text.tif", "absent.tif"):
        with pytest.raises(ZooError, match=rf"{name}: cannot be read as a raster") as caught:
            read_info(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(ZooError, match=r"c\.tif: holds complex"):
        read_info(write(tmp_path / "c.tif", values.astype(np.complex64)))


@pytest.mark.parametrize("compress", ["deflate", None])
def test_truncated_file_is_named(tmp_path, compress):
    noise = np.random.default_rng(0).integers(0, 2**16, (2, 600, 500)).astype(np.uint16)
    path = write(tmp_path / "a.tif", noise, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ZooError, match=r"a\.tif: ") as caught, RasterReader(path) as reader:
        reader.read(Window(0, 0, 600, 500))
    assert "\n" not in str(caught.value)


def test_npy_reads_like_a_raster(tmp_path, values):
    data = values.astype(np.float64)
    data[0, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", data)
    with open_reader(tmp_path / "a.npy") as reader:
        assert reader.info.grid == Grid(6, 5)
        assert reader.info.bands == (1, 2)
        np.testing.assert_array_equal(reader.read(Window(0, 1, 6, 3), [2, 1]), data[::-1, :, 1:4])
    assert ArrayReader(values[0]).read(ALL).shape == (1, 6, 5)


def test_bad_npy_is_named(tmp_path, values):
    np.save(tmp_path / "whole.npy", values)
    data = (tmp_path / "whole.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(data[:-10])
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "line.npy", values[0, 0])
    with (tmp_path / "archive.npy").open("wb") as stream:
        np.savez(stream, a=values)
    for name in ("short", "empty", "pickled", "line", "archive", "absent"):
        with pytest.raises(ZooError, match=rf"{name}\.npy: ") as caught:
            open_reader(tmp_path / f"{name}.npy")
        assert "\n" not in str(caught.value)


def test_a_part_of_a_grid_and_grids_that_do_not_fit_by_hand():
    crs = rasterio.CRS.from_epsg(32616)
    whole = Grid(100, 80, crs, rasterio.Affine(10, 0, 500_000, 0, -10, 1_400_000))
    part = part_of(whole, Window(3, 5, 20, 30))
    assert part == Grid(20, 30, crs, rasterio.Affine(10, 0, 500_050, 0, -10, 1_399_970))
    assert part_of(Grid(100, 80), Window(3, 5, 20, 30)) == Grid(20, 30)
    nearly = Grid(100, 80, crs, rasterio.Affine(10, 0, 500_000.05, 0, -10, 1_400_000))
    assert same_grid(whole, nearly)
    assert misfit(Grid(100, 81), whole, "the other") == "is 100 x 81 px, the other 100 x 80"
    assert misfit(Grid(100, 80), whole, "the other") == ""
    assert not same_grid(Grid(100, 80), whole)
    shifted = Grid(100, 80, crs, rasterio.Affine(10, 0, 500_025, 0, -10, 1_400_000))
    assert misfit(shifted, whole, "the other").startswith("lies +2.50 columns and +0.00 rows off the other")
    assert "reproject" in misfit(Grid(100, 80, rasterio.CRS.from_epsg(32617), whole.transform), whole, "the other")


def test_the_first_readable_file_and_files_by_their_names(tmp_path, values):
    files = [tmp_path / name for name in ("a.npy", "b.npy", "b.tif")]
    files[0].write_bytes(b"")
    np.save(files[1], values)
    assert first_readable(files).path == str(files[1])
    with pytest.raises(ZooError, match=r"a\.npy: "):
        first_readable(files[:1])
    assert list(by_stem(files[:2])) == ["a", "b"]
    with pytest.raises(ZooError, match=r"b\.npy and b\.tif share a name"):
        by_stem(files)
