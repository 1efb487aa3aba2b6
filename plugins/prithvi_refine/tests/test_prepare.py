"""Products to tiles: names, dates, offsets, clouds, resolutions, biomes, splits and pairs of dates."""

import json
import re

import numpy as np
import pytest
import rasterio
import rasterio.warp
from eozoo_core import ZooError
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine.prepare.pixels import pixel_metres
from eozoo_prithvi_refine.prepare.product_table import read_product_table
from eozoo_prithvi_refine.prepare.products import date_in, month_in
from eozoo_prithvi_refine.prepare.tiles import Found, assign
from eozoo_prithvi_refine.settings import PrithviPrepareSettings, PrithviSettings
from eozoo_prithvi_refine.task import PrithviRefine
from eozoo_prithvi_refine.tile_files import read_npz, read_tile


def write_band(path, values, pixel=10.0, x=600000.0, crs="EPSG:32631", **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.atleast_3d(values.T).T if values.ndim == 2 else values
    transform = rasterio.Affine(pixel, 0, x, 0, -pixel, 5600000)
    options = {"driver": "GTiff", "dtype": values.dtype.name, "count": len(values), "crs": crs, "transform": transform}
    with rasterio.open(path, "w", height=values.shape[1], width=values.shape[2], **options | profile) as file:
        file.write(values)
    return path


def patch(folder, name="S2A_MSIL2A_20170617T113321_36_85", size=24, value=1000, x=600000.0, bands=None):
    for i, band in enumerate(bands or ("B02", "B03", "B04", "B08")):
        values = np.full((size, size), value + 100 * i, np.uint16)
        values[0, 0] = value + 50 + x / 1e5
        write_band(folder / name / f"{name}_{band}.tif", values, x=x)
    return folder / name


def prepare(source, data_dir, *overrides, step="tiles"):
    """One place is enough, and patches here have no offset, unless ``overrides`` say otherwise."""
    usual = ["prepare.biome=4", "prepare.fractions=[1,0,0]", "prepare.offset=0"]
    given = [f"prepare.source={source}", f"runtime.data_dir={data_dir}", *usual, *overrides]
    return PrithviRefine(load_settings(PrithviSettings, None, given)).prepare(step)


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("S2A_MSIL2A_20170617T113321_36_85", "20170617"),
        ("S2A_MSIL2A_20180510T94033_19_86", "20180510"),
        ("HLS.S30.T10SEH.2020123T184919.v2.0", "20200502"),
        ("HLS.L30.T10SEH.2020366T184919.v2.0", "20201231"),
        ("scene_2021-06-15", "20210615"),
        ("B02_20210615", "20210615"),
        ("scene_20211315", ""),
        ("tile_120210615", ""),
        ("nothing", ""),
    ],
)
def test_dates_in_names(name, date):
    assert date_in(name) == date
    assert month_in(name) == (int(date[4:6]) if date else None)


def test_a_patch_becomes_a_tile_in_reflectance(tmp_path):
    patch(tmp_path / "in")
    (file,) = prepare(tmp_path / "in", tmp_path / "out")
    tile = read_tile(file)
    assert tile.image[:, 5, 5] == pytest.approx([0.1, 0.11, 0.12, 0.13])
    assert (tile.month, tile.biome) == (6, 4)
    assert tile.meta["date"] == "20170617"
    assert tile.meta["spot"] == f"{tile.meta['lat']:.5f}_{tile.meta['lon']:.5f}"
    assert tile.meta["lat"] > 40 > tile.meta["lon"]
    assert json.loads((tmp_path / "out" / "prepare.json").read_text())["tiles"] == 1
    with pytest.raises(ZooError, match="has tiles already"):
        prepare(tmp_path / "in", tmp_path / "out")


def test_a_tile_says_where_it_lies(tmp_path):
    """32 px in tiles of 16: what CRS and transform say of a tile is where its centre is."""
    patch(tmp_path / "in", size=32)
    files = prepare(tmp_path / "in", tmp_path / "out", "prepare.tile_size=16", "prepare.fractions=[1,0,0]")
    corners = {tuple(read_tile(file).meta["transform"][2::3]) for file in files}
    assert corners == {(600_000, 5_600_000), (600_160, 5_600_000), (600_000, 5_599_840), (600_160, 5_599_840)}
    for meta in (read_tile(file).meta for file in files):
        (lon,), (lat,) = rasterio.warp.transform(
            meta["crs"], "EPSG:4326", [meta["transform"][2] + 80], [meta["transform"][5] - 80]
        )
        assert (lat, lon) == pytest.approx((meta["lat"], meta["lon"]), abs=2e-6)


