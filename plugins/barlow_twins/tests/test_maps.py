"""Maps against a network whose answer is known, going on after an interruption, and the files' own words."""

import json

import numpy as np
import pytest
import rasterio
import torch
from eozoo_barlow_twins.colours import Colours, fit_colours
from eozoo_barlow_twins.demo.phenology import LEGEND, write_landscape
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.maps import _open_part, find_tiles
from eozoo_barlow_twins.networks import Encoder
from eozoo_barlow_twins.pictures import map_picture
from eozoo_barlow_twins.prepare.settings import S2_BANDS
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.survey import UNIT, ClassSurvey, PixelSurvey
from eozoo_barlow_twins.system import ClassSystem, TwinSystem
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import Port, Run, ZooError
from eozoo_core.raster.read import read_whole
from eozoo_core.settings.config import load_settings
from eozoo_core.task import Ports
from eozoo_core.task.survey import BandSurvey

BANDS = tuple(BandSurvey(name=name, unit=UNIT, std=1000.0, count=9) for name in S2_BANDS)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    return Tile(write_landscape(tmp_path_factory.mktemp("maps") / "MGRS-T", 20, 70, 3, clouds=0.52))


def means(bands, doys):
    """The mean of four bands over the dates seen."""
    return bands.mean(dim=1)[:, :4]


class Known(torch.nn.Module):
    """A network that is a function of digital numbers."""

    def __init__(self, function):
        super().__init__()
        self.function, self.latent_dim = function, 4

    def forward(self, bands, doys):
        return self.function(bands * 1000, doys)  # standardised they are thousandths


class Twins(BarlowTwinsTask):
    """Maps of a network whose answer is known."""

    function = staticmethod(means)

    def ports(self, survey):
        return Ports(self.inputs(survey), (Port("embedding", "B 4", "1"),))

    def system(self, survey, fresh):
        return TwinSystem(Encoder(Known(self.function), 10), torch.nn.Identity(), survey, self.settings.infer)


class Cover(LandCoverTask):
    def system(self, survey, fresh):
        encoder = Encoder(Known(self.function), 10)
        return ClassSystem(encoder, torch.nn.Identity(), survey, self.settings.infer, "head", 1)


def trained(folder, cls, *overrides, function=means):
    settings = load_settings(cls.Settings, None, [*overrides, "runtime.quiet=true", "runtime.device=cpu"])
    known = type("Known", (cls,), {"function": staticmethod(function)})  # core makes another of its class
    task, run = known(settings), Run.create(folder, "any", settings)
    survey = ClassSurvey(bands=BANDS, legend=tuple(LEGEND.items())) if cls is Cover else PixelSurvey(bands=BANDS)
    run.save("best", {"model": task.system(survey, True).state_dict(), "survey": survey.model_dump(mode="python")})
    return task, run


def test_embedding_map_holds_what_the_network_says_and_nodata_elsewhere(tmp_path, tile):
    task, run = trained(tmp_path / "run", Twins, "infer.passes=8", "infer.block_pixels=60")
    files = task.infer(run, tile.path, tmp_path / "out")
    assert {f.name for f in files} == {
        f"MGRS-T_{n}" for n in ("embedding.tif", "embedding.json", "embedding_int8.tif",
                                "false_colour.tif", "false_colour.png")
    }  # fmt: skip
    with rasterio.open(tmp_path / "out" / "MGRS-T_embedding.tif") as data:
        values, units = data.read(), data.units
        assert data.crs == rasterio.crs.CRS.from_wkt(tile.info["crs"])
        assert list(data.transform)[:6] == tile.info["transform"]
    assert set(units) == {"1"}
    usable = tile.counts > 32
    assert 0 < usable.mean() < 1
    assert (np.isfinite(values) == usable).all()
    series, clear = tile.series(np.flatnonzero(usable))
    whole = (series * clear[..., None]).sum(1) / clear.sum(1)[:, None]
    # Eight passes of 16 evenly spread dates see every clear date nearly equally often.
    assert np.abs(values[:, usable].T / whole[:, :4] - 1).max() < 0.1
    with rasterio.open(tmp_path / "out" / "MGRS-T_embedding_int8.tif") as data:
        small, scales = data.read(), np.array(data.scales)[:, None]
        assert data.dtypes[0] == "int8"
        assert data.nodata == -128
    assert (small[:, ~usable] == -128).all()
    back = read_whole(tmp_path / "out" / "MGRS-T_embedding_int8.tif")
    assert (np.abs(back - values)[:, usable] <= scales * 0.5001).all()
    with rasterio.open(tmp_path / "out" / "MGRS-T_false_colour.tif") as data:
        assert ((data.read() > 0) == usable).all()
    statistics = json.loads((tmp_path / "out" / "MGRS-T_embedding.json").read_text())
    assert statistics["valid_share"] == pytest.approx(usable.mean())


