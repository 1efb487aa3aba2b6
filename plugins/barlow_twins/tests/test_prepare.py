"""From raw products to tiles: values, masks and errors against files written here."""

import json
from functools import partial

import h5py
import numpy as np
import pytest
import rasterio
from eozoo.registry import Registry
from eozoo_barlow_twins.labels import prepare_labels
from eozoo_barlow_twins.prepare.cubes import prepare_cube
from eozoo_barlow_twins.prepare.dataset import prepare_dataset
from eozoo_barlow_twins.prepare.scenes import prepare_scenes
from eozoo_barlow_twins.prepare.settings import CubeSettings, DatasetSettings, SceneSettings, TableSettings
from eozoo_barlow_twins.prepare.table import prepare_table
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import ZooError
from eozoo_core.settings import Named
from rasterio.transform import from_origin
from worker_jobs import Elsewhere

BANDS = ("B04", "B11")


def write_cube(folder, name, step, variables, days=(0, 5, 400), units="days since 2017-08-04 10:00:00", flip=False):
    """A cube over 40 m x 40 m whose upper left corner lies at (1000, 2000)."""
    folder.mkdir(exist_ok=True)
    n = round(40 / step)
    with h5py.File(folder / name, "w") as file:
        file["x"] = 1000 + step * (np.arange(n) + 0.5)
        y = 2000 - step * (np.arange(n) + 0.5)
        file["y"] = y[::-1] if flip else y
        if days is not None:
            file["timestamp"] = np.array(days, np.int64)
            file["timestamp"].attrs["units"] = units
        for key, values in variables.items():
            file[key] = values[..., ::-1, :] if flip else values
            file[key].attrs["_FillValue"] = np.array([0], values.dtype)
    return folder


def cube(folder, flip=False, **values):
    random = np.random.default_rng(0)
    fine = random.integers(1, 5000, (3, 4, 4)).astype(np.uint16)
    coarse = random.integers(1, 5000, (3, 2, 2)).astype(np.uint16)
    scl = np.array([[[4, 9], [5, 6]], [[3, 4], [4, 0]], [[7, 11], [4, 4]]], np.uint8)
    fine[0, 0, 0] = 0  # no data in one pixel of one date
    given = {"fine": {"B04": fine}, "coarse": {"B11": coarse, "SCL": scl}, "days": (0, 5, 400), **values}
    write_cube(folder, "a_10m.nc", 10, given["fine"], given["days"], flip=flip)
    write_cube(folder, "b_20m.nc", 20, given["coarse"])
    return fine, coarse, scl


def settings(folder, **values):
    return CubeSettings(**{"folder": str(folder), "tile": "MGRS-1", "bands": BANDS, "offset": 0, **values})


@pytest.mark.parametrize("flip", [False, True])
def test_cube_by_hand(tmp_path, flip):
    fine, coarse, scl = cube(tmp_path / "raw", flip)
    labels = np.array([[1, 1, 2, 2]] * 4, np.uint16)
    write_cube(tmp_path / "raw", "labels.nc", 10, {"LC": labels, "CT": labels.T.copy()}, days=None)
    tile = Tile(prepare_cube(settings(tmp_path / "raw", labels=("LC", "CT"), fields=True), tmp_path / "out"))
    assert tile.shape == (3, 4, 4, 2)
    assert tile.band_names == BANDS
    assert tile.doys.tolist() == [216, 221, 251]  # 4 August 2017, 9 August, 400 days after the first
    assert tile.info["dates"][2] == "2018-09-08"
    assert tile.info["transform"] == [10, 0, 1000, 0, -10, 2000]
    assert (np.array(tile.bands)[..., 0] == fine).all()
    assert (np.array(tile.bands)[..., 1] == coarse.repeat(2, 1).repeat(2, 2)).all()
    clear = np.isin(scl, (4, 5, 6, 7)).repeat(2, 1).repeat(2, 2)
    clear[0, 0, 0] = False
    assert (np.array(tile.masks) == clear).all()
    assert (tile.layer("labels.npy") == labels).all()
    assert (tile.layer("labels_ct.npy") == labels.T).all()
    assert len(np.unique(tile.layer("blocks.npy"))) == 4


