"""What ``--input`` may name: URLs, buckets, patterns, lists, VRTs, Zarr; and that only needed bytes travel."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from eozoo_core import Port, ZooError
from eozoo_core.raster import remote
from eozoo_core.raster.address import gdal_name, host_of, named, restored, shown, variable_of
from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import Layer, MapFiles
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import open_reader, read_info, read_whole
from eozoo_core.raster.tiles import Tiling, Window
from eozoo_core.raster.xarrays import XarrayReader
from eozoo_core.raster.zarr_store import require_numbers
from eozoo_core.sources.names import expand
from eozoo_core.task import Survey
from eozoo_core.task.made_from import are_there, seen
from eozoo_core.task.survey import BandSurvey
from eozoo_core.task.windows import map_raster
from eozoo_core.task.worklist import changed
from eozoo_core.task.xarrays import predict_xarray
from serve import serve
from test_map_hooks import HEIGHT, Heights, Two

CRS = rasterio.CRS.from_epsg(32632)
GRID = Grid(600, 600, CRS, rasterio.Affine(10, 0, 500000, 0, -10, 5000000))
VALUES = np.random.default_rng(0).integers(1, 10000, (2, 600, 600)).astype("uint16")
VALUES[0, 0, 0] = 0
PROFILE = {"driver": "GTiff", "dtype": "uint16", "count": 2, "height": 600, "width": 600, "nodata": 0, "crs": CRS,
           "transform": GRID.transform, "tiled": True, "blockxsize": 128, "blockysize": 128}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GeoTIFF of 25 tiles, a VRT of it, and the same as Zarr in both formats, in chunks of 100 px."""
    root = tmp_path_factory.mktemp("served")
    with rasterio.open(root / "a.tif", "w", **PROFILE) as data:
        data.write(VALUES)
        data.descriptions = ("B04", "B08")
    rasterio.shutil.copy(root / "a.tif", root / "a.vrt", driver="VRT")
    with warnings.catch_warnings(action="ignore"):  # of consolidated metadata in format 3
        for number in (2, 3):
            dataset().to_zarr(root / f"s{number}.zarr", zarr_format=number,
                              encoding={name: {"chunks": (100, 100)} for name in ("B04", "B08")})  # fmt: skip
    return root


@pytest.fixture(scope="module")
def served(folder):
    with serve(folder) as found:
        yield found


