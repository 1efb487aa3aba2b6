"""Beside the maps of many scenes: mosaics, merged files and a STAC collection; maps as int8 with a bounded error."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from eozoo.collection import Model, write_collection
from eozoo.outputs import finish
from eozoo_core import ZooError
from eozoo_core.raster import cog
from eozoo_core.raster.cog import Band, Category, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.maps_in import groups_of, maps_in
from eozoo_core.raster.packing import Packing
from eozoo_core.raster.read import open_reader, read_info, read_whole
from eozoo_core.raster.vrt import error_of, merge, write_vrt
from eozoo_core.run.lease import take
from eozoo_core.task.scenes import Scene
from rasterio import Affine
from rasterio.crs import CRS
from test_cards import schema
from test_map_hooks import GRID, Heights, heights, map_scene

UTM31 = CRS.from_epsg(32631)
MADE = {"EOZOO_CHECKPOINT": "0123", "EOZOO_VERSION": "eozoo 1.2, eozoo-toy 3"}
CLASSES = {1: Category("wood", (0, 99, 0)), 7: Category("open water", (0, 0, 99))}
NAN = np.nan


def grid_at(col, row, height, width, crs=UTM31, pixel=10.0, origin=(500_000.0, 5_000_000.0)):
    return Grid(height, width, crs, Affine(pixel, 0, origin[0] + pixel * col, 0, -pixel, origin[1] - pixel * row))


def put(folder, scene, values, grid, layer="height", tags=None, **how):
    """Write the map of a scene as ``infer`` does."""
    values = np.asarray(values, np.float32)
    bands = how.pop("bands", [Band(f"{layer} {i}", "m") for i in range(len(values))])
    told = {"LAYER": layer, "QUANTITY": "height", "SOURCE": f"{scene}.tif", **MADE, **(tags or {})}
    with CogWriter(folder / f"{scene}_{layer}.tif", grid, bands, tags=told, **how) as writer:
        writer.write_rows(0, values)


def full(value, height=3, width=4):
    return np.full((1, height, width), value, np.float32)


def only(folder):
    """The one group of the one layer of a folder."""
    ((group,),) = groups_of(maps_in(folder, {})[0]).values()
    return group


@pytest.fixture
def done(tmp_path, monkeypatch):
    """``finish`` of a run whose weights and card are given."""
    dest = tmp_path / "maps"
    monkeypatch.setattr("eozoo_core.task.ensemble.best_hash", lambda run, settings: "0123")
    card = dest / "model.json"

    def model(*_):
        if not card.exists():
            card.write_text("{}")
        return Model("toy", "A toy", card)

    monkeypatch.setattr("eozoo.outputs._model", model)
    task = SimpleNamespace(settings=SimpleNamespace(runtime=SimpleNamespace(quiet=False)))

    def run(merge=False):
        return [file.name for file in finish(task, None, dest, merge)]

    run.dest = dest
    return run


# -- floats as bytes --------------------------------------------------------------------------------------------------


def test_bytes_by_hand(tmp_path):
    """0 to 254 needs steps of 1 around 127; 0 to 508 steps of 2, and odd values are off by one."""
    values = np.array([[[0, 1, 127, 254, NAN]], [[0, 2, 3, 508, NAN]], [[4, 4, 4, 4, 4]], [[NAN] * 5]], np.float32)
    put(tmp_path, "a", values, grid_at(0, 0, 1, 5), packed=True)
    with rasterio.open(tmp_path / "a_height.tif") as data:
        assert data.read()[:3].tolist() == [[[-127, -126, 0, 127, -128]], [[-127, -126, -126, 127, -128]], [[0] * 5]]
        assert data.scales[:2] == (1, 2)
        assert data.offsets == (127, 254, 4, 0)
        assert set(data.nodatavals) == {-128}
        assert float(data.tags()["INT8_ERROR"]) == pytest.approx(1, rel=0.01)
    back = read_whole(tmp_path / "a_height.tif")
    np.testing.assert_array_equal(back, [values[0], [[0, 2, 2, 508, NAN]], values[2], values[3]])


@pytest.mark.parametrize("small", [cog.SMALL, 0])
def test_no_value_is_off_by_more_than_is_said(tmp_path, monkeypatch, small):
    monkeypatch.setattr("eozoo_core.raster.cog.SMALL", small)
    random = np.random.default_rng(3)
    values = (random.standard_t(2, (3, 200, 130)) * [[[1e-3]], [[1]], [[40]]] + [[[5]], [[0]], [[-9]]]).astype("f4")
    values[:, random.random((200, 130)) < 0.1] = NAN
    put(tmp_path, "a", values, grid_at(0, 0, 200, 130), packed=True)
    back = read_whole(tmp_path / "a_height.tif")
    info = read_info(tmp_path / "a_height.tif")
    np.testing.assert_array_equal(np.isnan(back), np.isnan(values))
    worst = np.nanmax(np.abs(back.astype(float) - values), axis=(1, 2))
    assert set(info.dtypes) == {"int8"}
    assert (worst <= np.array(info.scales) / 2 + 1e-6).all()
    assert (worst > np.array(info.scales) / 4).all()  # the bound is near
    assert 0.9 * worst.max() <= float(info.tags["INT8_ERROR"]) <= 1.2 * worst.max()
    assert info.descriptions == ("height 0", "height 1", "height 2")


def test_the_error_is_rounded_upwards():
    for high in (1.0, 2.3456, 7.0001, 99.9):
        packing = Packing(1)
        packing.see(np.array([[[0, high]]], np.float32))
        assert packing.error <= float(packing.told) <= 1.02 * packing.error


def test_layers_that_the_settings_name_are_bytes(tmp_path, capsys):
    """Row r is r m, the other member says two more: 1 to height; half of 254 steps is what a value may be off."""
    task, scene = Heights(int8=("height",)), Scene(tmp_path / "x.bin", GRID)
    task.settings.runtime.quiet = False
    plain, stds = map_scene(Heights(), heights(), scene, tmp_path / "plain")[:2]
    file, same = map_scene(task, heights(), scene, tmp_path / "bytes")[:2]
    bound = (GRID.height - 1) / 254 / 2
    told = read_info(file).tags["INT8_ERROR"]
    assert bound <= float(told) <= 1.02 * bound
    assert f"x.bin: height as int8: no value is off by more than {told} m" in capsys.readouterr().err
    np.testing.assert_allclose(read_whole(file), read_whole(plain), atol=bound)
    assert (read_info(file).dtypes, read_info(same).dtypes) == (("int8",), ("float32",))
    np.testing.assert_array_equal(read_whole(same), read_whole(stds))
    with pytest.raises(ZooError, match=r"^infer.int8: depth is not a layer of floats here; there are: height, epist"):
        map_scene(Heights(int8=("depth",)), heights(), scene, tmp_path / "none")


# -- mosaics ----------------------------------------------------------------------------------------------------------


def test_where_maps_overlap_the_first_by_name_that_has_a_value_counts(tmp_path):
    put(tmp_path, "a", [[[1, NAN], [1, 1]]], grid_at(1, 1, 2, 2))
    put(tmp_path, "b", [[[2, 2], [2, NAN]]], grid_at(2, 0, 2, 2))
    put(tmp_path, "2024/c", [[[3, 3, 3]]], grid_at(1, 1, 1, 3))
    group = only(tmp_path)
    assert [one.scene for one in group.maps] == ["2024/c", "a", "b"]
    want = np.array([[[NAN, 2, 2], [3, 3, 3], [1, 1, NAN]]])
    made = write_vrt(group, tmp_path / "mosaic.vrt"), merge(group, tmp_path / "merged.tif")
    for file in made:
        np.testing.assert_array_equal(read_whole(file), want)
        info = read_info(file)
        assert info.grid.transform == Affine(10, 0, 500_010, 0, -10, 5_000_000)
        assert (info.grid.crs, info.units, info.descriptions) == (UTM31, ("m",), ("height 0",))
        assert info.tags["MOSAIC"] == "3 maps; where maps overlap, the first by name that has a value counts"
    with rasterio.open(made[1]) as data:
        assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    (tmp_path / "elsewhere").mkdir()  # names within the VRT are relative: the folder may move
    (tmp_path / "2024").rename(tmp_path / "elsewhere" / "2024")
    for file in [*tmp_path.glob("*_height.tif"), made[0]]:
        file.rename(tmp_path / "elsewhere" / file.name)
    np.testing.assert_array_equal(read_whole(tmp_path / "elsewhere" / "mosaic.vrt"), want)


def test_classes_keep_their_names_and_colours(tmp_path):
    how = {"layer": "class", "bands": [Band("class", classes=CLASSES)], "dtype": "uint8", "nodata": 255}
    put(tmp_path, "a", [[[1, NAN]]], grid_at(0, 0, 1, 2), **how)
    put(tmp_path, "b", [[[7, 7]]], grid_at(1, 0, 1, 2), **how)
    group = only(tmp_path)
    for file in (write_vrt(group, tmp_path / "m.vrt"), merge(group, tmp_path / "m.tif")):
        with open_reader(file) as reader:
            assert reader.read(reader.info.grid.whole).tolist() == [[[1, 7, 7]]]
            assert reader.legend() == {code: (one.name, one.colour) for code, one in CLASSES.items()}


def test_packed_maps_of_other_ranges_share_one_in_the_mosaic(tmp_path):
    random = np.random.default_rng(0)
    one, two = random.normal(size=(2, 30, 20)), 5 + 3 * random.normal(size=(2, 30, 20))
    one[:, :4] = NAN
    put(tmp_path, "a", one, grid_at(0, 0, 30, 20), packed=True)
    put(tmp_path, "b", two, grid_at(15, 0, 30, 20), packed=True)
    want = np.concatenate([one, two[:, :, 5:]], axis=2)
    want[:, :4, 15:20] = two[:, :4, :5]
    group = only(tmp_path)
    bound = float(error_of(group).removesuffix(" m"))
    for file in (write_vrt(group, tmp_path / "m.vrt"), merge(group, tmp_path / "m.tif")):
        back, info = read_whole(file), read_info(file)
        np.testing.assert_array_equal(np.isnan(back), np.isnan(want))
        assert set(info.dtypes) == {"int8"}
        assert float(info.tags["INT8_ERROR"]) == bound
        assert 0.3 * bound < np.nanmax(np.abs(back - want)) <= bound
    put(tmp_path, "b", one, grid_at(15, 0, 30, 20), packed=True)  # of one range no value changes again
    assert error_of(only(tmp_path)).split()[0] == read_info(tmp_path / "a_height.tif").tags["INT8_ERROR"]


def test_a_merged_file_of_the_same_maps_is_left(tmp_path):
    put(tmp_path, "a", full(1), grid_at(0, 0, 3, 4))
    file = merge(only(tmp_path), tmp_path / "merged_height.tif")
    before = file.stat().st_mtime_ns
    merge(only(tmp_path), file)
    assert file.stat().st_mtime_ns == before
    put(tmp_path, "b", full(2), grid_at(4, 0, 3, 4))
    merge(only(tmp_path), file)
    assert read_whole(file)[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_a_merge_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    put(tmp_path, "a", full(1), grid_at(0, 0, 3, 4))
    (tmp_path / "merged_height.tif").write_bytes((tmp_path / "a_height.tif").read_bytes())
    before = sorted((f.name, f.stat().st_size) for f in tmp_path.iterdir())
    monkeypatch.setattr("eozoo_core.raster.cog._check", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(ZooError, match=r"^\S*merged_height.tif: cannot be written; is the disk full\? \(.*No space\)$"):
        merge(only(tmp_path), tmp_path / "merged_height.tif")
    assert sorted((f.name, f.stat().st_size) for f in tmp_path.iterdir()) == before


def test_which_files_are_maps(tmp_path):
    put(tmp_path, "a_b", full(1), grid_at(0, 0, 3, 4), layer="height_std")
    put(tmp_path, "old", full(1), grid_at(0, 0, 3, 4), tags={"EOZOO_CHECKPOINT": "another"})
    (tmp_path / ".x.part").mkdir()
    put(tmp_path / ".x.part", "half", full(1), grid_at(0, 0, 3, 4))
    merge(groups_of(maps_in(tmp_path, {})[0])["height"][0], tmp_path / "merged_height.tif")
    (tmp_path / "other.tif").write_bytes((tmp_path / "a_b_height_std.tif").read_bytes())
    maps, others = maps_in(tmp_path, {"EOZOO_CHECKPOINT": "0123"})
    assert [(one.scene, one.layer) for one in maps] == [("a_b", "height_std")]
    assert others == 1


# -- what infer leaves ------------------------------------------------------------------------------------------------


def test_one_scene_needs_no_mosaic(done):
    assert done() == []
    put(done.dest, "a", full(1), grid_at(0, 0, 3, 4))
    put(done.dest, "a", full(1), grid_at(0, 0, 3, 4), layer="std")
    assert done() == []
    assert done(merge=True)[2:4] == ["merged_height.tif", "merged_std.tif"]


def test_mosaics_and_merged_files_of_all_layers(done, capsys):
    for layer in ("height", "std"):
        put(done.dest, "a", full(1), grid_at(0, 0, 3, 4), layer=layer)
        put(done.dest, "b", full(2), grid_at(4, 0, 3, 4), layer=layer)
    put(done.dest, "old", full(1), grid_at(0, 0, 3, 4), tags={"EOZOO_CHECKPOINT": "another"})
    assert done() == ["mosaic_height.vrt", "mosaic_std.vrt", "collection.json"]
    assert f"{done.dest}: 1 maps of other runs are left out" in capsys.readouterr().err
    assert done(True)[2:4] == ["merged_height.tif", "merged_std.tif"]
    said = capsys.readouterr().err
    assert "merged_std.tif: 2 maps, 8 x 3 px; where maps overlap, the first by name that has a value counts" in said
    assert done(True) == done(True)
    assets = lambda: set(json.loads((done.dest / "collection.json").read_text())["assets"])  # noqa: E731
    assert assets() == {"mosaic_height", "mosaic_std", "merged_height", "merged_std"}
    put(done.dest, "b", full(3), grid_at(4, 0, 3, 4), layer="std")
    done()  # a merged file of other maps is not among them
    assert assets() == {"mosaic_height", "mosaic_std", "merged_height"}


def test_maps_of_two_zones_are_two_mosaics_and_no_merged_file(done, capsys):
    for col in (0, 4):
        put(done.dest, f"a{col}", full(1), grid_at(col, 0, 3, 4))
    put(done.dest, "b", full(2), grid_at(0, 0, 3, 4, CRS.from_epsg(32632)))
    put(done.dest, "c", full(2), grid_at(0, 0, 3, 4, pixel=20.0))
    assert done()[:-1] == ["mosaic_height.vrt", "mosaic_height_epsg32632.vrt", "mosaic_height_epsg32631.vrt"]
    assert (
        "2 in EPSG:32631 with pixels of 10, 1 in EPSG:32632 with pixels of 10, 1 in EPSG:32631 with pixels of 20"
        in (capsys.readouterr().err)
    )
    with pytest.raises(ZooError, match=r"^--merge: the maps of height are 2 in EPSG:32631 .*; one file has one CRS"):
        done(merge=True)
    assert not (done.dest / "merged_height.tif").exists()
    (done.dest / "mosaic_of_mine.vrt").write_text("<VRTDataset/>")
    for name in "bc":
        (done.dest / f"{name}_height.tif").unlink()
    done()
    assert sorted(file.name for file in done.dest.glob("*.vrt")) == ["mosaic_height.vrt", "mosaic_of_mine.vrt"]


def test_scenes_far_apart_are_not_merged(done):
    put(done.dest, "a", full(1), grid_at(0, 0, 3, 4))
    put(done.dest, "b", full(1), grid_at(99_000, 99_000, 3, 4))
    with pytest.raises(ZooError, match=r"merged_height.tif: would hold 99,004 x 99,003 px of which 100.0% lie in no"):
        done(merge=True)
    assert read_info(done.dest / "mosaic_height.vrt").grid.width == 99_004


def test_maps_between_the_pixels_are_told(done, capsys):
    put(done.dest, "a", full(1), grid_at(0, 0, 3, 4))
    put(done.dest, "b", full(2), grid_at(4.3, 0, 3, 4))
    done()
    assert "1 of 2 maps lie between its pixels; they are shown at the nearest" in capsys.readouterr().err
    assert read_whole(done.dest / "mosaic_height.vrt")[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("off", [-2.7, -1.5, -0.4, 0.5, 1.5, 2.5, 3.6])
def test_no_column_of_a_map_between_the_pixels_is_cut_off(tmp_path, off):
    put(tmp_path, "a", full(1), grid_at(0, 0, 3, 4))
    put(tmp_path, "b", [[[2, 3, 4, 5, 6, 7, 8]]], grid_at(off, 0, 1, 7))
    group = only(tmp_path)
    assert 0 <= group.place(group.maps[1])[1] <= group.grid.width - 7
    row = read_whole(write_vrt(group, tmp_path / "m.vrt"))[0, 0].tolist()
    assert row.count(1) == 4
    assert sorted(v for v in row if v > 1) == [v for v in range(2, 9) if v in row]
    assert {row[0], row[-1]} <= {1, 2, 8}


def test_maps_without_a_place_are_in_the_collection_only(done, capsys):
    for name in "ab":
        put(done.dest, name, full(1), Grid(3, 4))
    assert done() == ["collection.json"]
    assert "2 maps have no CRS or place, or are turned; they are in no mosaic" in capsys.readouterr().err
    with pytest.raises(ZooError, match=r"^--merge: 2 maps have no CRS or place, or are turned, first .*a_height.tif;"):
        done(merge=True)
    item = json.loads((done.dest / "items" / "a.json").read_text())
    assert item["geometry"] is None
    assert "bbox" not in item


def test_maps_as_zarr_are_told_to_be_in_no_mosaic(done, capsys):
    for name in "ab":
        (done.dest / f"{name}_height.zarr").mkdir(parents=True)
    assert done() == []
    assert "2 Zarr stores are in no mosaic and no collection; --format cog" in capsys.readouterr().err
    with pytest.raises(ZooError, match=r"^--merge: the maps in \S+ are Zarr"):
        done(merge=True)


def test_a_merge_waits_for_scenes_that_are_not_done(done, capsys):
    put(done.dest, "a", full(1), grid_at(0, 0, 3, 4))
    lease = take(done.dest / ".b_maps.writer.json", "b")
    done(merge=True)
    assert "--merge: 1 scenes are not done; the same command merges when they are" in capsys.readouterr().err
    lease.release()
    assert not (done.dest / "merged_height.tif").exists()
    done(merge=True)
    assert (done.dest / "merged_height.tif").exists()


def test_the_map_of_a_scene_called_merged_is_not_overwritten(done):
    put(done.dest, "merged", full(1), grid_at(0, 0, 3, 4))
    with pytest.raises(ZooError, match=r"merged_height.tif is the map of a scene called merged; rename"):
        done(merge=True)


# -- the collection ---------------------------------------------------------------------------------------------------


def collection_of(folder, **how):
    card = folder / "model.json"
    card.write_text("{}")
    model = Model("toy", "A toy", card)
    file = write_collection(folder, maps_in(folder, {})[0], model, **how)
    return json.loads(file.read_text())


def check(file, kind="item"):
    """Against STAC's own schema; every file that is named is there."""
    content = json.loads(file.read_text())
    assert [error.message for error in schema(kind).iter_errors(content)] == []
    links = [one["href"] for one in [*content["links"], *content["assets"].values()]]
    assert links
    for href in links:
        assert (file.parent / href).resolve().is_file(), href
    return content