def test_cube_settings_change_the_tile(tmp_path):
    fine, coarse, _ = cube(tmp_path / "raw")
    some = settings(tmp_path / "raw", clear=(9,), first="2017-08-01", last="2017-12-31", offset=-1000)
    tile = Tile(prepare_cube(some, tmp_path / "out"))
    assert tile.shape[0] == 2
    cloudy = (fine[0, :2, 2:] > 1000) & (coarse[0, 0, 1] > 1000)  # the one 20 m pixel; what is 0 or less is not clear
    assert (tile.counts[:2, 2:] == cloudy).all()
    assert tile.counts.sum() == cloudy.sum() > 0
    assert np.array(tile.bands).max() < 4000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"days": (0, 5, 401)}, "its dates are not those of"),
        ({"coarse": {"B12": np.ones((3, 2, 2), np.uint16)}}, "no file has a variable 'B11'"),
        (
            {"coarse": {"B11": np.ones((3, 2, 2), np.uint16), "SCL": np.full((3, 2, 2), 9, np.uint8)}},
            "no pixel is clear",
        ),
        ({"days": None}, "no matching 'timestamp'"),
        ({"fine": {"B04": np.ones((3, 4, 4), np.uint16), "SCL": np.ones((3, 4, 4), np.uint8)}}, "SCL is also in"),
    ],
)
def test_bad_cubes_are_refused_and_leave_nothing(tmp_path, values, message):
    cube(tmp_path / "raw", **values)
    with pytest.raises(ZooError, match=message) as error:
        prepare_cube(settings(tmp_path / "raw"), tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_truncated_cube_and_double_tile(tmp_path):
    cube(tmp_path / "raw")
    prepare_cube(settings(tmp_path / "raw"), tmp_path / "out")
    with pytest.raises(ZooError, match="exists already"):
        prepare_cube(settings(tmp_path / "raw"), tmp_path / "out")
    file = tmp_path / "raw" / "a_10m.nc"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ZooError, match=r"a_10m.nc: cannot be read"):
        prepare_cube(settings(tmp_path / "raw"), tmp_path / "other")


def write_scene(file, values, pixel, nodata=0, names=()):
    file.parent.mkdir(parents=True, exist_ok=True)
    values = values if values.ndim == 3 else values[None]
    profile = {"driver": "GTiff", "height": values.shape[1], "width": values.shape[2], "count": len(values)}
    where = {"crs": "EPSG:32631", "transform": from_origin(500000, 5600000, pixel, pixel)}
    with rasterio.open(file, "w", dtype=values.dtype.name, nodata=nodata, **profile, **where) as out:
        out.write(values)
        for number, name in enumerate(names, 1):
            out.set_band_description(number, name)


def test_scenes_by_hand(tmp_path):
    """Single bands of one date in a dated folder, all bands of the other date in one file."""
    random = np.random.default_rng(0)
    red, swir = (random.integers(1, 5000, (2, n, n)).astype(np.uint16) for n in (40, 20))
    scl = np.where(random.random((2, 20, 20)) < 0.5, 4, 9).astype(np.uint16)
    red[0, 3, 5] = 0
    raw = tmp_path / "raw"
    write_scene(raw / "S2_20200301" / "T31_B04_10m.tif", red[0], 10)
    write_scene(raw / "S2_20200301" / "T31_B11_20m.tif", swir[0], 20)
    write_scene(raw / "S2_20200301" / "T31_SCL_20m.tif", scl[0], 20)
    write_scene(raw / "S2_20200301" / "T31_TCI_10m.tif", red[0], 10)  # not a band: left alone
    fine = np.stack([red[1], *(a[1].repeat(2, 0).repeat(2, 1) for a in (swir, scl))])
    write_scene(raw / "stack_2020-03-11.tif", fine, 10, None, ("B04", "B11", "SCL"))
    some = SceneSettings(folder=str(raw), tile="MGRS-2", bands=BANDS, offset=0)
    tile = Tile(prepare_scenes(some, tmp_path / "out"))
    assert tile.info["dates"] == ["2020-03-01", "2020-03-11"]
    assert tile.doys.tolist() == [61, 71]
    clear = (scl == 4).repeat(2, 1).repeat(2, 2)
    clear[0, 3, 5] = False
    assert (np.array(tile.masks) == clear).all()
    assert (np.array(tile.bands)[..., 0] == red).all()
    assert (np.array(tile.bands)[..., 1] == swir.repeat(2, 1).repeat(2, 2)).all()
    assert "32631" in tile.info["crs"]


