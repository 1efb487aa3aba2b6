"""STAC as input: items, collections of items, catalogues and searches; bands, packing, how far it is followed."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.settings.maps import SourceSettings
from eozoo_core.sources.catalogue import open_catalogue
from eozoo_core.sources.find import find_assemblies
from eozoo_core.sources.search import Search
from eozoo_core.task import Survey
from eozoo_core.task.survey import BandSurvey
from products import numbers, write_item, write_raster
from serve import serve
from stac_api import api, write_items
from test_map_hooks import Heights


def survey(*names):
    return Survey(bands=tuple(BandSurvey(name=name, mean=0.1) for name in names))


def changed(file, change):
    """Change the item of a file in place."""
    item = json.loads(file.read_text())
    change(item)
    file.write_text(json.dumps(item))
    return file


def corner(found, *names, **infer):
    """What a task gets of a scene's first pixel."""
    scene = Heights(**infer).open_scene(found, survey(*names))
    with scene.open() as reader:
        return reader.read(scene.grid.whole, scene.bands)[:, 0, 0]


def item_of(path, **more):
    return find_assemblies(write_item(path, **more)[1])[0]


# -- items ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("B04", "B08", "B11"), ("red", "nir", "swir16"), ("red", "B08", "swir1")])
def test_assets_are_chosen_by_band_names_keys_and_common_names(tmp_path, names):
    found = item_of(tmp_path)
    assert (found.name, found.date) == ("S2A_31TFJ_20240615", "20240615")
    assert dict(found.tags)["ACQUIRED"].startswith("2024-06-15T")
    np.testing.assert_allclose(corner(found, *names), [0.02, 0.03, 0.06], atol=1e-7)  # (1200 - 1000) / 10000 ...


def common(item):
    for key, asset in item["assets"].items():
        asset.pop("eo:bands", None)
        asset.pop("raster:bands", None)
        if key != "thumbnail":
            asset["bands"] = [{"name": asset["href"][2:5], "eo:common_name": key, "nodata": 0, "raster:scale": 1e-4,
                               "raster:offset": -0.1}]  # fmt: skip
            asset["raster:spatial_resolution"] = asset.pop("gsd")
    item["stac_version"] = "1.1.0"


def keys_alone(item):
    for asset in item["assets"].values():
        asset.pop("eo:bands", None)


@pytest.mark.parametrize("change", [common, keys_alone])
def test_bands_are_told_in_three_ways(tmp_path, change):
    (found,) = find_assemblies(changed(write_item(tmp_path)[1], change))
    np.testing.assert_allclose(corner(found, "red", "nir"), [0.02, 0.03], atol=1e-7)


def test_packing_nodata_and_units_of_a_catalogue_hold_for_other_sensors(tmp_path):
    def landsat(item):
        item["collection"] = "landsat-c2-l2"
        item["properties"] = {"datetime": None, "start_datetime": "2024-06-15T00:00:00Z", "end_datetime":
                              "2024-06-16T00:00:00Z", "platform": "landsat-8"}  # fmt: skip
        told = {"nodata": 0, "scale": 2.75e-05, "offset": -0.2, "unit": "1"}
        item["assets"] = {"nir08": {**item["assets"]["nir"], "eo:bands": [{"name": "OLI_B5", "common_name": "nir08"}],
                                    "raster:bands": [told]}}  # fmt: skip

    (found,) = find_assemblies(changed(write_item(tmp_path)[1], landsat))
    scene = Heights().open_scene(found, survey("nir08"))
    with scene.open() as reader:
        values, units = reader.read(scene.grid.whole)[0], reader.info.units
    stored = numbers("B08").astype(float)
    np.testing.assert_allclose(values, np.where(stored == 0, np.nan, stored * 2.75e-05 - 0.2), atol=1e-7)
    assert (units, found.date, found.told) == (("1",), "20240615", None)


def test_of_a_band_in_several_assets_the_finest_of_the_data_is_taken(tmp_path):
    file = write_item(tmp_path)[1]
    write_raster(file.parent / "visual.tif", np.full((3, 120, 120), 9, "uint8"), 10)
    write_raster(file.parent / "coarse.tif", np.full((20, 20), 9, "uint16"), 60)

    def more(item):
        red, assets = item["assets"]["red"], item["assets"]
        bands = [{"name": name, "common_name": name} for name in ("B04", "B03", "B02")]
        item["assets"] = {
            "coarse": {**red, "href": "./coarse.tif", "gsd": 60},
            "tci": {**red, "href": "./visual.tif", "eo:bands": bands, "raster:bands": []},
            "look": {**red, "href": "./visual.tif", "roles": ["visual"]},
            **assets,
        }

    (found,) = find_assemblies(changed(file, more))
    np.testing.assert_allclose(corner(found, "B04", "nir"), [0.02, 0.03], atol=1e-7)