def test_masked_classes_are_nodata_in_every_file(tmp_path, tile):
    _, height, width, _ = tile.shape
    cover = np.full((height, width), 10, np.uint8)
    cover[:, : width // 2] = 80
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "uint8",
        "crs": tile.info["crs"],
    }
    with rasterio.open(tmp_path / "cover.tif", "w", transform=tile.grid.transform, **profile) as data:
        data.write(cover, 1)
    task, run = trained(tmp_path / "run", Twins, "infer.passes=1", f"infer.mask.classes={tmp_path / 'cover.tif'}")
    shown = (tile.counts > 32) & (cover == 10)
    files = [file for file in task.infer(run, tile.path, tmp_path / "out") if file.suffix == ".tif"]
    assert len(files) == 3
    for file in files:
        with rasterio.open(file) as data:
            assert ((data.read_masks(1) > 0) == shown).all(), file.name


def test_class_map_names_its_classes(tmp_path, tile):

    def classify(bands, doys):
        """Water where the near infrared is dark, else forest with 0.6."""
        water = (bands[:, :, 6].median(dim=1).values < 800).float()[:, None]
        p = torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1]).expand(len(bands), -1)
        return torch.log((1 - water) * p + water * torch.eye(5)[4] + 1e-12)

    legend = f"data.legend={json.dumps(LEGEND)}"
    task, run = trained(tmp_path / "run", Cover, "infer.passes=1", legend, function=classify)
    files = task.infer(run, tile.path, tmp_path / "out")
    with rasterio.open(files[0]) as data:
        classes, names = data.read(1), json.loads(data.tags(1)["CLASS_NAMES"])
        assert data.colormap(1)[80][:3] == (0, 100, 200)
        assert data.nodata == 0
    assert names == {str(code): name for code, name in LEGEND.items()}
    usable = tile.counts > 32
    assert (np.isin(classes, (10, 80)) == usable).all()
    labels = tile.layer("labels.npy")
    assert (classes[usable & (labels == 80)] == 80).mean() > 0.9  # neighbours shine into the edges
    with rasterio.open(files[1]) as data:
        assert data.descriptions == tuple(LEGEND.values())
        p = data.read()
    assert np.allclose(p[:, usable].sum(0), 1, atol=1e-5)
    assert np.isnan(p[:, ~usable]).all()
    again = map_picture(files[0])
    assert again.read_bytes()[:4] == b"\x89PNG"


ONE = ("infer.passes=1", "infer.block_pixels=40", "infer.block_threads=1", "infer.products=[embedding]")


def test_interrupted_map_goes_on_and_finished_map_is_left_alone(tmp_path, tile):
    calls = []

    def breaking(bands, doys):
        calls.append(len(bands))
        if len(calls) == 5:  # the first asks how many numbers there will be
            raise KeyboardInterrupt
        return means(bands, doys)

    task, run = trained(tmp_path / "run", Twins, *ONE, function=breaking)
    with pytest.raises(KeyboardInterrupt):
        task.infer(run, tile.path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))
    before = len(calls)
    files = task.infer(run, tile.path, tmp_path / "out")
    assert len(calls) - before == 1 + 10 - 3  # ten blocks of two rows, three were done
    whole = task.infer(run, tile.path, tmp_path / "other")
    for a, b in zip(files, whole, strict=True):
        assert a.read_bytes() == b.read_bytes()
    before = [file.stat().st_mtime_ns for file in files]
    assert task.infer(run, tile.path, tmp_path / "out") == files
    assert [file.stat().st_mtime_ns for file in files] == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["MGRS-T_embedding.json", "MGRS-T_embedding.tif"]


