"""Writing maps: what is read back is what was written, and nothing half-written ever has the final name."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo_core.errors import ZooError
from eozoo_core.raster import cog
from eozoo_core.raster.cog import Band, Category, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window

CRS, TRANSFORM = rasterio.CRS.from_epsg(32616), rasterio.Affine(10, 0, 500000, 0, -10, 1400000)
BANDS = [Band("height", "m"), Band("height_std", "m")]


def write(path, values, grid=None, strip=100, **options):
    grid = grid or Grid(*values.shape[1:], CRS, TRANSFORM)
    options.setdefault("bands", BANDS[: len(values)])
    with CogWriter(path, grid, **options) as writer:
        for row in range(0, values.shape[1], strip):
            writer.write_rows(row, values[:, row : row + strip])
    return path


def noise(*shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[:, :3, 5:9] = np.nan
    return values


@pytest.mark.parametrize(("height", "width", "strip"), [(1300, 700, 137), (40, 1100, 40), (513, 30, 1), (1, 1, 1)])
def test_reads_back_exactly_and_is_a_cog(tmp_path, height, width, strip):
    values = noise(2, height, width)
    path = write(tmp_path / "new" / "map.tif", values, strip=strip, tags={"MODEL": "identity"})
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (dataset.crs, dataset.transform) == (CRS, TRANSFORM)
        assert dataset.dtypes == ("float32", "float32")
        assert np.isnan(dataset.nodatavals).all()
        assert dataset.descriptions == ("height", "height_std")
        assert dataset.units == ("m", "m")
        assert dataset.tags()["MODEL"] == "identity"
        side = {1300: 512, 40: 512, 513: 512, 1: 128}[height]  # a small map is one tile of its size, 128 px at least
        assert dataset.block_shapes[0] == (side, side)
        assert dataset.compression.name == "deflate"
        assert bool(dataset.overviews(1)) == (max(height, width) > 512)
        np.testing.assert_array_equal(dataset.read(), values)
    assert [p.name for p in path.parent.iterdir()] == ["map.tif"]


@pytest.mark.parametrize("kind", ["float32", "int16", "four bytes", "classes"])
def test_a_small_map_made_in_memory_is_the_same_as_a_streamed_one(tmp_path, monkeypatch, kind):
    values, options = noise(2, 70, 60), {"tags": {"A": "1"}}
    if kind == "int16":
        options |= {"dtype": "int16", "nodata": -1}
    elif kind == "four bytes":
        values, options = np.zeros((4, 70, 60)), {"dtype": "uint8", "bands": [Band(str(i)) for i in range(4)]}
    elif kind == "classes":
        classes = {0: Category("sea", (0, 0, 200)), 1: Category("land", (9, 99, 9))}
        values, options = np.ones((1, 70, 60)), {"dtype": "uint8", "nodata": 255, "bands": [Band("c", "", classes)]}

    def told(path):
        with CogWriter(path, Grid(70, 60, CRS, TRANSFORM), **({"bands": BANDS} | options)) as writer:
            writer.write_rows(0, values)
            writer.tag({"AFTER": "rows"})
        with rasterio.open(path) as data:
            same = data.profile, data.descriptions, data.units, data.colorinterp, data.tags(), data.tags(1)
            colours = data.colormap(1) if kind == "classes" else None
            return repr((*same, data.tags(ns="IMAGE_STRUCTURE"), data.mask_flag_enums, colours, data.read().tolist()))

    small = told(tmp_path / "small.tif")
    monkeypatch.setattr(cog, "SMALL", 0)
    assert small == told(tmp_path / "streamed.tif")


def test_overviews_average_what_is_valid(tmp_path):
    values = np.full((1, 600, 600), 4, np.float32)
    values[0, :, ::2] = np.nan
    with rasterio.open(write(tmp_path / "map.tif", values), overview_level=0) as overview:
        np.testing.assert_array_equal(overview.read(1), np.full((300, 300), 4))


def test_without_georeference_it_says_so(tmp_path, recwarn):
    path = write(tmp_path / "map.tif", noise(2, 20, 20), grid=Grid(20, 20))
    with RasterReader(path) as reader:
        assert (reader.info.grid.crs, reader.info.grid.transform) == (None, None)
    assert not [w for w in recwarn if "tests" not in w.filename]
    with rasterio.open(path) as dataset:
        assert dataset.tags()["GEOREFERENCE"].startswith("none")


def test_classes_have_colours_and_names(tmp_path):
    classes = {1: Category("forest", (0, 100, 0)), 2: Category("water", (0, 0, 200))}
    values = np.array([[[1, 2, np.nan]]], np.float32)
    path = write(tmp_path / "map.tif", values, bands=[Band("cover", classes=classes)], dtype="uint8", nodata=0)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), [[1, 2, 0]])
        assert dataset.nodata == 0
        assert dataset.colormap(1)[1] == (0, 100, 0, 255)
        assert json.loads(dataset.tags(1)["CLASS_NAMES"]) == {"1": "forest", "2": "water"}
    with pytest.raises(ValueError, match="uint8"):
        CogWriter(path, Grid(1, 3), [Band("cover", classes=classes)])


def test_four_bands_of_bytes_have_no_alpha(tmp_path):
    values = np.arange(4 * 30 * 30).reshape(4, 30, 30).astype(np.uint8)
    path = write(tmp_path / "map.tif", values, bands=[Band(n) for n in "abcd"], dtype="uint8")
    with RasterReader(path) as reader:
        assert reader.info.bands == (1, 2, 3, 4)
        np.testing.assert_array_equal(reader.read(Window(0, 0, 30, 30)), values)


def test_integer_maps_take_no_silent_loss(tmp_path):
    out = write(tmp_path / "a.tif", np.array([[[1.4, 2.6, np.nan]]]), dtype="int16", nodata=-1)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(1), [[1, 3, -1]])
    with pytest.raises(ZooError, match=r"b\.tif: NaN cannot be stored as int16"):
        write(tmp_path / "b.tif", np.array([[[np.nan]]]), dtype="int16")
    with pytest.raises(ZooError, match=r"b\.tif: values .*40000 do not fit int16"):
        write(tmp_path / "b.tif", np.array([[[4e4]]]), dtype="int16")
    assert not (tmp_path / "b.tif").exists()


def test_float_map_with_a_number_for_nodata(tmp_path):
    with rasterio.open(write(tmp_path / "a.tif", noise(1, 20, 20), nodata=-9999)) as dataset:
        assert dataset.read(1)[0, 5] == -9999
        assert np.isnan(dataset.read(1, masked=True).filled(np.nan)[0, 5])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_map_and_nothing_else(tmp_path, error):
    path = tmp_path / "map.tif"
    path.write_bytes(b"old")

    def interrupted():
        with CogWriter(path, Grid(2000, 10), BANDS) as writer:
            writer.write_rows(0, noise(2, 1000, 10))
            raise error

    with pytest.raises(error):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("row", "shape", "message"),
    [(0, (2, 10, 9), "10 of 20 rows"), (5, (2, 10, 9), "where row 0 is due"), (0, (2, 10, 8), "shape")],
)
def test_missing_rows_and_wrong_order_are_bugs(tmp_path, row, shape, message):
    with pytest.raises(ValueError, match=message), CogWriter(tmp_path / "m.tif", Grid(20, 9), BANDS) as writer:
        writer.write_rows(row, noise(*shape))
    assert list(tmp_path.iterdir()) == []


def test_cut_short_result_is_refused(tmp_path, monkeypatch):
    """GDAL may report a full disk only as a warning: the finished file is checked before it gets its name."""
    copy = cog.rasterio.shutil.copy

    def cut(source, target, **options):
        copy(source, target, **options)
        with Path(target).open("r+b") as stream:
            stream.truncate(stream.seek(0, 2) - 1000)

    monkeypatch.setattr(cog.rasterio.shutil, "copy", cut)
    with pytest.raises(ZooError, match=r"m\.tif: cannot be written.*cut short"):
        write(tmp_path / "m.tif", noise(2, 600, 600))
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
values = np.random.default_rng(0).random((1, 1024, 1024), np.float32) * 10.0 ** np.arange(1024) ** 0.5
try:
    with CogWriter(sys.argv[1], Grid(1024, 1024), [Band("a")]) as writer:
        writer.write_rows(0, values.astype(np.float32))
except ZooError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("limit", [0, 3_000_000, 4_250_000])  # at opening, while rows come in, and in the translation
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, limit):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "map.tif"), str(limit)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "map.tif: cannot be written; is the disk full?" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=r"map\.tif: cannot be written"):
        write(tmp_path / "file" / "map.tif", noise(1, 2, 2))