def test_bad_scenes_are_refused(tmp_path):
    raw, some = tmp_path / "raw", np.ones((20, 20), np.uint16)
    make = lambda: prepare_scenes(SceneSettings(folder=str(raw), tile="T", bands=BANDS, offset=0), tmp_path / "out")  # noqa: E731
    raw.mkdir()
    with pytest.raises(ZooError, match="holds no raster"):
        make()
    write_scene(raw / "20200301_B04.tif", some, 10)
    with pytest.raises(ZooError, match="2020-03-01 lacks band B11, SCL"):
        make()
    write_scene(raw / "20200301_B11.tif", some[:7, :7], 20)
    write_scene(raw / "20200301_SCL.tif", some, 10)
    with pytest.raises(ZooError, match="does not cover the same area"):
        make()
    write_scene(raw / "copy" / "20200301_B04.tif", some, 10)
    with pytest.raises(ZooError, match="keep one scene a day"):
        make()
    (raw / "copy" / "20200301_B04.tif").unlink()
    write_scene(raw / "extra_B04.tif", some, 10)
    with pytest.raises(ZooError, match="has no date"):
        make()
    assert not (tmp_path / "out" / "T").exists()


SAFE = "S2B_MSIL2A_20230615T105619_N0509_R094_T31UDS_20230615T140000.SAFE"


@pytest.mark.parametrize("kind", ["name", "packed", "floats", "harmonised"])
def test_scenes_hold_reflectance_whatever_their_files_hold(tmp_path, kind, capsys):
    """C08: reflectance 0.03 is 1300 in baseline 05.09; -0.01 (900) and 0 (1000) must not pass for clear pixels."""
    folder = tmp_path / "raw" / (SAFE if kind == "name" else "20230615")
    numbers = np.full((4, 4), 1300, np.uint16)
    numbers[0] = [0, 900, 1000, 11000]
    if kind == "floats":
        numbers = np.where(numbers > 0, (numbers - np.float32(1000)) / np.float32(10000), np.float32(np.nan))
    elif kind == "harmonised":
        numbers = np.where(numbers > 1000, numbers - 1000, 0).astype(np.uint16)
    for band in BANDS:
        write_scene(folder / f"x_{band}.tif", numbers, 10, None)
        if kind == "packed":
            with rasterio.open(folder / f"x_{band}.tif", "r+") as out:
                out.scales, out.offsets = (1e-4,), (-0.1,)
    write_scene(folder / "x_SCL.tif", np.full((4, 4), 4, np.uint8), 10, None)
    some = SceneSettings(
        folder=str(tmp_path / "raw"), tile="T", bands=BANDS, offset=0 if kind == "harmonised" else None
    )
    tile = Tile(prepare_scenes(some, tmp_path / "out"))
    assert np.array(tile.bands)[0, :2, :, 0].tolist() == [[0, 0, 0, 10000], [300] * 4]
    assert np.array(tile.masks)[0, 0].tolist() == [0, 0, 0, 1]
    assert np.array(tile.masks)[0, 1:].all()
    told = {"name": "05.09 in its name", "packed": "offset -0.1 in its tags", "floats": ", floats",
            "harmonised": "offset is set"}[kind]  # fmt: skip
    assert told in tile.info["scaling"][0]
    printed = capsys.readouterr()
    assert f"x_B04.tif and 1 more: {tile.info['scaling'][0]}" in printed.err
    dark = 0 if kind == "harmonised" else 2  # what a harmonised collection clipped is no data to begin with
    assert "T: 1 dates, 2023-06-15 to 2023-06-15, 81.2% clear" in printed.out
    assert ("13.33% of the clear pixels have a band of reflectance 0 or less" in printed.out) == bool(dark)