def test_a_damaged_part_is_not_believed(tmp_path):
    """What was encoded before a kill counts only where it is what was written; other rows are encoded again."""
    spoils = {
        "value": lambda array, note: (array[:136] + bytes([array[136] ^ 1]) + array[137:], note),
        "dtype": lambda array, note: (array.replace(b"<f4", b"<i4"), note),
        "order": lambda array, note: (array.replace(b"False", b"True "), note),
        "longer": lambda array, note: (array + bytes(4), note),
        "shorter": lambda array, note: (array[:-1], note),
        "note": lambda array, note: (array, note.replace(b"[[0, ", b'[["a", ')),
        "older": lambda array, note: (array, b'{"stamp": "s", "done": [0, 2]}'),
        "nothing": lambda array, note: (array, note),
    }
    for name, spoil in spoils.items():
        work = tmp_path / name
        values, progress = _open_part(work, (6, 4, 3), "s")
        values[:4] = np.arange(48).reshape(4, 4, 3)
        for row in (0, 2):
            progress.add(row, row + 2, values)
        progress.keep(values)
        files = [work / "values.npy", work / "done.json"]
        for file, content in zip(files, spoil(*[file.read_bytes() for file in files]), strict=True):
            file.write_bytes(content)
        values, progress = _open_part(work, (6, 4, 3), "s")
        assert sorted(progress.done) == {"nothing": [0, 2], "value": [2]}.get(name, []), name
        assert values.dtype == np.float32
        assert values.flags.c_contiguous


def test_what_was_begun_with_other_blocks_is_begun_again(tmp_path, tile):
    """Blocks are remembered by their first row: with larger ones the rows between would stay empty."""

    calls = []

    def breaking(bands, doys):
        calls.append(len(bands))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return means(bands, doys)

    task, run = trained(tmp_path / "run", Twins, *ONE, function=breaking)
    with pytest.raises(KeyboardInterrupt):
        task.infer(run, tile.path, tmp_path / "out")
    assert json.loads((tmp_path / "out" / ".MGRS-T.part" / "done.json").read_text())["done"][0][:2] == [0, 2]
    larger = type(task)(load_settings(Twins.Settings, None, [*ONE, "infer.block_pixels=200", "runtime.quiet=true"]))
    with rasterio.open(larger.infer(run, tile.path, tmp_path / "out")[0]) as data:
        assert (np.isfinite(data.read(1)) == (tile.counts > 32)).all()


def test_blocks_and_workers_change_nothing(tmp_path, tile):
    results = []
    for number, (block, workers, batch) in enumerate(((20, 1, 7), (400, 3, 2048), (1, 2, 64))):
        cut = (f"infer.block_pixels={block}", f"infer.block_threads={workers}", f"infer.batch_size={batch}")
        random = ("infer.selection=random", "infer.passes=2", "infer.products=[embedding]")
        task, run = trained(tmp_path / f"run{number}", Twins, *random, *cut)
        with rasterio.open(task.infer(run, tile.path, tmp_path / f"out{number}")[0]) as data:
            results.append(data.read())
    assert np.array_equal(results[0], results[1], equal_nan=True)
    assert np.array_equal(results[0], results[2], equal_nan=True)


