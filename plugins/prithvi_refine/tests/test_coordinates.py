"""Time and place for the ``_tl`` encoders: read, written, passed on, left out where not known, never invented."""

import json
from datetime import date

import numpy as np
import pytest
import rasterio
import torch
from eozoo.registry import Registry
from eozoo_core import Run, ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.tiles import Window
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine import coordinates
from eozoo_prithvi_refine.coordinates import check_batch, known, location_in, location_of, time_in, time_of
from eozoo_prithvi_refine.data import RefineTiles, find_tiles
from eozoo_prithvi_refine.demo.landscape import landscape, write_world
from eozoo_prithvi_refine.positions import CoordinateEncoder
from eozoo_prithvi_refine.registered import prithvi_refiner
from eozoo_prithvi_refine.settings import DataSettings, PrithviSettings
from eozoo_prithvi_refine.task import PrithviRefine
from eozoo_prithvi_refine.tile_files import read_npz
from hypothesis import given
from hypothesis import strategies as st

PARIS = [48.8566, 2.3522]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("20210101", (2021, 1)), ("2020-12-31", (2020, 366)), ("2021-03-01T10:11:12Z", (2021, 60))],
)
def test_days_count_from_one(text, wanted):
    assert time_of(text, "x") == wanted


@pytest.mark.parametrize("text", [None, "", "2021-06", "june", "1", 2021])
def test_no_day_is_not_known(text):
    assert not known(time_of(text, "x"))


@given(st.dates(min_value=date(1950, 1, 1)))
def test_every_day_of_the_calendar(day):
    year, number = time_of(day.strftime("%Y%m%d"), "x")
    assert (year, number) == (day.year, (day - day.replace(month=1, day=1)).days + 1)


def test_sidecars():
    assert time_in({"date": "20210201", "date_s2": "2020-01-31"}, "x") == (2020, 31)
    assert time_in({"date": "20210201", "date_s2": ""}, "x") == (2021, 32)
    assert location_in({"lat": -33.9, "lon": "18.4"}, "x") == (-33.9, 18.4)
    assert not known(location_in({}, "x"))
    for meta, message in [
        ({"lat": 2.0}, "or both left out"),
        ({"lat": "north", "lon": 3}, "two numbers"),
        ({"lat": 120.0, "lon": 3.0}, r"a\.json: location .* is not \(latitude, longitude\): number 1 .* -90\.\.90"),
        ({"lat": 12.0, "lon": 200.0}, r"number 2 .* -180\.\.180"),
    ]:
        with pytest.raises(ZooError, match=message):
            location_in(meta, "a.json")
    with pytest.raises(ZooError, match="is no day"):
        time_in({"date": "20210230"}, "a.json")


def test_place_of_a_raster_and_of_a_window():
    """UTM zone 31 has its central meridian, 3 degrees east, at 500 km."""
    grid = Grid(100, 200, rasterio.CRS.from_epsg(32631), rasterio.Affine(10, 0, 499_000, 0, -10, 5_000_000))
    lat, lon = location_of(grid)
    assert lon == pytest.approx(3, abs=1e-9)
    assert 45.1 < lat < 45.2
    left, upper = (location_of(grid, Window(r, c, 10, 10)) for r, c in ((45, 0), (0, 95)))
    assert left[0] == pytest.approx(lat, abs=1e-4)
    assert left[1] < lon
    assert upper[0] > lat
    assert not known(location_of(Grid(5, 5)))


def test_a_pair_that_is_not_known_is_encoded_as_nothing():
    encoder = CoordinateEncoder(32)
    pairs = torch.tensor([[[2021.0, 5.0]], [[float("nan"), 5.0]], [[float("nan"), float("nan")]]])
    encoded = encoder(pairs)
    assert encoded[0].abs().max() > 0.05
    assert (encoded[1:] == 0).all()
    encoded.sum().backward()
    assert torch.isfinite(encoder.scale.grad).all()
    alone = CoordinateEncoder(32)
    alone(pairs[:1]).sum().backward()
    assert torch.equal(encoder.scale.grad, alone.scale.grad)


def refiner(encoder="prithvi_eo_nano_tl"):
    torch.manual_seed(0)
    model = prithvi_refiner(encoder=encoder, quantization="int8", num_convnext_blocks=1, head_width=8).eval()
    torch.nn.init.normal_(model.head.head.change.weight, std=0.3)
    torch.nn.init.normal_(model.project.weight, std=0.1)  # both begin at zero
    return model