SAFE = "S2B_MSIL2A_20230615T105619_N0509_R094_T31UDS_20230615T140000.SAFE"


@pytest.mark.parametrize("kind", ["name", "packed", "floats", "harmonised"])
def test_tiles_hold_reflectance_whatever_products_hold(tmp_path, kind, capsys):
    """C08: 2000 of baseline 05.09 is 0.1, not 0.2; so it is where tags or floats say it."""
    name = SAFE.removesuffix(".SAFE") if kind in ("name", "harmonised") else "patch_20230615"
    folder = patch(tmp_path / "in", name, value=2000)
    for file in folder.glob("*.tif"):
        with rasterio.open(file, "r+") as out:
            if kind == "packed":
                out.scales, out.offsets = (1e-4,), (-0.1,)
            values, profile = out.read(), out.profile
        if kind == "floats":
            with rasterio.open(file, "w", **{**profile, "dtype": "float32"}) as out:
                out.write((values.astype(np.float32) - 1000) / 10000)
    (file,) = prepare(tmp_path / "in", tmp_path / "out", f"prepare.offset={0 if kind == 'harmonised' else 'null'}")
    tile = read_tile(file)
    np.testing.assert_allclose(
        tile.image[:, 5, 5], np.arange(4) * 0.01 + (0.2 if kind == "harmonised" else 0.1), atol=1e-6
    )
    assert {"name": "05.09 in its name", "packed": "offset -0.1", "floats": "floats", "harmonised": "though baseline"}[
        kind
    ] in tile.meta["scaling"]
    assert f"{name}: {tile.meta['scaling']}\n" in capsys.readouterr().err


def test_what_products_do_not_tell_is_asked_before_anything_is_cut(tmp_path):
    patch(tmp_path / "in")
    with pytest.raises(ZooError, match=r"_B02.tif: neither .* set prepare\.offset to -1000"):
        prepare(tmp_path / "in", tmp_path / "out", "prepare.offset=null")
    patch(tmp_path / "new", SAFE.removesuffix(".SAFE").replace("N0509", "N0208"), value=2000)
    with pytest.raises(ZooError, match=r"prepare\.offset is -1000, but baseline 02\.08"):
        prepare(tmp_path / "new", tmp_path / "out", "prepare.offset=-1000")
    assert not (tmp_path / "out").exists()


def test_a_scale_that_is_set_meets_what_files_say(tmp_path):
    folder = patch(tmp_path / "in")
    (file,) = prepare(tmp_path / "in", tmp_path / "out", "prepare.scale=0.0002")
    assert read_tile(file).image[0, 5, 5] == pytest.approx(0.2)
    for band in folder.glob("*.tif"):
        with rasterio.open(band, "r+") as out:
            out.scales = (1e-4,)
    with pytest.raises(ZooError, match=r"scale tags are applied already; leave prepare\.scale unset"):
        prepare(tmp_path / "in", tmp_path / "two", "prepare.scale=0.0001")