def test_bands_of_60_m_that_do_not_divide_the_grid_are_resampled_and_holes_stay_holes(tmp_path):
    """5 x 5 px of 20 m under 2 x 2 px of 60 m (120 m, not 100): a plane in x is met at pixel centres by bilinear."""
    raw = tmp_path / "raw" / SAFE
    write_scene(raw / "x_B04_20m.tif", np.full((5, 5), 2000, np.uint16), 20)
    write_scene(raw / "x_B11_60m.tif", np.array([[2000, 2600], [0, 2600]], np.uint16), 60)
    write_scene(raw / "x_SCL_60m.tif", np.array([[4, 9], [4, 4]], np.uint8), 60, 255)
    tile = Tile(prepare_scenes(SceneSettings(folder=str(raw.parent), tile="T", bands=BANDS), tmp_path / "out"))
    # Centres of the 60 m pixels at x = 30 and 90, of the 20 m ones at 10, 30 ... 90: 1000 + 10 per m between them.
    assert np.array(tile.bands)[0, 0, :, 1].tolist() == [1000, 1000, 1200, 1400, 1600]
    assert np.array(tile.masks)[0, 0].tolist() == [1, 1, 1, 0, 0]
    assert np.array(tile.masks)[0, 3:].tolist() == [[0, 0, 0, 1, 1]] * 2  # a hole of 60 m in B11 alone
    assert np.array(tile.bands)[0, 4, :, 1].tolist() == [0, 0, 0, 1600, 1600]  # it bleeds into nothing


def test_what_no_file_tells_is_asked_and_packing_of_cubes_is_undone(tmp_path, capsys):
    fine, _, _ = cube(tmp_path / "raw")
    with pytest.raises(ZooError, match=r"a_10m.nc: neither .* set prepare\.cube\.offset to -1000"):
        prepare_cube(settings(tmp_path / "raw", offset=None), tmp_path / "out")
    for name, band in (("a_10m.nc", "B04"), ("b_20m.nc", "B11")):
        with h5py.File(tmp_path / "raw" / name, "a") as file:
            file[band].attrs["scale_factor"] = 1e-4
    tile = Tile(prepare_cube(settings(tmp_path / "raw", offset=None), tmp_path / "out"))
    assert (np.array(tile.bands)[..., 0] == fine).all()
    assert "a_10m.nc and 1 more: reflectance = value: scale 0.0001" in capsys.readouterr().err


def test_days_that_come_twice_are_said(tmp_path, capsys):
    cube(tmp_path / "raw", days=(0, 0, 400))
    coarse = {"B11": np.ones((3, 2, 2), np.uint16), "SCL": np.full((3, 2, 2), 4, np.uint8)}
    write_cube(tmp_path / "raw", "b_20m.nc", 20, coarse, (0, 0, 400))
    write_cube(tmp_path / "raw", "l.nc", 10, {"LC": np.array([[1, 1, 2, 2]] * 4, np.uint16)}, days=None)
    tile = Tile(prepare_cube(settings(tmp_path / "raw", labels=("LC",), fields=True), tmp_path / "out"))
    assert tile.shape[0] == 3
    assert capsys.readouterr().out.splitlines() == [
        "MGRS-1: 3 dates, 2017-08-04 to 2018-09-08, 97.9% clear",
        "MGRS-1: 1 day comes more than once, all are kept: 2017-08-04",
        "MGRS-1: labels.npy has the codes 1 (8 px), 2 (8 px)",
        "MGRS-1: blocks.npy has 2 fields",
    ]