def test_a_run_without_colours_takes_those_of_the_first_tile_for_all(tmp_path, tile):
    (tmp_path / "two").mkdir()
    for name in ("A", "B"):
        (tmp_path / "two" / name).symlink_to(tile.path)
    task, run = trained(tmp_path / "run", Twins, "infer.passes=1", "infer.products=[false_colour]")
    files = task.infer(run, tmp_path / "two", tmp_path / "out")
    assert [file.name[:1] + file.suffix for file in files] == ["A.tif", "A.png", "B.tif", "B.png", "s.jsonl"]
    colours = tmp_path / "out" / "false_colour.json"
    kept = colours.read_bytes()
    one = ["infer.passes=1", f"infer.colours={colours}", "infer.products=[false_colour]", "runtime.quiet=true"]
    again, _ = type(task)(load_settings(Twins.Settings, None, one)).infer(run, tile.path, tmp_path / "other")
    with rasterio.open(files[2]) as one, rasterio.open(again) as two:
        assert (one.read() == two.read()).all()
    assert colours.read_bytes() == kept


def test_wrong_bands_are_refused_before_anything_is_written(tmp_path, tile):
    folder = tmp_path / "MGRS-W"
    folder.mkdir()
    for file in tile.path.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "tile.json").unlink()
    (folder / "tile.json").write_text(json.dumps({"bands": [*S2_BANDS[:-1], "B01"]}))
    task, run = trained(tmp_path / "run", Twins, "infer.products=[embedding]")
    with pytest.raises(ZooError, match="has no band 'B12'"):
        task.infer(run, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ZooError, match="is no tile folder"):
        find_tiles(tmp_path / "run")


def test_reflectance_for_digital_numbers_is_refused(tmp_path, tile):
    folder = tmp_path / "MGRS-U"
    folder.mkdir()
    for file in tile.path.iterdir():
        if file.name not in ("bands.npy", "pixels.npy", "pixels.json"):
            (folder / file.name).symlink_to(file)
    np.save(folder / "bands.npy", (np.asarray(tile.bands) / 10_000).astype(np.uint16))
    task, run = trained(tmp_path / "run", Twins, "infer.products=[embedding]")
    content = run.load("best")
    seen = [{**band, "mean": 2000.0, "std": 15.0, "count": 9} for band in content["survey"]["bands"]]
    run.save("best", {"model": content["model"], "survey": {**content["survey"], "bands": seen}})
    with pytest.raises(ZooError, match="not in the units of the training data"):
        task.infer(run, folder, tmp_path / "out")


def test_predict_masks_and_refuses(tmp_path, tile):
    pixels = np.flatnonzero(tile.counts > 40)[:3]
    bands, clear = tile.series(pixels)
    doys, series = np.tile(tile.doys, (3, 1)), np.where(clear[..., None], bands.astype(np.float32), np.nan)
    task, run = trained(tmp_path / "run", Twins)

    def predict(**arrays):
        return task.predict(run, arrays)["embedding"]

    whole = predict(bands=series, doys=doys)
    assert np.array_equal(whole, predict(bands=bands, doys=doys, masks=clear.astype(np.uint8)))
    few = series.copy()
    few[1, 30:] = np.nan
    assert np.isnan(predict(bands=few, doys=doys)).any(axis=1).tolist() == [False, True, False]
    for batch, message in (
        ({"bands": series}, "the array doys"),
        ({"bands": series[..., :9], "doys": doys}, "has 9 bands, the run needs 10"),
        ({"bands": series, "doys": doys * 0}, "1..366"),
    ):
        with pytest.raises(ZooError, match=message):
            predict(**batch)


def test_colours_by_hand():
    """Three axes of deviation 3, 2 and 1: the components are the axes in that order, the mean is middle grey."""
    random = np.random.default_rng(0)
    points = random.normal(size=(20000, 4)) * [1, 3, 0.01, 2] + [5, -5, 0, 9]
    points[7] = np.nan
    colours = fit_colours(points)
    assert np.allclose(np.abs(colours.components), np.eye(4)[[1, 3, 0]], atol=0.03)
    assert np.allclose(colours.std, [3, 2, 1], rtol=0.02)
    shown = colours(np.array([colours.mean, np.add(colours.mean, [0, 7.5, 0, 0]), [np.nan] * 4]))
    assert shown[0].tolist() == [128, 128, 128]
    assert shown[1][0] > 253
    assert np.isnan(shown[2]).all()
    assert isinstance(colours, Colours)
    with pytest.raises(ZooError, match="4 valid pixels"):
        fit_colours(points[6:9])
