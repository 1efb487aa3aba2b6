"""Ensembles: members as runs, going on, draws combined in scores and maps, and honest totals of a map."""

import csv
import json
import shutil

import numpy as np
import pytest
import rasterio
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid
from eozoo_core.run.beginning import start_from
from eozoo_core.settings.config import load_settings
from eozoo_core.task.members import check_ended
from eozoo_gedi_sparse.demo.landscape import write_landscape
from eozoo_gedi_sparse.prepare.settings import TotalsSettings
from eozoo_gedi_sparse.prepare.totals import make_totals
from eozoo_gedi_sparse.settings import GediSettings
from eozoo_gedi_sparse.task import GediSparse
from rasterio import Affine
from rasterio.warp import transform

FEW = (
    "model.options={width: 4, dropout: 0.3}",
    "data.crop=32",
    "train.epochs=2",
    "train.batch_size=4",
    "train.schedule.name=constant",
    "train.schedule.warmup_steps=0",
    "runtime.device=cpu",
    "runtime.quiet=true",
    "runtime.tensorboard=false",
    "infer.window=64",
    "infer.stride=48",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_landscape(tmp_path_factory.mktemp("world"), tiles=(8, 6, 6), size=48, scene=(96, 128))


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


def make(world, registry, path, *overrides):
    paths = (f"runtime.input_dir={world.input_dir}", f"runtime.label_dir={world.label_dir}")
    settings = load_settings(GediSettings, None, [*FEW, *paths, *overrides])
    run = Run.create(path, "gedi_sparse", settings)
    return GediSparse(settings, registry), run


@pytest.fixture(scope="module")
def ensemble(world, registry, tmp_path_factory):
    task, run = make(world, registry, tmp_path_factory.mktemp("runs") / "two", "train.members=2")
    task.train(run)
    return run


def reopen(run, registry, *overrides):
    again = Run.open(run.path, GediSettings, "gedi_sparse", overrides)
    return GediSparse(again.settings, registry), again


def weights(folder):
    return torch.load(folder / "current.pt", weights_only=True)["model"]


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_member_0_is_the_single_network_and_member_1_another(world, registry, ensemble, tmp_path):
    task, run = make(world, registry, tmp_path / "one", "train.members=1")
    task.train(run)
    first, second = (weights(ensemble.path / f"member_{i}") for i in range(2))
    assert same(weights(run.path), first)
    assert not same(first, second)
    assert not (ensemble.path / "best.pt").exists()


def test_an_ensemble_goes_on_where_it_stopped(world, registry, ensemble, tmp_path):
    path = tmp_path / "two"
    shutil.copytree(ensemble.path, path)
    shutil.rmtree(path / "member_1")
    kept = (path / "member_0" / "current.pt").stat().st_mtime_ns
    task, run = make(world, registry, path, "train.members=2")
    task.train(run)
    assert same(weights(path / "member_1"), weights(ensemble.path / "member_1"))
    assert (path / "member_0" / "current.pt").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_members_in_processes_are_the_same_networks(world, registry, ensemble, tmp_path, monkeypatch):
    for name in ("eozoo", "numpy", "torch", "json"):  # a file of this name in the current folder is not code to run
        (tmp_path / f"{name}.py").write_text("raise ImportError('from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    task, run = make(world, registry, tmp_path / "two", "train.members=2", "runtime.member_processes=2")
    task.train(run)
    for i in range(2):
        assert same(weights(run.path / f"member_{i}"), weights(ensemble.path / f"member_{i}"))


def test_a_member_that_fails_in_its_process_is_one_line(ensemble, tmp_path):
    child = Run(tmp_path, "gedi_sparse", ensemble.settings)
    (tmp_path / "train.txt").write_text("epoch 1\nError: /gone: is no folder\n")
    check_ended(child, 0)
    with pytest.raises(ZooError, match=r"ended with code 1: /gone: is no folder$") as caught:
        check_ended(child, 1)
    assert str(tmp_path) in str(caught.value)


def test_the_predictive_variance_is_the_sum_of_its_parts_and_of_the_members(ensemble, registry):
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 0.4, (2, 14, 40, 40)).astype(np.float32)
    image[0, 3, 5, 6] = np.nan
    raw = "infer.scale_variance=false"
    task, run = reopen(ensemble, registry, raw)
    assert set(task.outputs()) == {"mean", "aleatoric_std", "epistemic_std", "std"}
    out = task.predict(run, {"image": image})
    for values in out.values():
        assert values.shape == (2, 1, 40, 40) or values.shape == (2, 40, 40)
        assert np.isnan(values.reshape(2, 40, 40)[0, 5, 6])
        assert np.isnan(values).sum() == 1
    single = []
    for i in range(2):
        task, run = reopen(ensemble, registry, raw, f"infer.draws.members=[{i}]")
        assert set(task.outputs()) == {"mean", "std"}
        single.append(task.predict(run, {"image": image}))
    means, stds = (np.stack([s[name] for s in single]) for name in ("mean", "std"))
    np.testing.assert_allclose(out["mean"], means.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(out["epistemic_std"], means.std(axis=0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(out["aleatoric_std"], np.sqrt((stds**2).mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(out["std"] ** 2, out["aleatoric_std"] ** 2 + out["epistemic_std"] ** 2, rtol=1e-5)
    task, run = reopen(ensemble, registry)
    factor = run.info()["fitted"]["variance_factor"]
    np.testing.assert_allclose(task.predict(run, {"image": image})["std"], out["std"] * factor**0.5, rtol=1e-5)
    assert abs(factor - 1) > 0.01


def test_dropout_passes_are_repeatable_and_do_not_depend_on_the_batch(ensemble, registry):
    image = np.random.default_rng(0).uniform(0, 0.4, (3, 14, 32, 32)).astype(np.float32)
    passes = ("infer.draws.members=[0]", "infer.draws.mc_passes=4")
    task, run = reopen(ensemble, registry, *passes)
    out = task.predict(run, {"image": image})
    alone = task.predict(run, {"image": image[2:]})
    assert out["epistemic_std"].max() > 0.1
    for name, values in out.items():
        np.testing.assert_allclose(alone[name], values[2:], rtol=1e-4, atol=1e-5)
    plain, run = reopen(ensemble, registry, "infer.draws.members=[0]")
    assert not np.allclose(plain.predict(run, {"image": image})["mean"], out["mean"], rtol=1e-3)


def test_scores_name_every_member_and_files_agree_with_them(ensemble, registry):
    task, run = reopen(ensemble, registry)
    scores = task.evaluate(run, "val")
    assert list(scores) == ["model", "member 0", "member 1", "training mean", "ridge", "forest"]
    folder = run.path / "eval_val"
    names = ["predictions", "targets", "variances", "pred_means", "epistemic_std", "aleatoric_std", "patch"]
    found = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
    error = found["predictions"] - found["targets"]
    assert len(error) == scores["model"]["n"]
    results = json.loads((folder / "val_results.json").read_text())
    assert results["RMSE"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert results["ME"] == pytest.approx(error.mean(), rel=1e-4)
    np.testing.assert_allclose(found["pred_means"].mean(axis=0), found["predictions"], rtol=1e-5)
    parts = found["epistemic_std"] ** 2 + found["aleatoric_std"] ** 2
    np.testing.assert_allclose(found["variances"], parts, rtol=1e-4)
    # fitted on this very split: after scaling the mean square of error / std is 1
    fitted = json.loads((folder / "uncertainty.json").read_text())
    assert fitted["scaled"]["mean_squared_z"] == pytest.approx(1, rel=1e-4)
    assert fitted["variance_scale"]["factor"] == pytest.approx((error**2 / found["variances"]).mean(), rel=1e-3)
    assert set(fitted["intervals_95"]) == {"rmse", "mae", "bias", "coverage_90"}
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64") == 3  # .npy patches do not know their place: no map of residuals
    assert "member 1" in page
    for name in ("confusion.png", "calibration.png", "results.txt"):
        assert (folder / name).stat().st_size > 100


def test_maps_in_one_pass_are_those_of_the_members(world, ensemble, registry, tmp_path):
    task, run = reopen(ensemble, registry, "infer.member_maps=true", "infer.picture=false")
    *files, told = task.infer(run, world.scene, tmp_path / "all")
    assert told.name == "scene_guard.json"
    assert [f.name for f in files] == [
        f"scene_{n}.tif" for n in ("mean", "aleatoric_std", "epistemic_std", "std", "members")
    ]
    with rasterio.open(files[-1]) as out:
        members = out.read()
        assert out.descriptions == ("canopy height member 0", "canopy height member 1")
    for i in range(2):
        task, run = reopen(ensemble, registry, f"infer.draws.members=[{i}]", "infer.picture=false")
        alone = task.infer(run, world.scene, tmp_path / str(i))[0]
        with rasterio.open(alone) as out:
            np.testing.assert_allclose(out.read(1), members[i], rtol=1e-4, atol=1e-4)
    with rasterio.open(files[0]) as out:
        np.testing.assert_allclose(out.read(1), members.mean(axis=0), rtol=1e-4, atol=1e-4)
        assert float(out.tags()["VARIANCE_FACTOR"].split()[0]) == pytest.approx(
            run.info()["fitted"]["variance_factor"], rel=1e-5
        )


def test_masks_hide_classes_and_clouds_and_nothing_else(world, ensemble, registry, tmp_path):
    with rasterio.open(world.scene) as scene:
        profile = scene.profile | {"count": 1, "dtype": "uint8", "nodata": None}
        shape = scene.shape
    classes, clouds = np.full(shape, 10, np.uint8), np.zeros(shape, np.uint8)
    classes[10:20, 30:40], clouds[50:60, :] = 80, 6
    clouds[:5] = 5  # at the limit: it stays
    for name, values in (("classes", classes), ("clouds", clouds)):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as out:
            out.write(values, 1)
    masks = [f"infer.mask.{name}={tmp_path / name}.tif" for name in ("classes", "clouds")]
    maps = {}
    for name, overrides in (("plain", ()), ("masked", masks)):
        task, run = reopen(ensemble, registry, "infer.picture=false", *overrides)
        made = [f for f in task.infer(run, world.scene, tmp_path / name) if f.suffix == ".tif"]
        maps[name] = [rasterio.open(f).read(1) for f in made]
    hidden = (classes == 80) | (clouds == 6)
    for plain, masked in zip(maps["plain"], maps["masked"]):
        np.testing.assert_array_equal(masked, np.where(hidden, np.nan, plain))
        assert np.isfinite(plain[hidden]).any()
        assert np.isfinite(plain[clouds == 5]).any()


def test_a_loss_without_variance_has_disagreement_and_no_std(world, registry, tmp_path):
    task, run = make(world, registry, tmp_path / "mse", "train.members=2", "model.loss.name=mse", "train.epochs=1")
    task.train(run)
    assert set(task.outputs()) == {"mean", "epistemic_std"}
    assert "fitted" not in run.info()
    files = task.infer(run, world.scene, tmp_path / "maps")
    assert [f.name for f in files] == ["scene_mean.tif", "scene_epistemic_std.tif", "scene.png", "scene_guard.json"]
    with rasterio.open(files[1]) as out:
        assert np.nanmax(out.read(1)) > 0
    assert (run.path / "eval_test" / "report.html").exists()
    assert not (run.path / "eval_test" / "variances.npy").exists()


def test_a_laplacian_network_is_judged_by_its_own_distribution(world, registry, tmp_path):
    task, run = make(world, registry, tmp_path / "one", "train.members=1", "model.loss.name=laplacian_nll")
    task.train(run)
    found = {n: np.load(run.path / "eval_test" / f"{n}.npy") for n in ("predictions", "targets", "variances")}
    error, b = np.abs(found["predictions"] - found["targets"]), np.sqrt(found["variances"] / 2)
    judged = json.loads((run.path / "eval_test" / "uncertainty.json").read_text())["model"]
    assert judged["coverage"][0]["observed"] == pytest.approx((error <= b * np.log(2)).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("infer.draws.members=[2]", "choose each once, from 0 to 1"),
        ("infer.draws.members=[]", "choose each once, from 0 to 1"),
        ("infer.mask.classes=/nowhere.tif", "/nowhere.tif: cannot be read"),
    ],
)
def test_bad_draws_and_masks_are_one_line(world, ensemble, registry, tmp_path, override, message):
    task, run = reopen(ensemble, registry, override)
    with pytest.raises(ZooError, match=message):
        task.infer(run, world.scene, tmp_path)
    assert not list(tmp_path.glob("*.tif"))


def test_passes_need_dropout_and_resume_needs_one_member(world, registry, ensemble, tmp_path):
    task, run = make(world, registry, tmp_path / "plain", "train.members=1", "model.options={width: 4}")
    task.train(run)
    task, run = reopen(run, registry, "eval.draws.mc_passes=3")
    with pytest.raises(ZooError, match=r"model\.options\.dropout above 0"):
        task.evaluate(run, "val")
    task, run = make(world, registry, tmp_path / "two", "train.members=2")
    start_from(run, ensemble.path / "member_0" / "current.pt")
    with pytest.raises(ZooError, match=r"--resume goes with train\.members=1"):
        task.train(run)


# -- totals -----------------------------------------------------------------------------------------------------------


def write_map(path, values, unit="Mg/ha", crs="EPSG:32647", factor="4.0 fitted", pixel=100.0):
    values = np.atleast_3d(values.astype(np.float32)).reshape(-1, *values.shape[-2:])
    grid = Grid(*values.shape[1:], rasterio.CRS.from_string(crs), Affine(pixel, 0, 500_000.0, 0, -pixel, 2_000_000.0))
    bands = [Band(f"b{i}", unit) for i in range(len(values))]
    with CogWriter(path, grid, bands, tags={"VARIANCE_FACTOR": factor}) as out:
        out.write_rows(0, values)


HA = 1 / 0.9996**2  # what a pixel of 100 m has on the ground near the central meridian of its UTM zone


def square(path, left=0.0, top=0.0, right=400.0, bottom=400.0, **properties):
    ring = [[500_000 + x, 2_000_000 - y] for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))]
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    feature = {"type": "Feature", "properties": properties, "geometry": geometry}
    content = {"type": "FeatureCollection", "crs": {"properties": {"name": "EPSG:32647"}}, "features": [feature]}
    path.write_text(json.dumps(content))
    return path


def totals(tmp_path, **more):
    settings = {"maps": tmp_path / "a_mean.tif", "polygons": tmp_path / "p.geojson", "dest": tmp_path / "t.csv"}
    make_totals(TotalsSettings(**settings, **more))
    with (tmp_path / "t.csv").open() as file:
        (row,) = csv.DictReader(file)
    return {k: v if k == "name" else float(v) for k, v in row.items()}


def test_totals_by_hand(tmp_path):
    # 4 x 6 pixels of HA; the polygon holds the left 4 x 4; one pixel has no prediction
    mean = np.full((4, 6), 10.0)
    mean[0, 0] = np.nan
    write_map(tmp_path / "a_mean.tif", mean)
    write_map(tmp_path / "a_aleatoric_std.tif", np.full((4, 6), 3.0))
    write_map(tmp_path / "a_epistemic_std.tif", np.full((4, 6), 2.0))
    square(tmp_path / "p.geojson", name="west")
    found = totals(tmp_path, name="name", correlation=200.0)
    assert found["name"] == "west"
    areas = [found[key] for key in ("area_ha", "predicted_ha", "total_mg")]
    assert areas == pytest.approx([16 * HA, 15 * HA, 150 * HA], rel=1e-5)
    # noise: cells of 2 x 2 pixels hold 3, 4, 4, 4 of them; without member maps the disagreement is fully correlated
    noise = HA * 3 * np.sqrt(9 + 16 * 3)
    assert found["std_noise_mg"] == pytest.approx(noise, rel=1e-5)
    assert found["std_members_mg"] == pytest.approx(HA * 2 * 15, rel=1e-5)
    assert found["std_mg"] == pytest.approx(np.hypot(noise, HA * 30), rel=1e-5)
    assert found["std_if_independent_mg"] == pytest.approx(HA * np.sqrt(15 * (9 + 4)), rel=1e-5)
    assert found["std_if_correlated_mg"] == pytest.approx(HA * np.hypot(45, 30), rel=1e-5)


@pytest.mark.parametrize(
    ("crs", "corner", "pixel", "shape"),
    [
        ("EPSG:32633", (500_000, 6_655_000), 50.0, (100, 100)),
        ("EPSG:3857", (1_671_000, 8_406_000), 100.0, (80, 80)),
        ("EPSG:4326", (14.99, 60.03), 0.0005, (80, 200)),
    ],
)
def test_a_total_is_the_same_on_every_map(tmp_path, crs, corner, pixel, shape):
    """C03. 3 x 3 km of UTM at 60 N are 900 / 0.9996 squared ha on the ground: 90,072 Mg at 100 Mg/ha."""
    ring = [[501_000, 6_651_000], [504_000, 6_651_000], [504_000, 6_654_000], [501_000, 6_654_000]]
    lon, lat = transform("EPSG:32633", "EPSG:4326", *zip(*ring, ring[0]))
    place = Affine(pixel, 0, corner[0], 0, -pixel, corner[1])
    for name, value in (("mean", 100.0), ("std", 10.0)):
        with CogWriter(
            tmp_path / f"a_{name}.tif", Grid(*shape, rasterio.CRS.from_string(crs), place), [Band("b", "Mg/ha")]
        ) as out:
            out.write_rows(0, np.full((1, *shape), value, np.float32))
    polygon = {"type": "Polygon", "coordinates": [[*zip(lon, lat)]]}
    (tmp_path / "p.geojson").write_text(json.dumps(polygon))
    found = totals(tmp_path, correlation=1000.0)
    expected = 900 / 0.9996**2
    assert found["area_ha"] == pytest.approx(expected, rel=2e-5)
    assert found["total_mg"] == pytest.approx(100 * expected, rel=2e-5)
    # 10 Mg/ha in 9 cells of a square kilometre, 1000 Mg each, independent: 3000; where borders halve cells, 2500
    assert 2490 < found["std_mg"] < 3030
    assert found["std_if_correlated_mg"] == pytest.approx(10 * expected, rel=2e-5)


def test_what_lies_beside_the_map_has_no_prediction(tmp_path):
    write_map(tmp_path / "a_mean.tif", np.full((4, 6), 10.0))
    write_map(tmp_path / "a_std.tif", np.full((4, 6), 3.0))
    square(tmp_path / "p.geojson", left=350.0, right=1000.0)  # 2.5 of 6.5 columns lie on the map
    found = totals(tmp_path)
    assert [found["area_ha"], found["predicted_ha"]] == pytest.approx([26 * HA, 10 * HA], rel=1e-5)


def test_member_maps_say_how_far_the_totals_disagree(tmp_path):
    # the members disagree by +-2 in every pixel, but with opposite signs in the two halves: the total is agreed on
    write_map(tmp_path / "a_mean.tif", np.full((4, 6), 10.0))
    for name, value in (("aleatoric", 3.0), ("epistemic", 2.0)):
        write_map(tmp_path / f"a_{name}_std.tif", np.full((4, 6), value))
    sign = np.where(np.arange(6) < 2, 1.0, -1.0) * np.ones((4, 1))
    write_map(tmp_path / "a_members.tif", np.stack([10 + 2 * sign, 10 - 2 * sign]))
    square(tmp_path / "p.geojson")
    assert totals(tmp_path)["std_members_mg"] == pytest.approx(0, abs=1e-4)
    square(tmp_path / "p.geojson", right=200.0)
    # 8 ha, each member off by 2 Mg/ha: population std 16 Mg, times the root of the variance factor 4
    assert totals(tmp_path)["std_members_mg"] == pytest.approx(HA * 32, rel=1e-5)


def test_a_single_networks_std_is_its_noise(tmp_path):
    write_map(tmp_path / "a_mean.tif", np.full((4, 6), 10.0))
    write_map(tmp_path / "a_std.tif", np.full((4, 6), 3.0))
    square(tmp_path / "p.geojson")
    found = totals(tmp_path, correlation=100.0)
    assert (found["std_members_mg"], found["std_mg"]) == (0, pytest.approx(HA * 12, rel=1e-5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "m"}, "is in m; totals are sums of biomass density"),
        ({"polygon": {"left": 9000.0, "right": 9900.0}}, "polygon '0': covers no pixel of"),
        ({"polygon": {"left": np.nan}}, "polygon '0': it is not a ring of places"),
        ({"name": "plot"}, "feature 0 has no property 'plot'"),
        ({"text": '{"type": "Point", "coordinates": [0, 0]}'}, "feature 0 is a Point, not a polygon"),
        ({"text": "no json"}, "cannot be read as GeoJSON"),
        ({"maps": "a_std.tif"}, "give the mean map"),
    ],
)
def test_bad_totals_are_one_line(tmp_path, change, message):
    place = {k: change[k] for k in ("unit", "crs", "pixel") if k in change}
    for name in ("mean", "std"):
        write_map(tmp_path / f"a_{name}.tif", np.full((4, 6), 10.0), **place)
    file = square(tmp_path / "p.geojson", **change.get("polygon", {}))
    if "text" in change:
        file.write_text(change["text"])
    settings = {"maps": tmp_path / change.get("maps", "a_mean.tif"), "polygons": file, "name": change.get("name")}
    with pytest.raises(ZooError, match=message) as caught:
        make_totals(TotalsSettings(**settings, dest=tmp_path / "t.csv"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t.csv").exists()


def test_an_ensemble_is_exported_as_one_graph(ensemble, registry, tmp_path):
    task, run = reopen(ensemble, registry, "infer.window=32", "infer.stride=32")
    receipt = export(task, run, "safetensors", tmp_path / "two.safetensors")  # compared with predict inside
    assert "-> mean [m], aleatoric_std [m], epistemic_std [m], std [m];" in receipt[0]
    task, run = reopen(ensemble, registry, "infer.draws.mc_passes=2")
    with pytest.raises(ZooError, match=r"cannot be exported; add --set infer\.draws\.mc_passes=0"):
        export(task, run, "safetensors", tmp_path / "dropout.safetensors")