def test_labels_are_placed_by_coordinates_and_gaps_stay_unlabelled(tmp_path):
    """Two rasters that overlap: the second fills what the first leaves and overwrites nothing; outside stays 0."""
    raw = tmp_path / "raw"
    for name in ("B04", "B11", "SCL"):
        write_scene(raw / f"20200301_{name}.tif", np.full((20, 20), 4, np.uint16), 10)
    tile = Tile(prepare_scenes(SceneSettings(folder=str(raw), tile="T", bands=BANDS, offset=0), tmp_path / "out"))
    profile = {
        "driver": "GTiff",
        "height": 10,
        "width": 10,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32631",
        "nodata": 0,
    }
    for name, left, code in (("a.tif", 499950, 95), ("b.tif", 500000, 100)):
        with rasterio.open(tmp_path / name, "w", transform=from_origin(left, 5600000, 10, 10), **profile) as out:
            out.write(np.full((1, 10, 10), code, np.uint8))
    file = prepare_labels(tile, (str(tmp_path / "a.tif"), str(tmp_path / "b.tif")))
    labels = np.load(file)
    assert labels.dtype == np.uint8
    assert (labels[:10, :5] == 95).all()
    assert (labels[:10, 5:10] == 100).all()
    assert (labels[10:] == 0).all()
    assert (labels[:, 10:] == 0).all()
    with pytest.raises(ZooError, match=r"nowhere.tif: cannot be read"):
        prepare_labels(tile, (str(tmp_path / "nowhere.tif"),))


