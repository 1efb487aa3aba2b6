"""Scenes of several files on one grid, and Sentinel-2 products (SAFE): right values in the right pixels."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo_core import Port, ZooError
from eozoo_core.raster.assembly import Assembly, Part
from eozoo_core.raster.masks import RowMask
from eozoo_core.raster.tiles import Window
from eozoo_core.settings.maps import MaskSettings, SourceSettings
from eozoo_core.sources.find import find_assemblies
from eozoo_core.task import Survey, Task
from eozoo_core.task.inputs import scenes_at
from eozoo_core.task.mapper import Mapper
from eozoo_core.task.maps import map_scene
from eozoo_core.task.scenes import Scene, by_dates
from eozoo_core.task.survey import BandSurvey
from products import NORTH, PRODUCT, WEST, numbers, write_raster, write_safe, zipped
from test_map_hooks import GRID, Heights, Two, read
from test_turns import MADE


def survey(*names):
    return Survey(bands=tuple(BandSurvey(name=name, mean=0.1) for name in names))


def part(path, name="a", **options):
    return Part((name,), str(path), **options)


def whole(scene):
    with scene.open() as reader:
        return reader.read(reader.info.grid.whole)


@pytest.fixture(scope="module")
def safe(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("safe"))


def opened(path, names=("B04", "B11"), **infer):
    task = Heights(**infer)
    (found,) = find_assemblies(path)
    return task.open_scene(found, survey(*names))


# -- Sentinel-2 products ----------------------------------------------------------------------------------------------


def test_a_product_is_one_scene_of_reflectance_with_bands_by_name(safe):
    scene = opened(safe, ("nir", "B11", "red"))
    with scene.open() as reader:
        values = reader.read(scene.grid.whole, scene.bands)
        assert reader.info.descriptions == ("B08", "B11", "B04")
        assert reader.info.units == ("reflectance",) * 3
    row, stored = np.arange(120), numbers("B08").astype(float)
    np.testing.assert_allclose(values[0, :, 0], (1300 + row - 1000) / 1e4, rtol=1e-6)  # first of list B08: 1300
    np.testing.assert_array_equal(np.isnan(values[0]), stored == 0)
    coarse = (row - 0.5) / 2  # rows of 10 m in rows of 20 m, which grow by 1 each; beyond the ends is nothing
    np.testing.assert_allclose(values[1, :, 0], (1600 + coarse.clip(0, 59) - 1000) / 1e4, rtol=1e-6)
    assert np.isnan(values[1, 100:, 100:]).all()
    assert np.isfinite(values[1, :100]).all()
    assert "reflectance = (number - 1000) / 10000" in scene.notes[0]
    assert "nir = B08" in scene.notes[1]
    assert (scene.file("mean"), scene.grid.width) == (f"{PRODUCT}_mean", 120)
    assert scene.tags["ACQUIRED"] == "2024-06-15T10:40:31Z"


def test_the_map_has_the_pixels_of_the_finest_band_that_is_used(safe):
    assert opened(safe, ("B05", "B11")).grid.transform.a == 20
    assert opened(safe, ("B01",)).grid.transform.a == 60
    scene = opened(safe, ("B02",), source=SourceSettings(pixel=60))
    with scene.open() as reader:
        values = reader.read(scene.grid.whole)
    assert values.shape == (1, 20, 20)
    np.testing.assert_allclose(values[0, :, 0], (6 * np.arange(20) + 2.5) / 1e4, rtol=1e-5)  # means of six rows


def test_a_zip_and_the_metadata_file_are_the_same_scene(safe, tmp_path):
    copy = write_safe(tmp_path)
    (by_metadata,) = find_assemblies(copy / "MTD_MSIL2A.xml")
    (of_folder,) = find_assemblies(tmp_path)  # a folder of products
    assert by_metadata == of_folder
    archive = zipped(copy)
    (found,) = find_assemblies(archive)
    (folder,) = find_assemblies(safe)
    assert (found.name, found.date, found.told) == (folder.name, "20240615", folder.told)
    assert found.files == (archive,)
    np.testing.assert_array_equal(whole(found), whole(folder))


@pytest.mark.parametrize(
    ("product", "offset", "expected"),
    [
        (PRODUCT.replace("N0510", "N0300"), 0, 0.13),
        (PRODUCT.replace("N0510", "N9999"), 0, 0.03),  # set by hand below
    ],
)
def test_the_baseline_decides_the_offset(tmp_path, product, offset, expected):
    folder = write_safe(tmp_path, product, offset, ("B08",))
    how = SourceSettings(s2_offset=-1000 if "N9999" in product else None)
    scene = opened(folder, ("B08",), source=how)
    with scene.open() as reader:
        assert reader.read(Window(0, 0, 1, 1))[0, 0, 0] == pytest.approx(expected)


def test_what_a_product_does_not_tell_is_asked_for(tmp_path):
    folder = write_safe(tmp_path, PRODUCT.replace("N0510", "N9999"), 0, ("B08",))
    with pytest.raises(ZooError, match=r"tell its processing baseline .*; set infer.source.s2_offset to -1000"):
        opened(folder, ("B08",))
    other = write_safe(tmp_path / "b", PRODUCT.replace("N0510", "N0300"), -1000, ("B08",))
    with pytest.raises(ZooError, match=r"03.00 in its name means 0, but the offset in MTD_MSIL2A.xml means -1000"):
        opened(other, ("B08",))


def test_bad_products_say_so_in_one_line(tmp_path, safe):
    with pytest.raises(ZooError, match=r"SAFE: no band is called 'B12'.* --set infer.bands"):
        opened(safe, ("B04", "B12"))
    empty = tmp_path / "a.SAFE"
    empty.mkdir()
    with pytest.raises(ZooError, match=r"holds no band .*; fetch the whole product"):
        find_assemblies(empty)
    (tmp_path / "b.zip").write_bytes(b"no zip")
    with pytest.raises(ZooError, match=r"b.zip: cannot be read as a zip"):
        find_assemblies(tmp_path / "b.zip")
    broken = write_safe(tmp_path / "c", bands=("B04",))
    (broken / "MTD_MSIL2A.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>")
    with pytest.raises(ZooError, match="declares a document type"):
        find_assemblies(broken)
    band = next(broken.rglob("*B04_10m.jp2"))
    (broken / "MTD_MSIL2A.xml").unlink()
    band.write_bytes(band.read_bytes()[:200])
    with pytest.raises(ZooError, match=r"B04_10m.jp2: cannot be read"):
        opened(broken, ("B04",))
    (broken.parent / "x.tif").write_bytes(b"")
    with pytest.raises(ZooError, match="products and rasters beside them"):
        find_assemblies(broken.parent)


def test_scl_masks_the_map_where_it_is_wanted(safe, tmp_path):
    scene = opened(safe, ("B04",), mask=MaskSettings(scl=(3, 9)))
    mask = RowMask(scene.grid, MaskSettings(scl=(3, 9)), "x", scene.scl)
    hidden = np.concatenate([mask.next(50), mask.next(70)])
    expected = np.zeros((120, 120), bool)
    expected[:60, :60] = True  # 9 in the upper left quarter of 20 m
    np.testing.assert_array_equal(hidden, expected)
    assert not RowMask(scene.grid, MaskSettings(), "x", scene.scl).next(120).any()
    with pytest.raises(ZooError, match=r"x: has no band SCL, which infer.mask.scl needs"):
        RowMask(scene.grid, MaskSettings(scl=(3,)), "x")


def test_two_products_are_two_dates_of_one_scene(tmp_path):
    later = PRODUCT.replace("20240615", "20240715")
    write_safe(tmp_path, later, bands=("B04", "B11"))
    write_safe(tmp_path, bands=("B04", "B11"))
    names = tuple(f"{date}_{band}" for date in ("20200601", "20200701") for band in ("B11", "red"))
    (pair,) = by_dates(find_assemblies(tmp_path), names)
    assert [one.date for one in pair] == ["20240615", "20240715"]
    scene = Heights(factor=10_000).open_scene(pair, survey(*names))
    with scene.open() as reader:
        values = scene.values(reader.read(scene.grid.whole, scene.bands))
    np.testing.assert_allclose(values[:, 0, 0], [600, 200, 600, 200], rtol=1e-5)
    assert scene.grid.transform.a == 10


# -- any files --------------------------------------------------------------------------------------------------------


def test_windows_of_a_scene_are_the_same_bits_however_they_are_cut(safe):
    (scene,) = find_assemblies(safe)
    scene = scene.only([1, 2, 5, 9])  # 60, 10, 20 m, classes
    with scene.open() as reader:
        at_once = reader.read(reader.info.grid.whole)
        for side in (31, 50):
            for row in range(0, 120, side):
                for col in range(0, 120, side):
                    window = Window(row, col, min(side, 120 - row), min(side, 120 - col))
                    np.testing.assert_array_equal(reader.read(window), at_once[(slice(None), *window.slices)])
        picture = reader.thumbnail(40)
        np.testing.assert_array_equal(picture[1], at_once[1, 1::3, 1::3])


def test_nothing_missing_enters_a_kernel_and_files_need_not_cover_the_grid(tmp_path):
    fine = write_raster(tmp_path / "fine.tif", np.ones((8, 8), "float32"), 10)
    holed = np.array([[100, 7], [7, 7]], "int16")
    coarse = write_raster(tmp_path / "coarse.tif", holed, 20, nodata=100)
    moved = write_raster(tmp_path / "moved.tif", np.full((8, 8), 5, "uint8"), 10, west=WEST + 50)
    found = whole(Assembly("s", "s", (part(fine), part(coarse, "b", missing=(-1.0,)), part(moved, "c"))))
    assert found.shape == (3, 8, 8)
    known = found[1][np.isfinite(found[1])]
    assert known.size
    assert (known == 7).all()
    assert np.isnan(found[1, :2, :2]).all()
    assert np.isnan(found[2, :, :5]).all()
    assert (found[2, :, 5:] == 5).all()


def test_packing_is_applied_once_and_a_contradiction_is_told(tmp_path):
    stored = np.full((2, 2), 3000, "uint16")
    tagged = write_raster(tmp_path / "tagged.tif", stored, 10, scales=(1e-4,), offsets=(-0.1,))
    plain = write_raster(tmp_path / "plain.tif", stored, 10)
    told = {"scale": 1e-4, "offset": -0.1}
    found = whole(Assembly("s", "s", (part(tagged), part(tagged, "b", **told), part(plain, "c", **told))))
    np.testing.assert_allclose(found[:, 0, 0], 0.2, rtol=1e-6)
    with pytest.raises(ZooError, match=r"tagged.tif: its tags say stored x 0.0001 -0.1, .* says 0.0002 \+0"):
        whole(Assembly("s", "s", (part(tagged, scale=2e-4),)))


def test_a_file_of_bands_that_nobody_lists_is_looked_into(tmp_path):
    values = np.stack([np.full((4, 4), v, "float32") for v in (1, 2, 3)])
    many = write_raster(tmp_path / "m.tif", values, 10, descriptions=("blue", "green", "red"))
    scene = Heights().open_scene(Assembly("s", "s", (part(many, "image", band=0),)), survey("red", "blue"))
    with scene.open() as reader:
        np.testing.assert_array_equal(reader.read(scene.grid.whole)[:, 0, 0], [3, 1])


def test_only_the_part_in_the_box_is_read_with_the_values_of_the_whole(safe):
    (scene,) = find_assemblies(safe)
    box = rasterio.warp.transform_bounds("EPSG:32631", "EPSG:4326", WEST + 333, NORTH - 700, WEST + 500, NORTH - 400)
    inside = replace(scene, box=box)
    with inside.open() as reader, scene.open() as every:
        t = reader.info.grid.transform
        col, row = round((t.c - WEST) / 10), round((NORTH - t.f) / 10)
        grid = reader.info.grid
        assert (33 - col, 40 - row) <= (1, 1)
        assert col + grid.width in (50, 51)
        window = Window(row, col, grid.height, grid.width)
        np.testing.assert_array_equal(reader.read(grid.whole), every.read(window))
    with pytest.raises(ZooError, match=r"SAFE: lies beside the box 1, 2, 3, 4 degrees"):
        replace(scene, box=(1.0, 2.0, 3.0, 4.0)).open()


def test_crs_that_differ_and_files_without_place_are_refused(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.ones((2, 2), "float32"), 10)
    b = write_raster(tmp_path / "b.tif", np.ones((2, 2), "float32"), 10, crs="EPSG:32632")
    with pytest.raises(ZooError, match="s: b has CRS EPSG:32632, other bands EPSG:32631; reproject"):
        whole(Assembly("s", "s", (part(a), part(b, "b"))))


def test_a_scene_is_small_and_can_be_sent_to_workers(safe):
    (scene,) = find_assemblies(safe)
    sent = pickle.dumps(scene)
    assert len(sent) < 5000
    np.testing.assert_array_equal(whole(pickle.loads(sent)), whole(scene))


def test_what_is_read_and_how_is_in_the_stamp(safe):
    (scene,) = find_assemblies(safe)
    same = replace(scene)
    assert same.identity == scene.identity
    for change in ({"box": (0, 0, 1, 1)}, {"version": "2"}, {"pixel": 20.0}, {"parts": scene.parts[1:]}):
        assert replace(scene, **change).identity != scene.identity
    token = replace(scene, parts=tuple(replace(p, address=f"{p.address}?sig=1") for p in scene.parts))
    assert token.identity == scene.identity


def test_factor_is_for_networks_of_digital_numbers(safe):
    scene = opened(safe, ("B08",), factor=10_000)
    with scene.open() as reader:
        assert scene.values(reader.read(Window(0, 0, 1, 1)))[0, 0, 0] == pytest.approx(300)


class Plain(Heights):
    map = Task.map


def test_maps_of_a_product(safe, tmp_path):
    """From a product to a map, through windows, with its mask: the network gives back what it gets."""
    how = {"mask": MaskSettings(scl=(9,)), "window": 32, "overlap": 8}
    scene = opened(safe, ("B04", "B11"), **how)
    image, out = Port("image", "B C H W", bands=("B04", "B11")), Port("first", "B H W")
    two = Two((image,), (out,), lambda a: {"first": a["image"][:, 0]})
    two.survey = survey("B04", "B11")
    for _ in map_scene(Plain(**how), None, two, scene, tmp_path):
        pass
    values, tags, _, _ = read(tmp_path / f"{PRODUCT}_first.tif")
    assert np.isnan(values[0][:60, :60]).all()
    assert values[0, 70, 5] == pytest.approx((1200 + 70 - 1000) / 1e4)
    assert np.isnan(values[0, 100:, 100:]).all()
    assert np.isfinite(values[0]).sum() == 120 * 120 - 60 * 60 - 20 * 20
    assert "reflectance = (number - 1000)" in tags["READ"]
    assert tags["PRODUCT"] == PRODUCT


def test_a_task_of_other_things_refuses_a_product_in_one_line(safe):
    class Tiles(Heights):
        reads_assemblies = False

    with pytest.raises(ZooError, match=r"SAFE: is read by tasks that map rasters, not by this one"):
        scenes_at(Tiles(), safe)
    assert scenes_at(Heights(), safe) == find_assemblies(safe)


def test_a_scene_is_mapped_again_where_box_or_catalogue_say_something_else(safe, tmp_path):
    (scene,) = find_assemblies(safe)
    mapper = Mapper.__new__(Mapper)
    mapper.decided = "settings"
    other = replace(scene, box=(4.2, 46.0, 4.3, 46.05))
    assert mapper.decided_of(Path("a.tif")) == "settings"
    assert len({mapper.decided_of(one) for one in (scene, other, (scene, other))}) == 3
    stamps = [MADE.marked(Scene(safe, GRID, parts=one)).stamp for one in (scene, other, replace(scene))]
    assert stamps[0] == stamps[2] != stamps[1]
    changed = write_raster(tmp_path / "a.tif", np.ones((2, 2), "float32"), 10)
    one = Scene(changed, GRID, parts=Assembly("s", "s", (part(changed),)))
    before = MADE.marked(one).stamp
    write_raster(changed, np.ones((3, 3), "float32"), 10)
    assert MADE.marked(one).stamp != before