def test_a_product_as_esa_delivers_it(tmp_path):
    """Bands of 10 m, the near infrared of 20 m only, classes of 60 m; metadata above; masks named like bands."""
    images = tmp_path / "in" / SAFE.replace("N0509", "N9999") / "GRANULE" / "L2A_T31" / "IMG_DATA"
    images.parents[2].mkdir(parents=True)
    (images.parents[2] / "MTD_MSIL2A.xml").write_text("<a><BOA_ADD_OFFSET>-1000</BOA_ADD_OFFSET></a>")
    for i, band in enumerate(("B02", "B03", "B04")):
        write_band(images / "R10m" / f"T31_{band}_10m.tif", np.full((24, 24), 1500 + 100 * i, np.uint16))
        write_band(images / "R20m" / f"T31_{band}_20m.tif", np.full((12, 12), 9999, np.uint16), pixel=20)
    near = np.tile(np.uint16(1100 + 100 * np.arange(12)), (12, 1))  # a plane: 1100 at x = 10 m, 5 more a metre
    near[6, 3] = 0
    write_band(images / "R20m" / "T31_B8A_20m.tif", near, pixel=20)
    write_band(images / "R60m" / "T31_SCL_60m.tif", np.uint8([[9, 4, 4, 4], *[[4] * 4] * 3]), pixel=60)
    write_band(images.parent / "QI_DATA" / "MSK_DETFOO_B02.tif", np.ones((24, 24), np.uint8))
    write_band(images.parent / "QI_DATA" / "MSK_DETFOO_B03.tif", np.ones((24, 24), np.uint8))
    (file,) = prepare(tmp_path / "in", tmp_path / "out", "prepare.offset=null")
    tile = read_tile(file)
    np.testing.assert_allclose(tile.image[:3, 20, 20], [0.05, 0.06, 0.07], atol=1e-6)
    np.testing.assert_allclose(tile.image[3, 20, 5:9], 0.01 + np.arange(50, 90, 10) * 5e-4 - 0.0025, atol=1e-6)
    missing = np.isnan(tile.image[0])
    assert missing[:6, :6].all()  # one class of 60 m
    assert np.isnan(tile.image[3, 12:14, 6:8]).all()  # a hole of 20 m stays one, and its rim stays valid
    assert np.isnan(tile.image[3]).sum() == 36 + 4
    assert (tile.meta["date"], tile.meta["product"]) == ("20230615", SAFE.replace("N0509", "N9999")[:-5])
    made = json.loads((tmp_path / "out" / "prepare.json").read_text())
    reasons = {one["file"].rpartition("/")[2]: one["reason"] for one in made["skipped"]}
    assert reasons["T31_B02_20m.tif"] == "the same band in a finer resolution is read"
    assert reasons["MSK_DETFOO_B02.tif"] == "no band: quality or auxiliary data of a product"
    assert len(made["products"][0]["files"]) == 5


def test_hls_granules_take_their_own_near_infrared_and_fmask(tmp_path):
    name = "HLS.L30.T10SEH.2020123T184919.v2.0"
    for i, band in enumerate(("B02", "B03", "B04", "B05", "Fmask")):
        values = np.full((24, 24), 500 + 100 * i if i < 4 else 0, np.int16)
        if band == "Fmask":
            values[:2] = 2  # cloud
            values[2, 0] = 255
        write_band(tmp_path / "in" / f"{name}.{band}.tif", values, pixel=30)
    (file,) = prepare(tmp_path / "in", tmp_path / "out")
    tile = read_tile(file)
    assert tile.month == 5
    assert tile.image[3, 9, 9] == pytest.approx(0.08)
    missing = np.isnan(tile.image[0])
    assert missing[:2].all()
    assert missing.sum() == 2 * 24 + 1
    with pytest.raises(ZooError, match="no tile passed"):
        prepare(tmp_path / "in", tmp_path / "out2", "prepare.max_cloud=0.05")


def test_scene_classification_at_half_resolution(tmp_path):
    folder = patch(tmp_path / "in")
    classes = np.full((12, 12), 4, np.uint8)
    classes[0, :] = 9
    write_band(folder / f"{folder.name}_SCL.tif", classes, pixel=20)
    (file,) = prepare(tmp_path / "in", tmp_path / "out")
    assert np.isnan(read_tile(file).image[0]).sum() == 2 * 24