def test_table_becomes_a_tile(tmp_path):
    import pyarrow
    from pyarrow import parquet

    random = np.random.default_rng(0)
    columns = {
        f"OPTICAL-{b}-ts{t}-10m": random.integers(1, 5000, 6).astype(np.uint16) for b in BANDS for t in range(12)
    }
    columns["OPTICAL-B04-ts3-10m"][2] = 65535
    columns |= {"finetune_class": ["b", "a", None, "b", "a", "a"], "start_date": ["2016-12-01"] * 6}
    columns |= {"h3_l3_cell": ["x", "x", "y", "y", "z", "z"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    some = TableSettings(file=str(tmp_path / "t.parquet"), tile="T", bands=BANDS)
    with pytest.raises(ZooError, match=r"set prepare\.table\.offset to -1000"):
        prepare_table(some, tmp_path / "out")
    tile = Tile(prepare_table(some.model_copy(update={"offset": 0.0}), tmp_path / "out"))
    assert tile.shape == (12, 6, 1, 2)
    assert tile.doys[:3].tolist() == [350, 15, 46]
    assert tile.counts.ravel().tolist() == [12, 12, 11, 12, 12, 12]
    assert tile.layer("labels.npy").ravel().tolist() == [2, 1, 0, 2, 1, 1]
    assert json.loads((tile.path / "legend.json").read_text()) == {"1": "a", "2": "b"}
    assert tile.layer("blocks.npy").ravel().tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ZooError, match="lacks columns OPTICAL-B02"):
        prepare_table(TableSettings(file=some.file, tile="U", bands=("B02",)), tmp_path / "out")


@pytest.mark.parametrize("kind", ["series", "tiles"])
def test_registered_datasets_become_tiles_again(tmp_path, kind):
    """Tiles as a dataset, and back through the slot: the same numbers, masks and days, over the turn of a year."""
    cube(tmp_path / "raw")
    tile = Tile(prepare_cube(settings(tmp_path / "raw"), tmp_path / "in"))
    np.save(tile.path / "doys.npy", np.array([216, 360, 5]))
    (tile.path / "tile.json").write_text(json.dumps({"bands": BANDS}))
    options = {"folder": str(tmp_path / "in")} | ({"min_valid": 1} if kind == "series" else {})
    named = Named(name=f"pixel_{kind}", options=options)
    (made,) = prepare_dataset(DatasetSettings(**{kind: named}), Registry.discover(), tmp_path / "out")
    assert made == tmp_path / "out" / f"pixel_{kind}"
    again = Tile(made)
    assert again.band_names == BANDS
    assert (again.doys == tile.doys).all()
    usable = np.flatnonzero(tile.counts > 1) if kind == "series" else np.arange(tile.counts.size)
    values, clear = tile.series(usable)
    found, found_clear = again.series(np.arange(len(usable)))
    assert len(usable) == again.counts.size > 0
    assert (found_clear == clear).all()
    assert (found[clear] == values[clear]).all()


def test_dataset_step_says_what_is_missing(tmp_path):
    registry, named = Registry.discover(), Named(name="pixel_series", options={"folder": str(tmp_path)})
    for wrong in ({}, {"series": named, "tiles": named}):
        with pytest.raises(ZooError, match=r"name one of prepare\.dataset\.series"):
            prepare_dataset(DatasetSettings(**wrong), registry, tmp_path / "out")


class Labelled:
    """Three series (dates 100 and 200) with a class each; the second has none."""

    def __init__(self, targets):
        self.targets = targets

    def create(self, kind, name, options):
        return [{"bands": np.ones((2, 3)), "doys": np.array([100, 200]), "target": t} for t in self.targets]


def test_labels_of_a_dataset_go_along(tmp_path):
    named = DatasetSettings(series=Named(name="somebody"))
    (made,) = prepare_dataset(named, Labelled([10, np.nan, 300]), tmp_path)
    assert np.load(made / "labels.npy").tolist() == [[10], [0], [300]]
    for wrong in ([10, -1, 0], [10, 0.5, 0], [10, [1, 2], 0]):
        with pytest.raises(ZooError, match=r"'somebody': a sample has target .* for 1 x 1 pixels"):
            prepare_dataset(named.model_copy(update={"tile": "wrong"}), Labelled(wrong), tmp_path)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("kind", ["cube", "scenes"])
def test_workers_write_the_same_tile_and_a_stopped_one_goes_on(tmp_path, monkeypatch, kind):
    from eozoo_barlow_twins.prepare import cubes, scenes

    if kind == "cube":
        cube(tmp_path / "raw")
        prepare = partial(prepare_cube, settings(tmp_path / "raw"))
    else:
        for day in ("20180101", "20180111", "20180121"):
            values = np.random.default_rng(int(day)).integers(1, 3000, (2, 8, 8)).astype(np.uint16)
            write_scene(tmp_path / "raw" / f"{day}.tif", values, 10.0, names=("B04", "B11"))
        given = {"folder": str(tmp_path / "raw"), "tile": "T", "bands": ("B04", "B11"), "has_scl": False, "offset": 0}
        prepare = partial(prepare_scenes, SceneSettings(**given))
    whole = prepare(tmp_path / "whole")
    module, name = (cubes._Cube, "__call__") if kind == "cube" else (scenes, "_write_date")
    write, written = getattr(module, name), []

    def stopping(*given):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(given[-1])
        return write(*given)

    monkeypatch.setattr(module, name, stopping)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "stopped")
    assert not list((tmp_path / "stopped").glob("[!.]*"))
    monkeypatch.undo()
    tiles = [prepare(tmp_path / "stopped", Elsewhere()), prepare(tmp_path / "two", Elsewhere())]
    for tile in tiles:
        assert {f.name: f.read_bytes() for f in tile.iterdir()} == {f.name: f.read_bytes() for f in whole.iterdir()}
        assert [f.name for f in tile.parent.iterdir()] == [tile.name]