def test_another_day_or_place_changes_the_image_and_missing_ones_are_left_out():
    model, nan = refiner(), float("nan")
    image = 0.3 * torch.rand(1, 4, 24, 24)
    codes = torch.tensor([6]), torch.tensor([4])

    def run(time=None, place=None):
        pairs = (None if v is None else torch.tensor([v]) for v in (time, place))
        with torch.no_grad():
            return model(image, *codes, *pairs)[0]

    day, place = [2021.0, 166.0], PARIS
    base, both = run(), run(day, place)
    made = [base, both, run(day), run(None, place), run([2021.0, 20.0], place), run([2016.0, 166.0], place)]
    made += [run(day, [-place[0], place[1]]), run(day, place[::-1])]
    for i, a in enumerate(made):
        assert not any(torch.allclose(a, b, atol=1e-6) for b in made[:i]), i
    assert torch.equal(run([nan, nan], [nan, nan]), base)
    assert torch.equal(run(day, [nan, nan]), run(day))
    assert torch.equal(run([nan, 3.0], place), run(None, place))
    with torch.no_grad():  # one of two is not known
        pair = torch.cat([image, image]), codes[0].repeat(2), codes[1].repeat(2)
        mixed = model(*pair, torch.tensor([day, [nan, nan]]), torch.tensor([place, [nan, nan]]))[0]
    assert torch.allclose(mixed, torch.cat([both, base]), atol=1e-6)
    plain = refiner("prithvi_eo_nano")
    with torch.no_grad():
        assert torch.equal(plain(image, *codes, torch.tensor([day]))[0], plain(image, *codes)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": [[166, 2021]]}, r"time .* is not \(year, day of the year\)"),
        ({"time": [[2021, 367]]}, "number 2 lies outside 1..366"),
        ({"location": [[100, 40]]}, "latitude, longitude"),
        ({"location": [[np.inf, 40]]}, "latitude, longitude"),
    ],
)
def test_predict_refuses(change, message):
    batch = {"opt_v1": np.zeros((1, 4, 9, 9)), "month": np.array([6.0]), "biome": np.array([4.0])}
    check_batch(batch)
    with pytest.raises(ZooError, match=message):
        check_batch(batch | {name: np.array(values, float) for name, values in change.items()})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Every other training tile knows its place; all know their day."""
    made = write_world(tmp_path_factory.mktemp("world"), size=24, train=4, held_out=2)
    for i, file in enumerate(sorted(made.data_dir.rglob("*.json"))):
        if i % 2 == 0:
            meta = json.loads(file.read_text()) | {"lat": 50.0 + i, "lon": 4.0}
            file.write_text(json.dumps(meta))
    return made


def test_tiles_carry_what_their_sidecars_say(world):
    tiles = RefineTiles(find_tiles(world.data_dir, "train"), DataSettings(tile_size=24))
    batch = tiles.items([0, 1])
    assert batch["time"].tolist()[0] == [2021.0, 15.0]  # tile 0: 15 January
    found = np.isfinite(batch["location"])
    assert found.all(axis=1).sum() == 1


def test_train_infer_and_predict(world, tmp_path):
    """A run of a ``_tl`` encoder: tiles and scenes are refined with the time and place that belong to them."""
    overrides = [f"runtime.data_dir={world.data_dir}", "runtime.tensorboard=false", "runtime.device=cpu"]
    overrides += ["model.encoder=prithvi_eo_nano_tl", "model.num_convnext_blocks=1", "model.head_width=8"]
    overrides += ["data.tile_size=24", "train.epochs=1", "train.accumulate=1", "train.precision=fp32"]
    overrides += ["infer.biome=4", "infer.window=96", "infer.stride=74", "train.learning_rate=0.01"]
    settings = load_settings(PrithviSettings, None, overrides)
    run = Run.create(tmp_path / "run", "prithvi_refine", settings, "test")
    PrithviRefine(settings, Registry.discover()).train(run)

    def task(*more):
        return PrithviRefine(load_settings(PrithviSettings, None, [*overrides, *more]), Registry.discover())

    image = landscape(1, 20, 20, 6, 4)[None]
    batch = {"opt_v1": image, "month": [6], "biome": [4]}
    plain = task().predict(run, batch)["refined"]
    told = task().predict(run, batch | {"time": [[2021, 166]], "location": [PARIS]})["refined"]
    assert np.abs(told - plain).max() > 1e-6
    tile = next(f for f in sorted(world.data_dir.glob("test/*.npz")) if known(location_in(_meta(f), f)))
    (written,) = task().infer(run, tile, tmp_path / "out")
    arrays = read_npz(tile)
    batch = {"opt_v1": np.stack([arrays[k] for k in ("s2_b2", "s2_b3", "s2_b4", "s2_b8")])[None]}
    batch |= {"month": [int(arrays["month"])], "biome": [int(arrays["biome_code"])]}
    meta = _meta(tile)
    batch |= {"time": [time_in(meta, tile)], "location": [location_in(meta, tile)]}
    np.testing.assert_array_equal(read_npz(written)["opt_v2"], task().predict(run, batch)["refined"][0])
    maps = []
    for i, more in enumerate(
        [(), ("infer.date=2021-06-15",), ("infer.date=2020-06-15",), ("infer.location=[-33, 18]",)]
    ):
        file, _ = task(*more).infer(run, world.scene, tmp_path / f"map{i}")
        with rasterio.open(file) as raster:
            maps.append(np.nan_to_num(raster.read()))
    np.testing.assert_array_equal(maps[0], maps[1])  # the day stands in the name, the place in the georeference
    assert np.abs(maps[2] - maps[0]).max() > 1e-7
    assert np.abs(maps[3] - maps[0]).max() > 1e-7


def test_date_in_tags(world, tmp_path):
    file = tmp_path / "undated.tif"
    file.write_bytes(world.scene.read_bytes())
    assert coordinates.date_in_tags(file) == ""
    with rasterio.open(file, "r+") as raster:
        raster.update_tags(TIFFTAG_DATETIME="2025:01:01 00:00:00", ACQUISITION_DATE="2019-07-14")
    assert coordinates.date_in_tags(file) == "2019-07-14"


def _meta(tile):
    return json.loads(tile.with_suffix(".json").read_text())