def test_what_a_catalogue_says_of_sentinel2_is_compared(tmp_path):
    told = item_of(tmp_path / "a", packed=False)  # no packing: the baseline tells
    np.testing.assert_allclose(corner(told, "red"), [0.02], atol=1e-7)
    old = item_of(tmp_path / "b", packed=False, baseline="02.14")
    np.testing.assert_allclose(corner(old, "red"), [0.12], atol=1e-7)
    both = item_of(tmp_path / "c", **{"earthsearch:boa_offset_applied": True})  # and bands that say -0.1
    with pytest.raises(
        ZooError, match=r"'offset applied' in its item means 0, but the offset of its bands means -1000"
    ):
        corner(both, "red")
    np.testing.assert_allclose(corner(both, "red", source=SourceSettings(s2_offset=0)), [0.12], atol=1e-7)
    silent = item_of(tmp_path / "d", packed=False, baseline="")
    with pytest.raises(ZooError, match=r"set infer.source.s2_offset to -1000"):
        corner(silent, "red")


def test_bad_items_say_so_in_one_line(tmp_path):
    file = write_item(tmp_path)[1]
    with pytest.raises(
        ZooError, match=r"20240615.json: no band is called 'B12'. Did you mean 'B11'\? --set infer.bands"
    ):
        corner(find_assemblies(file)[0], "red", "B12")
    (file.parent / "B08.tif").unlink()
    with pytest.raises(ZooError, match=r"B08.tif: cannot be read as a raster"):
        corner(find_assemblies(file)[0], "red", "nir")
    assert corner(find_assemblies(file)[0], "red").shape == (1,)  # files that are not needed are not opened
    bare = changed(file, lambda item: item.update(assets={"t": item["assets"]["thumbnail"]}))
    with pytest.raises(ZooError, match=r"no asset is a GeoTIFF or JPEG 2000 of data; its assets are image/png"):
        find_assemblies(bare)
    for text, why in (
        ('{"type": "Feature", "stac_version": "1.0.0"}', "is no valid STAC"),
        ('{"stac_version": ', "cannot be read as JSON"),
        ('{"stac_version": "1.0.0", "type": "Point"}', "its type is 'Point'"),
        ('{"type": "FeatureCollection", "features": []}', "holds no item"),
    ):
        file.write_text(text)
        with pytest.raises(ZooError, match=why) as error:
            find_assemblies(file)
        assert "\n" not in str(error.value)
    file.write_text('{"type": "FeatureCollection", "features": [3]}')
    with pytest.raises(ZooError, match="is no valid STAC"):
        find_assemblies(file)
    file.write_text('{"roads": 1}')  # any other JSON is somebody else's
    assert find_assemblies(file) is None


# -- how far it is followed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("href", "why"),
    [
        ("/etc/passwd.tif", r"refers to /etc/passwd.tif, which is outside its folder; .* infer.source.trust=\[/etc\]"),
        ("../../secret.tif", r"secret.tif, which is outside its folder"),
        ("http://127.0.0.1:1/a.tif", r"on another host than it is on itself; .* infer.source.trust=\[127.0.0.1:1\]"),
        ("s3://bucket/a.tif", r"infer.source.trust=\[s3://bucket\]"),
        ("/vsicurl/http://127.0.0.1/a.tif", r"may name files and URLs only"),
        ("http://user@127.0.0.1:1/a.tif", r"on another host"),
        ("vrt:///etc/passwd.tif?bands=1", r"may name files and URLs only"),
        ('zarr:"/vsicurl/http://127.0.0.1/a"', r"may name files and URLs only"),
        ("file:///etc/passwd.tif", r"outside its folder"),
    ],
)
def test_assets_elsewhere_are_not_opened(tmp_path, monkeypatch, href, why):
    monkeypatch.chdir(tmp_path)
    file = changed(write_item(tmp_path)[1], lambda item: item["assets"]["nir"].update(href=href))
    with pytest.raises(ZooError, match=why):
        find_assemblies(file)


def test_what_is_trusted_is_followed(tmp_path):
    elsewhere = write_item(tmp_path / "there")[1].parent
    move = lambda item: item["assets"]["nir"].update(href=str(elsewhere / "B08.tif"))  # noqa: E731
    file = changed(write_item(tmp_path / "here")[1], move)
    (found,) = find_assemblies(file, (str(elsewhere),))
    np.testing.assert_allclose(corner(found, "nir"), [0.03], atol=1e-7)
    bucket = changed(file, lambda item: item["assets"]["nir"].update(href="s3://b/a.tif"))
    assert "s3://b/a.tif" in [part.address for part in find_assemblies(bucket, ("s3://b",))[0].parts]


# -- catalogues -------------------------------------------------------------------------------------------------------


def catalogue(folder, links, kind="Catalog", name="catalog.json"):
    content = {"type": kind, "id": name, "stac_version": "1.0.0", "description": "x", "links": links}
    if kind == "Collection":
        extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}}
        content |= {"license": "other", "extent": extent}
    file = folder / name
    file.write_text(json.dumps(content))
    return file


def linked(rel, href):
    return {"rel": rel, "href": href}