@pytest.fixture(autouse=True)
def _never_long(monkeypatch):
    monkeypatch.setitem(remote.OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.01")
    monkeypatch.setitem(remote.OPTIONS, "CPL_VSIL_CURL_NON_CACHED", "/vsicurl/")


def dataset(**attrs):
    """Both bands: B04 packed with 0 as missing, B08 as it is."""
    packed = {"scale_factor": 0.5, "add_offset": 1.0, "_FillValue": np.uint16(0), "units": "m", "grid_mapping": "place"}
    axes, x = ("y", "x"), 500000 + 10 * np.arange(600) + 5.0
    place = ((), 0, {"crs_wkt": CRS.to_wkt()})
    bands = {"B04": (axes, VALUES[0], packed), "B08": (axes, VALUES[1], {"grid_mapping": "place"})}
    return xr.Dataset(bands, {"x": x, "y": 5000000 - 10 * np.arange(600) - 5.0, "place": place}, attrs)


@pytest.mark.parametrize(
    ("text", "gdal", "host", "name"),
    [
        ("https://h.org/a/b.tif", "/vsicurl/https://h.org/a/b.tif", "h.org", "b"),
        ("http://h:80/b.tif?sig=a%2Fb", "/vsicurl/http://h:80/b.tif?sig=a%2Fb", "h:80", "b"),
        ("s3://bucket/k/b.tif", "/vsis3/bucket/k/b.tif", "s3://bucket", "b"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif", "gs://bucket", "b"),
        ("/vsicurl/https://h.org/b.tif", "/vsicurl/https://h.org/b.tif", "h.org", "b"),
        ("https://u:p@h.org/b.tif", "/vsicurl/https://u:p@h.org/b.tif", "h.org", "b"),
    ],
)
def test_addresses_survive_pathlib(text, gdal, host, name):
    path = pickle.loads(pickle.dumps(named(text)))
    assert isinstance(path, Path)
    assert (restored(path), gdal_name(path), host_of(path), variable_of(path)) == (text, gdal, host, name)
    assert "sig" not in shown(path)


def test_a_url_that_a_path_would_change_is_refused():
    with pytest.raises(ZooError, match="write %2F"):
        named("https://h.org/a//b.tif")


def test_only_needed_bytes_travel(folder, served):
    before, size = served.bytes, (folder / "a.tif").stat().st_size
    with open_reader(named(f"{served.url}/a.tif?key=1")) as reader:
        found = reader.read(Window(0, 0, 100, 100))
    np.testing.assert_array_equal(found[1], VALUES[1, :100, :100])
    assert np.isnan(found[0, 0, 0])
    assert 2 * 100 * 100 * 2 < served.bytes - before < size / 5  # 2 bands, header and the first of 25 tiles
    assert "key" not in reader.info.path
    assert not [name for kind, name, _ in served.asked if kind == "GET" and not name]  # no folder is listed


@pytest.mark.parametrize("number", [2, 3])
def test_only_needed_chunks_of_zarr_travel(served, number):
    before = len(served.asked)
    with open_reader(named(f"{served.url}/s{number}.zarr")) as reader:
        found = reader.read(Window(100, 200, 100, 100), [2])
    np.testing.assert_array_equal(found[0], VALUES[1, 100:200, 200:300])
    chunk = "B08/1.2" if number == 2 else "B08/c/1/2"
    asked = {name for _, name, _ in served.asked[before:] if name.startswith(f"s{number}.zarr/B0") and ".z" not in
             name.rpartition("/")[2] and not name.endswith("json")}  # fmt: skip
    assert asked == {f"s{number}.zarr/{chunk}"}


def test_buckets_without_credentials_are_read_from_their_endpoint(folder, served, monkeypatch):
    for name, value in {"AWS_S3_ENDPOINT": served.url[7:], "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE",
                        "AWS_NO_SIGN_REQUEST": "YES", "CPL_GS_ENDPOINT": f"{served.url}/", "GS_NO_SIGN_REQUEST": "YES",
                        }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (folder / "bucket").mkdir(exist_ok=True)
    (folder / "bucket" / "a.tif").write_bytes((folder / "a.tif").read_bytes())
    for scheme in ("s3", "gs"):
        with open_reader(named(f"{scheme}://bucket/a.tif")) as reader:
            assert reader.read(Window(5, 5, 1, 1))[1, 0, 0] == VALUES[1, 5, 5]
    with pytest.raises(ZooError, match=r"s3://bucket/none\.tif: .*404"):
        read_info(named("s3://bucket/none.tif"))


def test_a_server_that_fails_twice_is_asked_again_and_half_a_file_is_one_line(folder):
    with serve(folder) as one:
        one.fails("a.tif", 2)
        assert read_info(named(f"{one.url}/a.tif")).count == 2
        with pytest.raises(ZooError, match=r"none\.tif: .*404") as error:
            read_info(named(f"{one.url}/none.tif"))
        assert "\n" not in str(error.value)
        one.breaks("a.tif")
        with pytest.raises(ZooError, match=r"a\.tif: .*(damaged|cannot be read)"):
            read_whole(named(f"{one.url}/a.tif"))
        one.breaks("s2.zarr/B04/0.0")
        with pytest.raises(ZooError, match=r"s2\.zarr: cannot be read; it is damaged or incomplete"):
            read_whole(named(f"{one.url}/s2.zarr"))


def test_a_vrt_on_a_network_points_to_its_own_host_only(folder, served):
    np.testing.assert_array_equal(read_whole(named(f"{served.url}/a.vrt"))[1], VALUES[1])
    text = (folder / "a.vrt").read_text()
    assert 'relativeToVRT="1">a.tif' in text
    for source in (folder / "a.tif", "/vsicurl/http://127.0.0.1:1/a.tif", "https://other.org/a.tif", "/vsis3/b/a.tif"):
        (folder / "far.vrt").write_text(text.replace('relativeToVRT="1">a.tif', f'relativeToVRT="0">{source}'))
        with pytest.raises(ZooError, match="not on its host"):
            read_info(named(f"{served.url}/far.vrt"))
    (folder / "far.tif").write_text((folder / "far.vrt").read_text())  # by its content GDAL would follow it
    with pytest.raises(ZooError, match="cannot be read as a raster"):
        read_info(named(f"{served.url}/far.tif"))
    with pytest.raises(ZooError, match="fetch it first"):
        read_info(named(f"{served.url}/a.nc"))


def test_patterns_and_lists(folder, tmp_path):
    for name in ("1/a.tif", "1/b.tif", "2/c.tif", "2/.d.tif"):
        touched(tmp_path / name)
    found = expand(tmp_path / "**/*.tif")
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["1/a.tif", "1/b.tif", "2/c.tif"]
    (tmp_path / "all.txt").write_text("# mine\n\nhttps://h.org/x.tif\n1/a.tif\n1/a.tif\n/vsis3/b/y.tif\n")
    assert expand(tmp_path / "all.txt") == [named("https://h.org/x.tif"), tmp_path / "1/a.tif", Path("/vsis3/b/y.tif")]
    for name in ("2/a.tif", "1_a.tif", "[a].tif"):
        touched(tmp_path / name)  # a name, not a pattern
    assert expand(tmp_path / "[a].tif") == [tmp_path / "[a].tif"]
    for text, told in {"1/a.tif\nno.tif": "line 2: .*no such file", "#\n": "lists nothing",
                       "https://h.org/a.tif\nhttps://h.org/a.jp2": "share a name",
                       "2/a.tif\n1/a.tif\n1_a.tif": "share a name"}.items():  # fmt: skip
        (tmp_path / "all.txt").write_text(text)
        with pytest.raises(ZooError, match=told):
            expand(tmp_path / "all.txt")
    with pytest.raises(ZooError, match="no file fits"):
        expand(tmp_path / "*.jp2")


def touched(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_rasters_of_one_name_are_called_by_as_few_folders_as_tell_them_apart(tmp_path):
    files = [
        touched(tmp_path / name) for name in ("2023/T1/b 4.tif", "2023/T2/b 4.tif", "2024/T1/b 4.tif", "2024/c.tif")
    ]
    found = expand(tmp_path / "**/*.tif")
    assert [one.name for one in found] == ["2023_T1_b-4", "2023_T2_b-4", "2024_T1_b-4", "c.tif"]
    assert [one.source for one in found[:3]] == list(map(str, files[:3]))
    (tmp_path / "all.txt").write_text("https://h.org/x/20200531.tif?key=1\nhttps://h.org/y/20200531.tif?key=2\n")
    one, two = expand(tmp_path / "all.txt")
    assert (one.name, two.name, one.date) == ("x_20200531", "y_20200531", "20200531")
    assert "key" not in str(one.identity) + one.source
    items = [touched(tmp_path / name / "item.json") for name in "xy"]
    assert expand(tmp_path / "?/item.json") == items  # their maps are called as the items are


def test_of_rasters_of_one_name_the_same_pixels_are_read(folder, tmp_path):
    for name in "xy":
        (tmp_path / name).mkdir()
        rasterio.shutil.copy(folder / "a.tif", tmp_path / name / "a.tif")
    one, _ = expand(tmp_path / "*/a.tif")
    with one.listed().open() as reader, open_reader(folder / "a.tif") as plain:
        assert reader.info.descriptions == ("B04", "B08")
        np.testing.assert_array_equal(reader.read(Window(0, 0, 100, 100)), plain.read(Window(0, 0, 100, 100)))


def test_a_file_that_changes_on_its_server_is_noticed(tmp_path):
    touched(tmp_path / "a.tif").write_bytes(b"1234")
    with serve(tmp_path) as here:
        file = named(f"{here.url}/a.tif")
        before = seen(file)
        (tmp_path / "a.tif").write_bytes(b"12345")
        assert (before, seen(file)) == ([str(file), "4"], [str(file), "5"])
        assert not here.bytes  # of the file itself nothing travels
        assert seen(named(f"{here.url}/none.tif")) == [str(Path(f"{here.url}/none.tif"))]
        assert changed((str(file), before))
        assert not changed((str(file), [str(file), "5"]))
    assert not changed((str(file), before))  # nobody answers: it counts as it was
    assert seen(Path("s3://bucket/a.tif")) == ["s3:/bucket/a.tif"]


@pytest.mark.parametrize("number", [2, 3])
def test_zarr_is_a_raster(folder, number):
    info = read_info(folder / f"s{number}.zarr")
    assert (info.descriptions, info.units, info.grid) == (("B04", "B08"), ("m", ""), GRID)
    with open_reader(folder / f"s{number}.zarr", missing=(VALUES[1, 0, 1],)) as reader:
        found = reader.read(Window(0, 0, 1, 3))
    assert np.isnan(found[0, 0, 0])
    assert found[0, 0, 2] == VALUES[0, 0, 2] * 0.5 + 1
    assert np.isnan(found[1, 0, 1])
    assert read_info(folder / f"s{number}.zarr/B08").descriptions == ("B08",)


def test_axes_labels_and_dates_become_bands():
    values = np.arange(2 * 3 * 4 * 5, dtype="float32").reshape(2, 3, 4, 5)
    coords = {"time": np.array(["2024-05-01", "2024-06-02"], "M8[ns]"), "band": ["B02", "B03", "B04"],
              "lat": [3.0, 2.0, 1.0, 0.0], "lon": [0.0, 1.0, 2.0, 3.0, 4.0]}  # fmt: skip
    data = xr.DataArray(values, coords, ("time", "band", "lat", "lon"), "s2").to_dataset()
    reader = XarrayReader(data, "it")
    names = [f"{date}_{band}" for date in ("20240501", "20240602") for band in ("B02", "B03", "B04")]
    assert list(reader.info.descriptions) == names
    assert (reader.info.grid.crs, reader.info.grid.transform[:6]) == ("EPSG:4326", (1, 0, -0.5, 0, -1, 3.5))
    np.testing.assert_array_equal(reader.read(Window(1, 2, 2, 2), [6, 1]), values[[1, 0], [2, 0], 1:3, 2:4])
    with pytest.raises(ZooError, match="not evenly spaced"):
        XarrayReader(data.assign_coords(lat=[3.0, 2.0, 1.0, -9.0]), "it")
    with pytest.raises(ZooError, match="2 grids"):
        XarrayReader(data.merge({"coarse": (("y", "x"), np.ones((2, 2)))}), "it")


def test_no_code_runs_from_zarr(tmp_path):
    group = zarr.open_group(str(tmp_path / "e.zarr"), mode="w", zarr_format=2)
    group.create_array("a", shape=(2, 2), dtype="f4", chunks=(2, 2))
    file = tmp_path / "e.zarr/a/.zarray"
    file.write_text(file.read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]'))
    assert "pickle" in file.read_text()
    with pytest.raises(ZooError, match="pickle"):
        read_info(tmp_path / "e.zarr")


def test_codecs_inside_a_shard_are_looked_at_too():
    of = lambda *codecs: SimpleNamespace(metadata=SimpleNamespace(to_dict=lambda: {"codecs": codecs}))  # noqa: E731
    shard = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "bytes"}, {"name": "numcodecs.zlib"}]}}
    require_numbers(of({"name": "bytes"}, shard), "it")
    shard["configuration"]["codecs"].append({"name": "numcodecs.pickle"})
    with pytest.raises(ZooError, match="pickle"):
        require_numbers(of(shard), "it")


