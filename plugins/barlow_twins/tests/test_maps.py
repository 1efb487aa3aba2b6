"""Maps against a network whose answer is known, going on after an interruption, and the files' own words."""

import json

import numpy as np
import pytest
import rasterio
import torch
from eozoo_barlow_twins.colours import Colours, fit_colours
from eozoo_barlow_twins.demo.phenology import LEGEND, write_landscape
from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder, predict_batch
from eozoo_barlow_twins.maps import encoded, find_tiles
from eozoo_barlow_twins.pictures import map_picture
from eozoo_barlow_twins.prepare.settings import S2_BANDS
from eozoo_barlow_twins.products import class_maps, embedding_maps, quantise
from eozoo_barlow_twins.settings import (
    BarlowSettings,
    LabelledData,
    LandCoverInfer,
    LandCoverSettings,
    PretrainInfer,
    SelectDates,
)
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import Run, ZooError
from eozoo_core.settings import Named

INFO = EncoderInfo(Named(name="btfm_mlp"), S2_BANDS, 16, 32)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    return Tile(write_landscape(tmp_path_factory.mktemp("maps") / "MGRS-T", 20, 70, 3, clouds=0.52))


def make_run(folder, settings, task="barlow_twins"):
    run = Run.create(folder, task, settings)
    INFO.note(run)
    run.save("best", {"model": {}})
    return run


def means(bands, doys):
    """The mean of four bands over the dates seen."""
    return bands.mean(dim=1)[:, :4]


def encoder(select, forward=means, outputs=4):
    return SeriesEncoder(forward, outputs, INFO, select, "cpu")


def test_embedding_map_holds_what_the_network_says_and_nodata_elsewhere(tmp_path, tile):
    run = make_run(tmp_path / "run", BarlowSettings(infer=PretrainInfer(passes=8, block_pixels=60)))
    files = embedding_maps(run, encoder(run.settings.infer), [tile], tmp_path / "out")
    assert {f.name for f in files} == {
        f"MGRS-T_{n}" for n in ("embedding.tif", "embedding.json", "embedding_int8.tif", "embedding_scale.tif",
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
        small = data.read()
        assert data.dtypes[0] == "int8"
        assert data.nodata == -128
    with rasterio.open(tmp_path / "out" / "MGRS-T_embedding_scale.tif") as data:
        scale = data.read(1)
    assert (small[:, ~usable] == -128).all()
    assert (np.abs(small[:, usable] * scale[usable] - values[:, usable]) <= scale[usable] * 0.5001).all()
    with rasterio.open(tmp_path / "out" / "MGRS-T_false_colour.tif") as data:
        assert ((data.read() > 0) == usable).all()
    statistics = json.loads((tmp_path / "out" / "MGRS-T_embedding.json").read_text())
    assert statistics["valid_share"] == pytest.approx(usable.mean())


def test_class_map_names_its_classes(tmp_path, tile):
    settings = LandCoverSettings(data=LabelledData(legend=LEGEND), infer=LandCoverInfer(passes=1))
    run = make_run(tmp_path / "run", settings, "barlow_landcover")

    def classify(bands, doys):
        """Water where the near infrared is dark, else forest with 0.6."""
        water = (bands[:, :, 6].median(dim=1).values < 800).float()[:, None]
        p = torch.tensor([0.6, 0.1, 0.1, 0.1, 0.1]).expand(len(bands), -1)
        return (1 - water) * p + water * torch.eye(5)[4]

    files = class_maps(run, encoder(settings.infer, classify, 5), [tile], tmp_path / "out", settings.data)
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


def test_interrupted_map_goes_on_and_finished_map_is_left_alone(tmp_path, tile):
    settings = BarlowSettings(infer=PretrainInfer(passes=1, block_pixels=40, workers=1, products=("embedding",)))
    run = make_run(tmp_path / "run", settings)
    calls = []

    def breaking(bands, doys):
        calls.append(len(bands))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return means(bands, doys)

    with pytest.raises(KeyboardInterrupt):
        embedding_maps(run, encoder(settings.infer, breaking), [tile], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))
    before = len(calls)
    files = embedding_maps(run, encoder(settings.infer, breaking), [tile], tmp_path / "out")
    assert len(calls) - before == 10 - 3  # ten blocks of two rows, three were done
    whole = embedding_maps(run, encoder(settings.infer), [tile], tmp_path / "other")
    for a, b in zip(files, whole, strict=True):
        assert a.read_bytes() == b.read_bytes()
    before = len(calls)
    embedding_maps(run, encoder(settings.infer, breaking), [tile], tmp_path / "out")
    assert len(calls) == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["MGRS-T_embedding.json", "MGRS-T_embedding.tif"]


def test_blocks_and_workers_change_nothing(tmp_path, tile):
    results = []
    for number, (block, workers, batch) in enumerate(((20, 1, 7), (400, 3, 2048), (1, 2, 64))):
        infer = PretrainInfer(selection="random", passes=2, block_pixels=block, workers=workers, batch_size=batch)
        run = make_run(tmp_path / f"run{number}", BarlowSettings(infer=infer))
        with encoded(run, encoder(infer), tile, tmp_path / "out") as values:
            results.append(np.array(values))
    assert np.array_equal(results[0], results[1], equal_nan=True)
    assert np.array_equal(results[0], results[2], equal_nan=True)


def test_wrong_bands_are_refused_before_anything_is_written(tmp_path, tile):
    folder = tmp_path / "MGRS-W"
    folder.mkdir()
    for file in tile.path.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "tile.json").unlink()
    (folder / "tile.json").write_text(json.dumps({**tile.info, "bands": [*S2_BANDS[:-1], "B01"]}))
    run = make_run(tmp_path / "run", BarlowSettings(infer=PretrainInfer(products=("embedding",))))
    with pytest.raises(ZooError, match="has no band 'B12'"):
        embedding_maps(run, encoder(run.settings.infer), [Tile(folder)], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ZooError, match="is no tile folder"):
        find_tiles(tmp_path / "run")


def test_predict_masks_and_refuses(tile):
    pixels = np.flatnonzero(tile.counts > 40)[:3]
    bands, clear = tile.series(pixels)
    doys, series = np.tile(tile.doys, (3, 1)), np.where(clear[..., None], bands.astype(np.float32), np.nan)
    net = encoder(SelectDates())
    whole = predict_batch(net, {"bands": series, "doys": doys}, 10)
    masked = predict_batch(net, {"bands": bands, "doys": doys, "masks": clear.astype(np.uint8)}, 10)
    assert np.array_equal(whole, masked)
    few = series.copy()
    few[1, 30:] = np.nan
    assert np.isnan(predict_batch(net, {"bands": few, "doys": doys}, 10)).any(axis=1).tolist() == [False, True, False]
    for batch, message in (
        ({"bands": series}, "no array 'doys'"),
        ({"bands": series[..., :9], "doys": doys}, r"expected \(N, T, 10\)"),
        ({"bands": series, "doys": doys * 0}, "1..366"),
    ):
        with pytest.raises(ZooError, match=message):
            predict_batch(net, batch, 10)


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


def test_quantise_by_hand():
    integers, scale = quantise(np.array([[127.0, -63.5, 0.0], [0.5, 0.25, -0.5], [np.nan] * 3]))
    assert integers[0].tolist() == [127, -64, 0]  # half to even
    assert scale[:2].tolist() == pytest.approx([1, 0.5 / 127])
    assert np.isnan(integers[2]).all()