def test_bright_blue_is_cloud_unless_told_otherwise(tmp_path):
    patch(tmp_path / "in", value=4000)
    with pytest.raises(ZooError, match="no tile passed"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert prepare(tmp_path / "in", tmp_path / "out2", "prepare.cloud_blue=null")


def test_zeros_in_all_bands_and_nodata_are_missing(tmp_path):
    folder = patch(tmp_path / "in")
    for file in folder.glob("*.tif"):
        with rasterio.open(file, "r+") as dataset:
            values = dataset.read()
            values[:, :2] = 0
            dataset.write(values)
    (file,) = prepare(tmp_path / "in", tmp_path / "out")
    assert np.isnan(read_tile(file).image).sum() == 4 * 2 * 24


def test_mixed_resolutions_are_refused(tmp_path):
    folder = patch(tmp_path / "in")
    write_band(folder / f"{folder.name}_B08.tif", np.full((6, 6), 1000, np.uint16), pixel=20)
    with pytest.raises(ZooError, match="does not cover the same area"):
        prepare(tmp_path / "in", tmp_path / "out")
    patch(tmp_path / "two")
    name = "HLS.S30.T10SEH.2020123T184919.v2.0"
    for band in ("B02", "B03", "B04", "B8A"):
        write_band(tmp_path / "two" / f"{name}.{band}.tif", np.full((24, 24), 900, np.int16), pixel=30)
    with pytest.raises(ZooError, match=r"mixed resolutions: .* 10\.0 m and .* 30\.0 m"):
        prepare(tmp_path / "two", tmp_path / "out")


@pytest.mark.parametrize(
    ("make", "overrides", "message"),
    [
        (lambda f: patch(f, bands=("B02", "B03", "B08")), (), "has no band B04"),
        (lambda f: patch(f, name="patch_without_date"), (), "no date in its name"),
        (lambda f: patch(f), ("prepare.biome=null",), "set prepare.biome"),
        (lambda f: f.mkdir(), (), "holds no product"),
    ],
)
def test_what_prepare_refuses(tmp_path, make, overrides, message):
    make(tmp_path / "in")
    with pytest.raises(ZooError, match=message):
        prepare(tmp_path / "in", tmp_path / "out", *overrides)
    assert not (tmp_path / "out" / ".staging").exists()


def test_biome_from_a_raster(tmp_path):
    patch(tmp_path / "in")
    codes = np.full((50, 50), 3, np.uint8)
    codes[:, 26:] = 7
    raster = write_band(tmp_path / "biomes.tif", codes, pixel=100, x=597400.0)
    (file,) = prepare(tmp_path / "in", tmp_path / "out", "prepare.biome=null", f"prepare.biome_raster={raster}")
    assert read_tile(file).biome == 7


def stack(path, dates, size=24, x=600000.0):
    names = [f"{b}_{d}" for d in dates for b in ("B02", "B03", "B04", "B08")]
    values = np.stack([np.full((size, size), 500 + 10 * i, np.int16) for i in range(len(names))])
    values[:, 0, 0] += int(x / 1e5)
    file = write_band(path, values, x=x, nodata=-1)
    with rasterio.open(file, "r+") as dataset:
        dataset.descriptions = names
    return file


def test_stacks_of_dates_make_pairs(tmp_path):
    stack(tmp_path / "in" / "stack.tif", ("20210115", "20210415", "20210715"))
    fractions = "prepare.fractions=[1.0,0,0]"
    files = prepare(tmp_path / "in", tmp_path / "out", fractions)
    assert [read_tile(f).month for f in files] == [1, 4, 7]
    pairs = prepare(None, tmp_path / "out", f"runtime.stage1_dir={tmp_path / 's1'}", step="season_pairs")
    assert [p.name for p in pairs] == [f.name for f in files[1:]]
    np.testing.assert_allclose(read_npz(pairs[0])["opt_v1"][:, 5, 5], [0.05, 0.051, 0.052, 0.053], atol=1e-6)
    assert sorted(f.name for f in (tmp_path / "out" / "train").glob("*.npz")) == [f.name for f in files[1:]]
    assert (tmp_path / "out" / "first_dates" / "train" / files[0].name).exists()


def test_parallel_equals_serial(tmp_path):
    for i in range(3):
        patch(tmp_path / "in", f"S2A_MSIL2A_2017061{i}T113321_36_85", x=600000.0 + 60000 * i, value=1000 + i)
    one = prepare(tmp_path / "in", tmp_path / "one")
    two = prepare(tmp_path / "in", tmp_path / "two", "prepare.workers=2")
    assert [f.relative_to(tmp_path / "one") for f in one] == [f.relative_to(tmp_path / "two") for f in two]
    for a, b in zip(one, two):
        assert a.read_bytes() == b.read_bytes()


def places(folder, count):
    for i in range(count):
        patch(folder, f"S2A_MSIL2A_2017061{i}T113321_36_85", x=600000.0 + 60000 * i, value=1000 + i)


def test_every_split_gets_a_place_or_it_is_said(tmp_path, capsys):
    places(tmp_path / "in", 2)
    usual = "prepare.fractions=[0.8,0.1,0.1]"
    with pytest.raises(ZooError, match=r"2 tiles of 2 places of 20 km cannot be divided into train, val, test; add"):
        prepare(tmp_path / "in", tmp_path / "out", usual)
    assert not list((tmp_path / "out").glob("*"))
    patch(tmp_path / "in", "S2A_MSIL2A_20170619T113321_36_85", x=780000.0)
    prepare(tmp_path / "in", tmp_path / "out", usual)
    assert capsys.readouterr().out.splitlines()[-3:] == [f"{s:<5}  1      1" for s in ("train", "val", "test")]


def test_what_was_read_and_skipped_is_said_by_file_and_reason(tmp_path, capsys):
    places(tmp_path / "in", 2)
    cloudy = patch(tmp_path / "in", "S2A_MSIL2A_20170625T113321_1_1", value=4000)
    write_band(tmp_path / "in" / "lonely_B02.tif", np.ones((24, 24), np.uint16))
    write_band(tmp_path / "in" / "elevation.tif", np.ones((24, 24), np.uint16))
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*")
    with pytest.raises(ZooError, match=r"broken.tif: cannot be read"):
        prepare(tmp_path / "in", tmp_path / "out")
    written = prepare(tmp_path / "in", tmp_path / "out", "prepare.on_unreadable=skip")
    made = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert made["tiles"] == len(written) == 2
    assert [(one["name"], one["tiles"], one["left_out"]) for one in made["products"]] == [
        ("S2A_MSIL2A_20170610T113321_36_85", 1, {}),
        ("S2A_MSIL2A_20170611T113321_36_85", 1, {}),
        (cloudy.name, 0, {"cloud": 1}),
    ]
    skipped = {one["file"].rpartition("/")[2]: one["reason"] for one in made["skipped"]}
    assert skipped["lonely_B02.tif"].startswith("has no band B03, B04, B08")
    assert "prepare.band_names" in skipped["elevation.tif"]
    assert "cannot be read as a raster" in skipped["broken.tif"]
    printed = capsys.readouterr().out
    assert f"{cloudy.name}    20170625  4      0      1 cloud" in printed
    assert "skipped lonely_B02.tif: has no band B03, B04, B08; it has B02" in printed
    assert "split  tiles  places\ntrain  2      2\nval    0      0" in printed


NAMELESS = "prepare.band_names=[sentinel2_l2a]"


def test_dates_biomes_and_offsets_from_a_table(tmp_path):
    """Two files of twelve bands without names, dates and baselines, one of them with the offset: as s2_world has it."""
    for name, value, x in (("a", 1000, 6e5), ("b", 2000, 7e5)):
        write_band(tmp_path / "in" / f"{name}.tif", np.full((12, 24, 24), value, np.uint16), x=x)
    table = tmp_path / "table.csv"
    table.write_text("product;date;biome;offset\na;2019-07-02;3;0\nb;2022-11-30;;-1000\n")
    overrides = (NAMELESS, f"prepare.products={table}", "prepare.offset=null")
    files = prepare(tmp_path / "in", tmp_path / "out", *overrides)
    tiles = {tile.meta["product"]: tile for tile in map(read_tile, files)}
    assert [tiles[n].image[0, 5, 5] for n in "ab"] == pytest.approx([0.1, 0.1])
    assert [(tiles[n].month, tiles[n].biome, tiles[n].meta["date"]) for n in "ab"] == [
        (7, 3, "20190702"),
        (11, 4, "20221130"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("product,biom\na,3\n", "has a column 'biom'. Did you mean 'biome'"),
        ("date\n2020-01-01\n", "has no column 'product'"),
        ("product,biome\nc,3\n", "line 2: no product is called 'c'. Known: a"),
        ("product,biome\na,3\na,4\n", "line 3: a comes twice"),
        ("product,biome\na,17\n", "line 2: biome '17' is not a whole number from 0 to 16"),
        ("product,month\na,1.5\n", "month '1.5' is not a whole number"),
        ("product,date\na,02.07.2019\n", "date '02.07.2019' is no day; write YYYY-MM-DD"),
        ("product,date,month\na,2019-07-02,8\n", "month 8 is not that of date 2019-07-02"),
        ("product,offset\na,many\n", "offset 'many' is not a number"),
        ("product,offset\na\n", "line 2: has 1 cells, the header 2"),
    ],
)
def test_tables_are_checked_line_by_line(tmp_path, text, message):
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(ZooError, match=re.escape(message)) as error:
        read_product_table(table, ["a"])
    assert "\n" not in str(error.value)


def test_places_stay_whole_and_seasons_are_balanced(tmp_path):
    how = PrithviPrepareSettings(fractions=(0.6, 0.2, 0.2))
    random = np.random.default_rng(0)
    found = [
        Found(tmp_path / f"{place}_{i}", f"p{place}", season)
        for place in range(60)
        for i, season in enumerate(random.integers(4, size=random.integers(1, 5)))
    ]
    splits = {tile.file: split for tile, split in assign(found, how)}
    assert len(splits) == len(found)
    by_place = {}
    for tile in found:
        by_place.setdefault(tile.place, set()).add(splits[tile.file])
    assert all(len(s) == 1 for s in by_place.values())
    for season in range(4):
        mine = [splits[t.file] for t in found if t.season == season]
        for split, share in zip(("train", "val", "test"), how.fractions):
            assert abs(mine.count(split) / len(mine) - share) < 0.03
    assert {tile.file: split for tile, split in assign(found[::-1], how)} == splits
    assert {tile.file: s for tile, s in assign(found, how.model_copy(update={"seed": 1}))} != splits
    assert {s for _, s in assign(found, PrithviPrepareSettings(fractions=(1, 0, 0)))} == {"train"}


def test_pixels_in_degrees_are_metres_at_their_latitude(tmp_path):
    file = write_band(tmp_path / "a.tif", np.ones((10, 10), np.uint8))
    with rasterio.open(file) as dataset:
        from eozoo_core.raster.georeference import Grid

        degrees = Grid(10, 10, rasterio.CRS.from_epsg(4326), rasterio.Affine(1e-4, 0, 5, 0, -1e-4, 60))
        assert pixel_metres(degrees) == pytest.approx(11.12 * 0.5**0.5, rel=0.01)
        assert pixel_metres(Grid(10, 10, dataset.crs, dataset.transform)) == 10


def test_a_stopped_preparation_goes_on(tmp_path, monkeypatch):
    """Products that were cut are not cut again; the tiles are those of an uninterrupted call."""
    from eozoo_prithvi_refine.prepare import tiles

    for i in range(3):
        patch(tmp_path / "in", f"S2A_MSIL2A_2017061{i}T113321_36_85", x=600000.0 + 60000 * i, value=1000 + i)
    whole = prepare(tmp_path / "in", tmp_path / "whole")
    cut, log = tiles._cut, []

    def stopping(planned, *rest):
        if len(log) == 2:
            raise KeyboardInterrupt
        log.append(planned.product.name)
        return cut(planned, *rest)

    monkeypatch.setattr(tiles, "_cut", stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "in", tmp_path / "out")
    assert len(log) == 2
    assert not (tmp_path / "out" / "train").exists()
    monkeypatch.setattr(tiles, "_cut", lambda planned, *rest: log.append(planned.product.name) or cut(planned, *rest))
    publish, moved = tiles.publish, []

    def halfway(part, path):
        if len(moved) == 3:  # a tile, and the sidecar of another
            raise KeyboardInterrupt
        moved.append(path)
        publish(part, path)

    monkeypatch.setattr(tiles, "publish", halfway)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(tiles, "publish", publish)
    files = prepare(tmp_path / "in", tmp_path / "out")
    assert len(log) == len(set(log)) == 3
    assert [f.relative_to(tmp_path / "out") for f in files] == [f.relative_to(tmp_path / "whole") for f in whole]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(files, whole))
    assert not [file for file in (tmp_path / "out").iterdir() if file.name.startswith(".")]