def test_a_catalogue_gives_its_items_and_those_below_it_once(tmp_path):
    write_items(tmp_path, 3)
    loop = [linked("parent", "./catalog.json"), linked("child", "./catalog.json")]
    two = [linked("item", f"./S2A_0{n}/S2A_0{n}.json") for n in (0, 1)]
    collection = catalogue(tmp_path, [*two, *loop], "Collection", "c.json")
    collection.write_text(collection.read_text().replace('"extent"', '"no_extent"'))
    file = catalogue(tmp_path, [linked("child", "./c.json"), linked("item", "./S2A_02/S2A_02.json")])
    with warnings.catch_warnings(action="error"):  # pystac warns of a collection without extent
        assert sorted(scene.name for scene in find_assemblies(file)) == ["S2A_00", "S2A_01", "S2A_02"]
    items = [json.loads((tmp_path / f"S2A_0{n}/S2A_0{n}.json").read_text()) for n in range(3)]
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = asset["href"].replace("./", f"./{item['id']}/")
    whole = tmp_path / "all.json"
    whole.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    np.testing.assert_allclose(corner(find_assemblies(whole)[1], "red"), [0.02], atol=1e-7)
    other = dict(items[0], collection="other")
    whole.write_text(json.dumps({"type": "FeatureCollection", "features": [*items, other]}))
    assert [scene.name for scene in find_assemblies(whole)][-1] == "other_S2A_00"
    whole.write_text(json.dumps({"type": "FeatureCollection", "features": [*items, items[0], items[0]]}))
    with pytest.raises(ZooError, match="holds two items"):
        find_assemblies(whole)


def test_links_of_a_catalogue_are_followed_in_its_folder_only(tmp_path):
    (tmp_path / "c").mkdir()
    outside = write_item(tmp_path / "elsewhere")[1]
    file = catalogue(tmp_path / "c", [linked("item", str(outside))])
    with pytest.raises(ZooError, match=r"catalog.json: refers to .*20240615.json, which is outside its folder"):
        find_assemblies(file)
    empty = catalogue(tmp_path / "c", [])
    with pytest.raises(ZooError, match="holds no item; search it: --stac"):
        find_assemblies(empty)


# -- over HTTP, and searches ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = write_items(tmp_path_factory.mktemp("api"), 3)
    (folder / "half").mkdir()
    (folder / "half" / "h.json").write_text('{"type": "Feature"')
    with serve(folder, api(folder)) as served:
        yield served


def test_a_search_follows_its_pages_and_only_what_is_needed_travels(server):
    scenes = Search(server.url, ("sentinel-2-l2a",), (4.0, 45.0, 5.0, 47.0), "2024-06-01/2024-06-30").find()
    assert [scene.name for scene in scenes] == ["S2A_00", "S2A_01", "S2A_02"]
    assert not any(name.endswith(".tif") for name in server.sent)  # nothing is opened until a scene is mapped
    near = replace(scenes[0], box=(4.2916, 46.0406, 4.293, 46.042))
    scene = Heights().open_scene(near, survey("red"))
    with scene.open() as reader:
        assert np.nanmin(reader.read(scene.grid.whole)) >= 0.02
    sent = {name: size for name, size in server.sent.items() if name.endswith(".tif")}
    assert set(sent) == {"S2A_00/B04.tif"}
    assert scene.grid.height < 40


def test_an_item_on_a_server_is_read_there(server):
    (found,) = find_assemblies(f"{server.url}/S2A_01/S2A_01.json".replace("://", ":/"))  # as `pathlib` leaves it
    np.testing.assert_allclose(corner(found, "red", "B11"), [0.02, 0.06], atol=1e-7)


def test_a_server_that_fails_says_so_in_one_line(server):
    for name, why in (("none.json", "404"), ("half/h.json", "cannot be read as JSON")):
        with pytest.raises(ZooError, match=why) as error:
            find_assemblies(f"{server.url}/{name}")
        assert "\n" not in str(error.value)
    with pytest.raises(ZooError, match=r"the search failed \(.*; check the address and names"):
        Search(f"{server.url}/nothing", ("a",)).find()
    server.breaks("S2A_02/S2A_02.json")
    with pytest.raises(ZooError, match=r"S2A_02.json: .*(only \d+ of \d+ bytes came|IncompleteRead)"):
        open_catalogue(f"{server.url}/S2A_02/S2A_02.json")


def test_a_search_goes_to_no_other_host(tmp_path):
    folder = write_items(tmp_path, 3)
    refused = pytest.raises(ZooError, match=r"refers to http://127.0.0.1:9/search, on another host")
    with serve(folder, api(folder, 2, "http://127.0.0.1:9")) as served, refused:
        Search(served.url, ("a",)).find()


def test_what_is_asked_is_checked_first():
    for options, why in (
        ({"api": "data"}, "give the https address"),
        ({"box": (5, 0, 4, 1)}, "expected west,south,east,north"),
        ({"box": (0, -91, 4, 1)}, "expected west,south,east,north"),
        ({"dates": "June"}, "expected 2024-05-01/2024-09-30"),
    ):
        with pytest.raises(ZooError, match=why):
            Search(**{"api": "https://127.0.0.1", "collections": ("a",), **options})