def test_maps_as_zarr_are_those_as_geotiff(tmp_path):
    grid = replace(GRID, width=40)
    rng, bands = np.random.default_rng(1), (Band("mean", "m"), Band("std", "m"))
    strip = {"h": rng.normal(size=(2, 600, 40)).astype("float32"), "c": np.full((600, 40), 2, "float32")}
    classes = (Band("kind", "", {1: Category("dry land", (1, 2, 3)), 2: Category("water", (4, 5, 6))}),)
    hidden = np.zeros((600, 40), bool)
    hidden[550:, 10] = True
    for end in ("tif", "zarr"):
        layers = [(tmp_path / f"{layer.name}.{end}", layer) for layer in (Layer("h", bands), Layer("c", classes))]
        for tags in ({"EOZOO_STAMP": "old"}, {"EOZOO_STAMP": "abc"}):  # the second takes the place of the first
            with MapFiles(layers, grid, tags) as files:
                for row in range(0, 600, 250):
                    part = {name: values[..., row : row + 250, :] for name, values in strip.items()}
                    files.write_rows(row, part, hidden[row : row + 250])
        assert are_there([file for file, _ in layers], "abc")
        assert not are_there([file for file, _ in layers], "old")
    for name in "hc":
        a, b = (open_reader(tmp_path / f"{name}.{end}") for end in ("tif", "zarr"))
        np.testing.assert_array_equal(a.read(grid.whole), b.read(grid.whole))
        assert (a.info.grid, a.info.descriptions[:2] if name == "h" else None) == (
            b.info.grid, b.info.descriptions if name == "h" else None)  # fmt: skip
    opened = xr.open_zarr(tmp_path / "h.zarr", chunks=None)
    assert set(opened.data_vars) == {"h"}
    assert opened.x.values[0] == 500005
    assert opened.spatial_ref.item() == 0  # no fill value: 0 is a coordinate too
    assert opened.spatial_ref.attrs["crs_wkt"] == CRS.to_wkt()
    assert list(tmp_path.glob(".*")) == []
    with pytest.raises(ValueError, match="0 of 600"), MapFiles([(tmp_path / "n.zarr", Layer("h", bands))], grid, {}):
        pass
    assert not (tmp_path / "n.zarr").exists()


