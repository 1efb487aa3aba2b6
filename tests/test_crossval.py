"""Cross-validation: folds of the split designer, scores pooled by cluster, and the verb on a small table."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from eozoo import Registry
from eozoo.cli import main
from eozoo_core.checking.design import NEITHER, TEST, TRAIN, VAL, Units, design
from eozoo_core.errors import ZooError
from eozoo_core.score.paired import Pooled, paired_difference, pooled_scores
from eozoo_core.settings.splits import SplitSettings
from eozoo_core.task import crossval
from eozoo_core.task.crossval import CrossValidation, cross_validate
from eozoo_core.task.folds import Fold, clusters_of, folded
from rasterio.transform import from_origin


def places(count=12, each=5):
    """Clusters of five samples, 2 km apart; half of them hold class 1."""
    at = np.repeat(np.arange(count), each)
    x = at * 2000.0 + np.tile(np.arange(each) * 10.0, count)
    return Units(x, np.zeros(len(x)), np.ones(len(x)), np.eye(2)[at % 2]), at


def splits(**how):
    units, at = places()
    settings = SplitSettings(by="distance", gap=500, folds=3, val=0.2, **how)
    return [design(units, settings.model_copy(update={"fold": k})) for k in range(3)], at


def test_every_place_is_in_the_test_once_and_whole():
    found, at = splits()
    assert (np.sum([split == TEST for split in found], axis=0) == 1).all()
    for split in found:
        assert all(len(set(split[at == place])) == 1 for place in range(12))
        assert {TRAIN, VAL, TEST} == set(split.tolist())
        assert (np.bincount(at[split == TEST] // 1 % 2) == [10, 10]).all()  # two places of each class


def test_draws_differ_and_repeat():
    one, _ = splits(seed=1)
    again, _ = splits(seed=1)
    other, _ = splits(seed=2)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_few_labels_are_of_every_class_and_the_test_stays():
    all_labels, _ = splits()
    few, at = splits(labels=0.2)
    for whole, thin in zip(all_labels, few, strict=True):
        assert ((whole == TEST) == (thin == TEST)).all()
        assert (thin[thin != NEITHER] == whole[thin != NEITHER]).all()
        for s in (TRAIN, VAL):
            for kind in (0, 1):
                had, has = ((split == s) & (at % 2 == kind) for split in (whole, thin))
                assert has.sum() == max(1, round(0.2 * had.sum()))


def test_folds_that_cannot_be():
    units, _ = places(3)
    with pytest.raises(ZooError, match="3 clusters, and 6 splits"):
        design(units, SplitSettings(by="distance", gap=500, folds=5, val=0.2))
    with pytest.raises(ZooError, match="names the splits"):
        design(units, SplitSettings(by="column", column="s", folds=3), ["train", "val", "test"] * 5)
    with pytest.raises(ZooError, match="--distance"):
        Fold("places").settings(SplitSettings())


def rmse(sums):
    return {"rmse": float(np.sqrt(sums[1] / sums[0])), "n": float(sums[0])}


def test_scores_are_pooled_and_not_means_of_clusters():
    draw = Pooled(("a", "b"), {"model": np.array([[1.0, 32], [7, 0]]), "mean": np.array([[1.0, 200], [7, 0]])})
    assert pooled_scores([draw], rmse) == {"model": {"rmse": 2, "n": 8}, "mean": {"rmse": 5, "n": 8}}
    made = paired_difference([draw], "model", "mean", "rmse", rmse)
    assert made == {"difference": -3, "clusters": 2, "interval": None, "draws": 1, "above": 0}


def test_intervals_resample_clusters_the_same_for_both():
    random = np.random.default_rng(0)
    error = random.uniform(1, 100, 8)
    model = np.column_stack([np.ones(8), error])
    draws = [Pooled(tuple("abcdefgh"), {"model": model, "mean": model.copy(), "worse": model * [1, 4]})] * 2
    same = paired_difference(draws, "model", "mean", "rmse", rmse)
    assert same["interval"] == [0, 0]  # however much the clusters differ
    made = paired_difference(draws, "model", "worse", "rmse", rmse)  # twice the error: minus the model's own RMSE
    assert made["difference"] == pytest.approx(-np.sqrt(error.mean()))
    low, high = made["interval"]
    assert -10 < low < made["difference"] < high < 0
    assert (made["draws"], made["above"]) == (2, 0)


def test_other_settings_are_compared_too_but_not_with_a_forest_that_was_asked_for_less():
    sums = {"model": [4, 4.0], "other": [4, 36.0], "ridge": [4, 16.0], "forest": [2, 2.0]}
    draw = Pooled(("a",), {name: np.array([one]) for name, one in sums.items()})
    found = crossval._summary([draw], rmse, None, ["other"])["differences_of_others"]["other"]
    assert {name: one["difference"] for name, one in found.items()} == {"model": 2, "ridge": 1, "forest": 2}
    some = Pooled(("a",), {**draw.sums, crossval.AT_FOREST: np.array([[2, 8.0]])})
    found = crossval._summary([some], rmse, None, ["other"])
    assert found["differences_of_others"]["other"].keys() == {"model", "ridge"}
    assert found["differences"]["forest"]["difference"] == 1


def test_curve_of_few_labels_has_means_bars_and_gaps(tmp_path, monkeypatch):
    from eozoo_core.score import label_curve

    drawn = []
    monkeypatch.setattr(label_curve, "write_figure", lambda _path, figure: drawn.append(figure))
    scores = {"model": [[1.0, 3.0], [4.0]], "ridge": [[], [5.0, 6.0]]}
    label_curve.draw_label_curve((0.05, 1.0), scores, "rmse", "title", tmp_path / "a.png")
    found = {bars.get_label(): bars for bars in drawn[0].axes[0].containers}
    np.testing.assert_array_equal(found["model"].lines[0].get_ydata(), [2, 4])
    np.testing.assert_array_equal(found["ridge"].lines[0].get_ydata(), [np.nan, 5.5])
    low, high = found["model"].lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (1, 3)


def write_table(file, sites=8, rows=160):
    random = np.random.default_rng(0)
    site = np.arange(rows) % sites
    a, b = random.normal(size=(2, rows))
    t = 2 * a + b + random.normal(0, 0.3, sites)[site]
    lines = [f"{s * 3000},{0},s{s},{x:.4f},{y:.4f},{z:.4f}" for s, x, y, z in zip(site, a, b, t, strict=True)]
    file.write_text("x,y,site,a,b,t\n" + "\n".join(lines) + "\n")


def test_verb_on_a_table(tmp_path, capsys, monkeypatch):
    table, run = tmp_path / "t.csv", tmp_path / "run"
    write_table(table)
    values = [f"runtime.table={table}", "data.target=t", "data.units={t: m}", "data.features=[a,b]", "train.epochs=1"]
    values += ["data.crs=EPSG:32631", "train.members=1", "eval.baselines=[ridge]", "runtime.device=cpu"]
    command = ["train", "scalar_regression", "--run", str(run), "--quiet", "--cv", "places", "--distance", "1000"]
    command += ["--folds", "2", *(part for value in values for part in ("--set", value))]
    main(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "cross-validation by places" in shown
    assert "boosting" in shown
    found = json.loads((run / "cv_places.json").read_text())["shares"]["1"]
    assert found["decides"] == "rmse"
    assert found["differences"]["ridge"]["clusters"] == 8
    assert found["scores"]["model"]["n"] == 160  # every row was in a test once
    assert not list(run.rglob("best.pt"))
    assert not (run / "cv_places.png").exists()  # one share is no curve
    stamps = {file: file.stat().st_mtime_ns for file in run.rglob("model.json")}
    assert len(stamps) == 2
    main(command, standalone_mode=False)  # goes on: no fold is done again
    assert stamps == {file: file.stat().st_mtime_ns for file in run.rglob("model.json")}
    killed = run / "cv_places" / "labels_1_draw_0_fold_0" / "model"
    killed.mkdir()  # before its stamp was written
    monkeypatch.setattr("eozoo_core.task.crossval.versions_of", lambda _task: ["eozoo 9"])
    with pytest.raises(SystemExit):
        main([*command, "--metric", "accuracy"], standalone_mode=False)  # after one fold, which is done again
    assert "--metric accuracy: is none of this task; rmse or mae can be compared" in capsys.readouterr().err
    changed = {file for file in stamps if file.stat().st_mtime_ns != stamps[file]}
    assert changed == {killed.with_name("model.json")}
    with pytest.raises(SystemExit):
        main(["eval", "scalar_regression", "--run", str(run), "--split", "val", "--cv", "places"])
    assert "--split does not go with --cv" in capsys.readouterr().err


def write_patches(root, layout, suffix=""):
    """Georeferenced patches of 20 px, 1 km apart, whose values are their number; ``layout``: split -> numbers."""
    for split, numbers in layout.items():
        for n in numbers:
            for name in ("image", "label"):
                folder = root / (f"{split}/{name}" if not suffix else f"{name}{suffix}/{split}")
                folder.mkdir(parents=True, exist_ok=True)
                profile = {"driver": "GTiff", "width": 20, "height": 20, "count": 1, "dtype": "float32"}
                place = {"crs": "EPSG:32631", "transform": from_origin(500000 + 1200 * n, 5e6, 10, 10)}
                with rasterio.open(folder / f"p{n}.tif", "w", **profile, **place) as file:
                    file.write(np.full((1, 20, 20), n, np.float32))
                    file.set_band_description(1, "B")


@pytest.mark.parametrize("task", ["pixelwise_regression", "gedi_sparse"])
def test_splits_that_were_there_are_divided_again(tmp_path, task):
    write_patches(
        tmp_path, {"train": range(4), "val": range(4, 6), "test": range(6, 9)}, "s" * (task != "pixelwise_regression")
    )
    registry = Registry.discover()
    cls = registry.get("task", task)
    paths = (
        {"data_dir": tmp_path}
        if task == "pixelwise_regression"
        else {"input_dir": tmp_path / "images", "label_dir": tmp_path / "labels"}
    )
    own = cls(cls.Settings.model_validate({"runtime": paths, "data": {"unit": "m"}}), registry)
    tests = []
    for k in range(3):
        one = folded(own, Fold("places", 3, k, distance=500))
        splits = {name: one.data(name) for name in ("train", "val", "test")}
        seen = {name: [int(d.item(i)["target"].max()) for i in range(len(d))] for name, d in splits.items()}
        assert sorted(n for numbers in seen.values() for n in numbers) == list(range(9))
        assert all(seen.values())
        names = {name: [d.name(i) for i in range(len(d))] for name, d in splits.items()}
        assert all(f"p{n}." in name for s in seen for n, name in zip(seen[s], names[s], strict=True))
        tests += seen["test"]
        again = type(one)(one.settings, registry)  # as members of an ensemble are built
        assert len(again.data("test")) == len(splits["test"])
    assert sorted(tests) == list(range(9))
    assert clusters_of(own.data("train"), Fold("places", distance=500)) != clusters_of(
        own.data("val"), Fold("places", distance=500)
    )
    with pytest.raises(ZooError, match="do not say their stations"):
        folded(own, Fold("stations", 3))


BY = {
    **dict.fromkeys(("scalar_regression", "classification", "pixelwise_regression", "semantic_segmentation"), "blocks"),
    "clay_ta": "stations",
    "prithvi_refine": "places",
    "barlow_landcover": "blocks",
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "semantic_segmentation" else pytest.mark.slow) for n in BY]
)
def test_every_task_is_cross_validated(tmp_path, name):
    from eozoo.testing.shared_runs import Bench
    from eozoo_core import Run

    bench = Bench(name, Registry.discover(), ("train.epochs=1",))
    more = ["train.members=2"] if name == "scalar_regression" else []
    task = bench.task_class(bench.settings(*more), bench.registry)
    fold = Fold(BY[name], 2)
    seen = [name for k in range(2) for name in clusters_of(folded(task, replace(fold, number=k)).data("test"), fold)]
    other = type(task)(bench.settings("train.learning_rate=1e-5"), bench.registry)
    how = CrossValidation(fold, against={"slow": other})
    one = cross_validate(task, Run.create(tmp_path / "run", name, task.settings), how)["shares"]["1"]
    kinds = set(one["scores"])
    assert {"model", "slow"} < kinds
    assert name == "prithvi_refine" or {"ridge", "boosting"} < kinds
    assert all(made["clusters"] == min(200, len(set(seen))) for made in one["differences"].values())
    assert all(score["rmse_K"] < 20 for score in one["scores"].values() if "rmse_K" in score)  # all in one unit


def write_windows(root):
    """A raster of 80 px with a label of two classes; four fields of 20 px in its quarters."""
    place = {"crs": "EPSG:32631", "transform": from_origin(500000, 5e6, 10, 10)}
    profile = {"driver": "GTiff", "width": 80, "height": 80, "count": 1, "dtype": "float32", **place}
    random, boxes = np.random.default_rng(0), []
    for name, values in (("image", random.normal(size=(80, 80))), ("label", random.integers(0, 2, (80, 80)))):
        with rasterio.open(root / f"{name}.tif", "w", **profile) as file:
            file.write(values[None].astype(np.float32))
            file.set_band_description(1, "B")
    for n, (row, col) in enumerate([(r, c) for r in (2, 22, 42, 62) for c in (2, 22, 42, 62)]):
        x, y = 500000 + col * 10, 5e6 - row * 10
        ring = [[x, y], [x + 160, y], [x + 160, y - 160], [x, y - 160], [x, y]]
        properties = {"crop": "ab"[n % 2], "farm": f"f{n // 2}"}
        boxes.append(
            {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        )
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    (root / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": boxes}))


@pytest.mark.parametrize(
    ("labels", "fold", "clusters"),
    [
        ("label.tif", Fold("blocks", 2, block=400.0), 4),
        ("fields.geojson", Fold("fields", 2), 16),
        ("fields.geojson", Fold("fields", 2, column="farm"), 8),
    ],
)
def test_windows_err_together_where_the_designer_kept_them_together(tmp_path, labels, fold, clusters):
    write_windows(tmp_path)
    cls = Registry.discover().get("task", "semantic_segmentation")
    data = {"window": 20, "crop": 20, "label": "crop"} if labels != "label.tif" else {"window": 20, "crop": 20}
    runtime = {"images": tmp_path / "image.tif", "labels": tmp_path / labels}
    task = cls(cls.Settings.model_validate({"runtime": runtime, "data": data}), Registry.discover())
    tests = [clusters_of(folded(task, replace(fold, number=k)).data("test"), fold) for k in range(2)]
    assert len({name for names in tests for name in names}) == clusters
    assert not set(tests[0]) & set(tests[1])


def test_refusals_name_the_options_that_were_typed(tmp_path):
    write_windows(tmp_path)
    cls = Registry.discover().get("task", "semantic_segmentation")
    runtime = {"images": tmp_path / "image.tif", "labels": tmp_path / "label.tif"}
    task = cls(cls.Settings.model_validate({"runtime": runtime, "data": {"window": 20, "crop": 20}}), None)
    with pytest.raises(ZooError, match=r"^--cv: .*set a smaller --distance, or --cv blocks, or fewer --folds$"):
        folded(task, Fold("places", 2, distance=500))
    with pytest.raises(ZooError, match="these windows do not say their fields; use --cv places or blocks"):
        folded(task, Fold("fields", 2))
    write_table(tmp_path / "t.csv")
    cls = Registry.discover().get("task", "scalar_regression")
    of_table = {
        "runtime": {"table": tmp_path / "t.csv"},
        "data": {"target": "t", "units": {"t": "m"}, "features": ["a", "b"], "crs": "EPSG:32631"},
    }
    with pytest.raises(ZooError, match="--cv fields: say which column names them; --column NAME"):
        folded(cls(cls.Settings.model_validate(of_table), None), Fold("fields", 2))
