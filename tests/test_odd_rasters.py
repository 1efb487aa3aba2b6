"""Rasters as people have them: whatever says that a pixel is missing, however values are packed, wherever they lie."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster.bands import PRESETS, find_bands
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.mosaic import Mosaic
from eozoo_core.raster.predict import predicted_rows
from eozoo_core.raster.read import RasterReader, open_reader, read_info, read_whole
from eozoo_core.raster.tiles import Tiling, Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio import Affine
from rasterio.control import GroundControlPoint

NORTH_UP, SOUTH_UP = Affine(10, 0, 5e5, 0, -10, 5e6), Affine(10, 0, 5e5, 0, 10, 5e6)
ROTATED = Affine(8, -6, 5e5, -6, -8, 5e6)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def odd_rasters(draw):
    """What a file stores, and what each pixel is worth: (C, H, W), NaN = missing."""
    bands, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kind = draw(st.sampled_from(["uint8", "int16", "uint16", "int32", "float32", "float64", "int64"]))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stored = seed.integers(1, 100, (bands, height, width)).astype(kind)
    missing = seed.random(stored.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    how = {"nodata": [None] * bands, "mask": None, "nan": False}
    way = draw(st.sampled_from(["nodata per band", "mask", "side-car", "nan", "none"]))
    if way == "nodata per band":
        how["nodata"] = [100 + i if draw(st.booleans()) else None for i in range(bands)]
        missing &= np.array([n is not None for n in how["nodata"]])[:, None, None]
        for band, nodata, gone in zip(stored, how["nodata"], missing):
            band[gone] = 0 if nodata is None else nodata
    elif way in ("mask", "side-car"):
        how["mask"] = ~missing[0]
        missing = np.broadcast_to(missing[0], stored.shape)
    elif way == "nan" and kind.startswith("float"):
        stored[missing] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    else:
        missing = np.zeros(stored.shape, bool)
    scales = [draw(st.sampled_from([1.0, 1e-4, 0.02])) for _ in range(bands)]
    offsets = [draw(st.sampled_from([0.0, -0.1, 273.15])) for _ in range(bands)]
    worth = stored * np.array(scales)[:, None, None] + np.array(offsets)[:, None, None]
    worth = np.where(missing, np.nan, worth)
    place = {"transform": draw(st.sampled_from([NORTH_UP, SOUTH_UP, ROTATED])), "crs": "EPSG:32632"}
    return stored, how | {"scales": scales, "offsets": offsets, "place": place, "way": way}, worth


def write(path, stored, how):
    """Write a GeoTIFF, and a VRT where bands differ in their nodata value; return what is opened."""
    tiff = path / "odd.tif"
    shape = dict(zip(("count", "height", "width"), stored.shape), driver="GTiff", dtype=stored.dtype)
    shape["photometric"] = "MINISBLACK"  # GDAL would call the last of four bands of bytes alpha
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=how["way"] == "mask"),
        rasterio.open(tiff, "w", **shape, **how["place"]) as out,
    ):
        out.write(stored)
        out.scales, out.offsets = how["scales"], how["offsets"]
        if how["mask"] is not None:
            out.write_mask(how["mask"])
    if not any(n is not None for n in how["nodata"]):
        return tiff
    with rasterio.open(tiff) as source:
        t, crs, kind = source.transform, source.crs.to_wkt(), source.dtypes[0]
    names = {"uint8": "Byte", "int16": "Int16", "uint16": "UInt16", "int32": "Int32", "int64": "Int64",
             "float32": "Float32", "float64": "Float64"}  # fmt: skip
    bands = "".join(
        f'<VRTRasterBand dataType="{names[kind]}" band="{i}">'
        + ("" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>")
        + f"<Offset>{how['offsets'][i - 1]}</Offset><Scale>{how['scales'][i - 1]}</Scale><SimpleSource>"
        f'<SourceFilename relativeToVRT="1">odd.tif</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for i, nodata in enumerate(how["nodata"], 1)
    )
    text = f'<VRTDataset rasterXSize="{stored.shape[2]}" rasterYSize="{stored.shape[1]}"><SRS>{crs}</SRS>'
    (path / "odd.vrt").write_text(
        f"{text}<GeoTransform>{t.c}, {t.a}, {t.b}, {t.f}, {t.d}, {t.e}</GeoTransform>{bands}</VRTDataset>"
    )
    return path / "odd.vrt"


@few
@given(odd_rasters())
def test_every_pixel_is_worth_what_the_file_says(tmp_path_factory, case):
    stored, how, worth = case
    path = write(tmp_path_factory.mktemp("odd"), stored, how)
    np.testing.assert_allclose(read_whole(path), worth, rtol=1e-6, atol=1e-6)
    with RasterReader(path) as reader:
        np.testing.assert_array_equal(reader.thumbnail(), read_whole(path))
        assert (reader.info.grid.transform, reader.info.grid.crs.to_epsg()) == (how["place"]["transform"], 32632)


@few
@given(odd_rasters(), st.integers(2, 6))
def test_missing_goes_through_a_map_and_comes_out_as_nodata(tmp_path_factory, case, size):
    stored, how, worth = case
    folder = tmp_path_factory.mktemp("odd")
    with RasterReader(write(folder, stored, how)) as reader:
        grid, bands = reader.info.grid, [Band(f"b{i}") for i in range(len(stored))]
        rows = predicted_rows(reader, lambda b: lambda: b, Tiling(size, 0), 1, reader.info.bands, lambda: len(stored))
        with CogWriter(folder / "map.tif", grid, bands) as writer:
            row = 0
            for part in rows:
                writer.write_rows(row, part)
                row += part.shape[1]
    gone = np.isnan(worth).any(axis=0)  # a pixel that lacks one band has no prediction
    with rasterio.open(folder / "map.tif") as made:
        np.testing.assert_array_equal(np.isnan(made.read(masked=True).filled(np.nan)).all(axis=0), gone)
        np.testing.assert_allclose(made.read()[:, ~gone], worth[:, ~gone], rtol=1e-6, atol=1e-6)
        assert made.transform == grid.transform


@few
@given(odd_rasters(), st.sampled_from(["nearest", "bilinear", "average", "cubic"]))
def test_a_hole_in_one_band_neither_fills_nor_bleeds_when_resampled(tmp_path_factory, case, method):
    stored, how, worth = case
    target = Grid(
        stored.shape[1] * 2, stored.shape[2] * 2, rasterio.CRS.from_epsg(32632), Affine(5, 0, 5e5, 0, -5, 5e6)
    )
    mosaic = Mosaic(target, method)
    mosaic.add(write(tmp_path_factory.mktemp("odd"), stored, how | {"place": how["place"] | {"transform": NORTH_UP}}),
               tuple(range(1, len(stored) + 1)), lambda values: values)  # fmt: skip
    found = mosaic.read(Window(0, 0, target.height, target.width), len(stored))
    for band, values in zip(found, worth):
        if np.isnan(values).all():
            assert np.isnan(band).all()
            continue
        spread = 0 if method != "cubic" else np.nanmax(values) - np.nanmin(values)  # cubic overshoots
        low, high = np.nanmin(values) - spread, np.nanmax(values) + spread
        inside = np.isnan(band) | ((band >= low - 1e-3) & (band <= high + 1e-3))
        assert inside.all(), "a stored filler entered the kernel"
        if method == "nearest":
            np.testing.assert_allclose(band, values.repeat(2, axis=0).repeat(2, axis=1), rtol=1e-6, atol=1e-6)


def put(path, array, names=(), **profile):
    array = np.asarray(array)
    shape = dict(zip(("count", "height", "width"), array.shape), dtype=array.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **{"driver": "GTiff", **shape, **profile}) as out:
            out.write(array)
            for number, name in enumerate(names, 1):
                out.set_band_description(number, name)
    return path


def test_a_place_that_is_no_grid_is_refused(tmp_path):
    corners = [GroundControlPoint(0, 0, 6, 50), GroundControlPoint(0, 4, 7, 50), GroundControlPoint(4, 0, 6, 49)]
    path = put(tmp_path / "points.tif", np.ones((1, 4, 4), "uint8"))
    with rasterio.open(path, "r+") as out:
        out.gcps = (corners, rasterio.CRS.from_epsg(4326))
    with pytest.raises(ZooError, match=r"points\.tif: is placed by 3 ground control points only.*gdalwarp -tps"):
        read_info(path)
    path = put(tmp_path / "nowhere.tif", np.ones((1, 4, 4), "uint8"), crs="EPSG:4326")
    with pytest.raises(ZooError, match=r"nowhere\.tif: has the CRS EPSG:4326 but no position"):
        read_info(path)
    assert read_info(put(tmp_path / "plain.tif", np.ones((1, 4, 4), "uint8"))).grid == Grid(4, 4)
    path = put(tmp_path / "metres.tif", np.ones((1, 4, 4), "uint8"), crs="EPSG:4326", transform=NORTH_UP)
    with pytest.raises(ZooError, match=r"metres\.tif: has the CRS EPSG:4326 in degrees but its corner at 500000,"):
        read_info(path)
    whole = Affine(1.25, 0, -0.625, 0, -1.25, 90.625)  # 0 to 360 degrees, centres of the pixels on the poles
    read_info(put(tmp_path / "world.tif", np.ones((1, 145, 288), "uint8"), crs="EPSG:4326", transform=whole))


def test_a_band_that_is_called_alpha_but_holds_data_is_asked_about(tmp_path):
    data = np.random.default_rng(0).integers(1, 255, (4, 64, 64)).astype("uint8")
    data[3, :8] = 0
    rgbn = put(tmp_path / "naip.tif", data, photometric="RGB", ALPHA="YES", crs="EPSG:32618", transform=NORTH_UP)
    with pytest.raises(ZooError, match=r"naip\.tif: band 4 is marked as alpha but holds data; choose bands by number"):
        read_whole(rgbn)
    with RasterReader(rgbn) as reader:
        np.testing.assert_array_equal(reader.read(Window(0, 0, 64, 64), [1, 2, 3, 4]), data)
        np.testing.assert_array_equal(reader.read(Window(0, 0, 64, 64), [1]), data[:1])
    named = read_info(rgbn).named(["rgbn"], "infer.band_names")
    assert (named.bands, named.select(["nir", "blue"])) == ((1, 2, 3, 4), (4, 3))
    data[3] = np.where(np.arange(64) < 8, 0, 255)
    info = read_info(put(tmp_path / "rgba.tif", data, photometric="RGB", ALPHA="YES"))
    assert (info.bands, info.notes) == ((1, 2, 3), ["band 4 is alpha: it hides pixels"])


@pytest.mark.parametrize(("kind", "nodata"), [("float32", None), ("float32", 7), ("uint8", 7)])
def test_alpha_hides_where_gdal_makes_no_mask_of_it(tmp_path, kind, nodata):
    data = np.ones((4, 4, 4), kind)
    data[0, 3, 3], data[3, :2] = 7, 0
    path = put(tmp_path / "alpha.tif", data, nodata=nodata, photometric="RGB", ALPHA="YES")
    hidden = np.broadcast_to(np.arange(4)[:, None] < 2, (3, 4, 4)).copy()
    hidden[0, 3, 3] = nodata is not None
    np.testing.assert_array_equal(np.isnan(read_whole(path)), hidden)
    with RasterReader(path) as reader:
        assert np.isnan(reader.thumbnail(2)).sum() >= 4
        assert not np.isnan(reader.read(Window(0, 0, 4, 2), [1, 4])).any()  # asked for, alpha is data


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_a_scale_that_leaves_no_value_is_refused(tmp_path, scale):
    path = put(tmp_path / "scaled.tif", np.ones((2, 4, 4), "uint8"))
    with rasterio.open(path, "r+") as out:
        out.scales, out.offsets = (1.0, scale), (0.0, 0.0)
    with pytest.raises(ZooError, match=r"scaled\.tif: band 2 has the scale (0|nan) and the offset 0.*gdal_edit"):
        read_info(path)


def test_variables_of_a_file_are_listed_and_addressed(tmp_path):
    import h5py

    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = np.zeros((3, 4), "float32"), np.ones((3, 4), "float32")
    with pytest.raises(ZooError, match=r"two\.h5: holds 2 variables; name one: HDF5:.*two\.h5://a, HDF5:.*two\.h5://b"):
        read_info(tmp_path / "two.h5")
    for name in (f"HDF5:{tmp_path}/two.h5://b", f"netcdf:{tmp_path}/two.h5:b"):
        assert (read_whole(Path(name)) == 1).all(), name


@pytest.mark.parametrize(
    ("have", "wanted", "found"),
    [
        (("B01", "B02", "B12"), ("B1", "B12"), [0, 2]),
        (("blue", "green", "red", "nir"), ("B2", "B3", "B4", "B8"), [0, 1, 2, 3]),
        (("SR_B4", "SR_B5", "SR_B6"), ("red", "nir08", "swir16"), [0, 1, 2]),
        (("B1", "B2", "B3", "B4", "B5", "B7", "B6", "B8A"), ("red edge 1", "narrow NIR"), [4, 7]),
        (("vv", "vh"), ("VH", "VV"), [1, 0]),
        (PRESETS["eurosat"], ("B8A", "B12"), [12, 11]),
        (("B02_10m", "B11_20m"), ("B2", "B11"), [0, 1]),
    ],
)
def test_names_that_mean_the_same(have, wanted, found):
    assert find_bands(have, wanted) == found


@pytest.mark.parametrize(
    ("have", "wanted", "problem"),
    [
        (("blue", "green", "red", "nir"), ("B2", "B3", "B4", "B5"), "B2 alone does not tell the sensor"),
        (("SR_B2", "SR_B5", "SR_B6"), ("B2", "B8", "B11"), "SR_B2 is of another sensor than B2"),
        (("B1", "B01"), ("b1",), "several bands are called B1, B01"),
        (("nir", "NIR"), ("B8",), "several bands are called nir, NIR"),
        (("B01", "B02", "B12"), ("B8",), "no band is called 'B8'"),
    ],
)
def test_names_that_do_not_tell_are_not_guessed(have, wanted, problem):
    with pytest.raises(ZooError, match=problem):
        find_bands(have, wanted)


def test_bands_of_several_types_are_read(tmp_path):
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 4, "crs": "EPSG:32631", "transform": NORTH_UP}
    bands = ""
    for number, (kind, value) in enumerate((("UInt16", 65535), ("Float32", 1.5)), 1):
        with rasterio.open(tmp_path / f"{kind}.tif", "w", dtype=kind.lower(), **profile) as out:
            out.write(np.full((1, 4, 4), value, kind.lower()))
        bands += (
            f'<VRTRasterBand dataType="{kind}" band="{number}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{kind}.tif</SourceFilename></SimpleSource></VRTRasterBand>'
        )
    (tmp_path / "two.vrt").write_text(f'<VRTDataset rasterXSize="4" rasterYSize="4">{bands}</VRTDataset>')
    assert read_whole(tmp_path / "two.vrt")[:, 1, 2].tolist() == [65535, 1.5]
    with open_reader(tmp_path / "two.vrt") as reader:
        assert reader.thumbnail(2).shape == (2, 2, 2)