class Sums(Heights):
    """Its map is the sum of two bands, found by name."""

    def map(self, drawn, scene):
        return map_raster(drawn, scene, Tiling(64, 16, 1))

    def raster_bands(self, info, survey):
        return info.select(["B08", "B04"])


def test_predict_of_xarray_keeps_coordinates_and_attributes():
    image = Port("image", "B 2 H W", "m", ("B08", "B04"))
    sums = Two((image,), (HEIGHT,), lambda a: {"height": a["image"][:, 0] + 10 * a["image"][:, 1]})
    sums.survey = Survey(bands=(BandSurvey(name="B08", mean=1.0), BandSurvey(name="B04", mean=1.0)))
    task = Sums(nodata=())
    given = dataset(campaign="spring").isel(y=slice(0, 90), x=slice(0, 70))
    found = predict_xarray(task, None, sums, given)
    expected = VALUES[1, :90, :70] + 10 * (VALUES[0, :90, :70] * np.float32(0.5) + 1)
    expected[0, 0] = np.nan
    np.testing.assert_allclose(found.height.values, expected, rtol=1e-6)
    assert found.attrs["campaign"] == "spring"
    assert found.height.attrs["units"] == "m"
    for name in ("x", "y", "place"):
        xr.testing.assert_identical(found[name].variable, given[name].variable)
    dates = np.array(["2024-05-01", "2024-06-01"], "M8[ns]")
    several = xr.concat([given, given + 1], xr.DataArray(dates, dims="time", name="time"))
    assert predict_xarray(task, None, sums, several).height.dims == ("time", "y", "x")
    with pytest.raises(ZooError, match="no band is called 'B08'"):
        predict_xarray(task, None, sums, given[["B04"]])
    with pytest.raises(ZooError, match="no variable with rows and columns"):
        predict_xarray(task, None, sums, xr.DataArray(np.zeros(3)))