def test_a_collection_is_valid_and_leads_to_every_map(tmp_path):
    import pystac

    how = {"layer": "class", "bands": [Band("class", classes=CLASSES)], "dtype": "uint8", "nodata": 255}
    for col, name in enumerate(("T31_20230601", "2024/T31_20240229")):
        put(tmp_path, name, full(1), grid_at(4 * col, 0, 3, 4))
        put(tmp_path, name, [*full(1), *full(2)], grid_at(4 * col, 0, 3, 4), layer="emb", packed=True)
        put(tmp_path, name, full(7), grid_at(4 * col, 0, 3, 4), **how)
    (tmp_path / "T31_20230601.png").write_text("")
    mosaic = write_vrt(groups_of(maps_in(tmp_path, {})[0])["height"][0], tmp_path / "mosaic_height.vrt")
    collection_of(tmp_path, mosaics=[mosaic])
    whole = check(tmp_path / "collection.json", "collection")
    assert whole["extent"]["temporal"]["interval"] == [["2023-06-01T00:00:00Z", "2024-02-29T23:59:59Z"]]
    found = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert [one.id for one in found.get_items()] == ["2024__T31_20240229", "T31_20230601"]
    first = check(tmp_path / "items" / "2024" / "T31_20240229.json")
    assert first["properties"]["start_datetime"] == "2024-02-29T00:00:00Z"
    second = check(tmp_path / "items" / "T31_20230601.json")
    assert set(second["assets"]) == {"class", "emb", "height", "thumbnail"}
    assert second["properties"]["processing:software"] == {"eozoo": "1.2", "eozoo-toy": "3"}
    west, south, east, north = second["bbox"]
    assert whole["extent"]["spatial"]["bbox"][0] == [west, south, first["bbox"][2], north]
    ring = second["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert all(west - 1e-6 <= x <= east + 1e-6 and south - 1e-6 <= y <= north + 1e-6 for x, y in ring)
    (link,) = [one for one in second["links"] if one["rel"] == "derived_from"]
    assert (link["href"], link["mlm:name"]) == ("../model.json", "toy")


def test_what_an_item_says_of_its_maps(tmp_path):
    how = {"layer": "class", "bands": [Band("class", classes=CLASSES)], "dtype": "uint8", "nodata": 255}
    put(tmp_path, "a", full(1), grid_at(0, 0, 3, 4), tags={"OUTSIDE_TRAINING": "2 %"})
    put(tmp_path, "a", [*full(1), *full(2)], grid_at(0, 0, 3, 4), layer="emb", packed=True)
    put(tmp_path, "a", full(7), grid_at(0, 0, 3, 4), **how)
    collection_of(tmp_path)
    item = check(tmp_path / "items" / "a.json")
    assert [url.split("/")[3] for url in item["stac_extensions"]] == [
        "projection", "raster", "classification", "processing",
    ]  # fmt: skip
    said = item["properties"]
    assert (said["proj:code"], said["proj:shape"]) == ("EPSG:32631", [3, 4])
    assert said["proj:transform"] == [10, 0, 500_000, 0, -10, 5_000_000]
    assert said["proj:bbox"] == [500_000, 4_999_970, 500_040, 5_000_000]
    assert said["eozoo:outside_training"] == "2 %"
    assets = item["assets"]
    assert assets["height"]["bands"] == [{"name": "height 0", "unit": "m", "data_type": "float32", "nodata": "nan"}]
    one, two = assets["emb"]["bands"]
    assert (one["data_type"], one["nodata"], one["raster:offset"], two["raster:offset"]) == ("int8", -128, 1, 2)
    assert assets["class"]["bands"][0]["classification:classes"] == [
        {"value": 1, "name": "wood", "title": "wood", "color_hint": "006300"},
        {"value": 7, "name": "open-water", "title": "open water", "color_hint": "000063"},
    ]


@pytest.mark.parametrize(
    ("name", "tags", "when"),
    [
        ("a_20230601", {"TIME_UTC": "2022-07-01T10:30:00"}, "2022-07-01T10:30:00Z"),
        ("a_20230601", {"ACQUIRED": "2022-07-01T10:30:00+02:00"}, "2022-07-01T08:30:00Z"),
        ("a", {"ACQUIRED": "2023-06-01/2023-06-30T12:00:00Z"}, ("2023-06-01T00:00:00Z", "2023-06-30T12:00:00Z")),
        ("a_20230601", {"ACQUIRED": "../.."}, ("2023-06-01T00:00:00Z", "2023-06-01T23:59:59Z")),
        ("a_20230601", {"ACQUIRED": "yesterday"}, ("2023-06-01T00:00:00Z", "2023-06-01T23:59:59Z")),
        ("tile_20239999", {}, ("1900-01-01T00:00:00Z", None)),
        ("tile", {}, ("1900-01-01T00:00:00Z", None)),
    ],
)
def test_when_a_scene_was_taken(tmp_path, name, tags, when):
    """Of one without a date only that it was before its map was made."""
    put(tmp_path, name, full(1), grid_at(0, 0, 3, 4), tags=tags)
    collection_of(tmp_path)
    said = check(tmp_path / "items" / f"{name}.json")["properties"]
    if isinstance(when, str):
        assert said["datetime"] == when
        assert "start_datetime" not in said
    else:
        assert said["datetime"] is None
        assert (said["start_datetime"], said["end_datetime"]) == (when[0], when[1] or said["created"])


def test_a_scene_across_the_antimeridian_has_two_parts(tmp_path):
    fiji = grid_at(0, 0, 3, 4, CRS.from_epsg(4326), 0.5, (179.0, -16.0))
    put(tmp_path, "fiji", full(1), fiji)
    whole = collection_of(tmp_path)
    item = check(tmp_path / "items" / "fiji.json")
    assert item["bbox"] == [179, -17.5, -179, -16]
    assert [part[0][0][0] for part in item["geometry"]["coordinates"]] == [179, -180]
    assert whole["extent"]["spatial"]["bbox"] == [[-180, -17.5, 180, -16]]


def test_items_are_written_again_when_their_maps_are(tmp_path):
    put(tmp_path, "a", full(1), grid_at(0, 0, 3, 4))
    put(tmp_path, "b", full(1), grid_at(4, 0, 3, 4))
    collection_of(tmp_path)
    for file in tmp_path.rglob("*.*"):
        os.utime(file, ns=(1, 10**9))
    put(tmp_path, "b", full(1), grid_at(4, 0, 3, 5 - 1), layer="std")
    write_collection(tmp_path, maps_in(tmp_path, {})[0], Model("toy", "A toy", tmp_path / "model.json"))
    times = {name: (tmp_path / "items" / f"{name}.json").stat().st_mtime_ns for name in "ab"}
    assert times["a"] == 10**9
    assert times["b"] > 10**9
    assert set(check(tmp_path / "items" / "b.json")["assets"]) == {"height", "std"}
