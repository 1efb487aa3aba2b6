"""Members of barlow_landcover: probabilities are averaged, and their spread is told, mapped, scored and exported."""

import numpy as np
import pytest
import rasterio
import torch
from eozoo.registry import Registry
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict

SMALL = [
    "train.members=2", "train.epochs=1", "train.batch_size=512", "train.precision=fp32", "data.val_share=0.2",
    "runtime.tensorboard=false", "runtime.quiet=true", "runtime.device=cpu", "infer.passes=1", "eval.draws=1",
    "eval.trees=5", "eval.bootstrap=10", "eval.shares=[0.1]", "model.dropout=0.5", "model.head=mlp", "model.hidden=[8]",
    "model.backbone={name: btfm_mlp, options: {latent_dim: 8, hidden_dim: 16}}",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("ensemble")
    sample = LandCoverTask.sample(root / "data")
    settings = load_settings(LandCoverTask.Settings, None, SMALL, to_dict(sample.settings))
    run, task = Run.create(root / "run", "barlow_landcover", settings), LandCoverTask(settings, Registry.discover())
    task.train(run)
    return task, run, sample


def changed(task, run, *overrides):
    settings = load_settings(LandCoverTask.Settings, None, overrides, to_dict(run.settings))
    return LandCoverTask(settings, task.registry), Run(run.path, run.task, settings)


def test_prediction_is_the_mean_of_members_with_their_spread(made):
    task, run, sample = made
    alone = []
    for member in (0, 1):
        one, opened = changed(task, run, f"infer.draws.members=[{member}]")
        alone.append(one.predict(opened, sample.batch)["probabilities"])
    found = task.predict(run, sample.batch)
    assert list(found) == ["probabilities", "epistemic_probabilities_std", "class"] == list(task.outputs())
    np.testing.assert_allclose(found["probabilities"], np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(found["epistemic_probabilities_std"], np.std(alone, axis=0), atol=1e-6)
    assert found["epistemic_probabilities_std"].max() > 1e-3
    assert found["class"].tolist() == [[10, 30, 40, 50, 80][k] for k in np.mean(alone, axis=0).argmax(axis=1)]


def test_the_spread_is_a_map_of_its_own(made, tmp_path):
    task, run, sample = made
    files = {file.name: file for file in task.infer(run, sample.source, tmp_path / "maps")}
    assert set(files) == {
        f"MGRS-SYN02_{n}"
        for n in ("classes.tif", "classes.png", "probabilities.tif", "epistemic_probabilities_std.tif", "guard.json")
    }
    with rasterio.open(files["MGRS-SYN02_epistemic_probabilities_std.tif"]) as data:
        spread, names = data.read(), data.descriptions
    with rasterio.open(files["MGRS-SYN02_probabilities.tif"]) as data:
        assert names == data.descriptions
        assert (np.isnan(data.read()) == np.isnan(spread)).all()
    assert 0 < np.nanmax(spread) < 0.5
    assert not list((tmp_path / "maps").glob(".*"))


def test_members_are_scored_beside_the_ensemble(made):
    task, run, _ = made
    scores = task.evaluate(run, "val")
    assert list(scores) == ["model", "member 0", "member 1", "most_frequent", "raw_logistic", "raw_forest"]
    best = [Run.open(run.path / f"member_{i}", LandCoverTask.Settings).load("best")["best_val"] for i in (0, 1)]
    assert [scores[f"member {i}"]["loss"] for i in (0, 1)] == pytest.approx(best, rel=1e-6)
    assert scores["model"]["loss"] < max(best)


def test_the_graph_holds_all_members(made):
    task, run, _ = made
    graph = task.graph(run)
    with torch.no_grad():
        values = graph.module(*(torch.from_numpy(array) for array in graph.inputs.values()))
    found = task.predict(run, graph.inputs)
    for name, value in zip(graph.outputs, values, strict=True):
        np.testing.assert_allclose(value, found[name], atol=1e-5)
    assert np.isnan(found["class"]).tolist() == [False] * 4 + [True, False]


def test_passes_with_dropout_map_one_block_after_the_other(made, tmp_path):
    task, run, sample = made
    one, opened = changed(
        task, run, "infer.draws={members: [0], mc_passes: 2}", "infer.block_pixels=200", "infer.block_threads=4"
    )
    two, _ = changed(task, run, "infer.draws={members: [0], mc_passes: 2}")
    maps = []
    for name, which in (("a", one), ("b", two)):
        which.infer(opened, sample.source, tmp_path / name)
        with rasterio.open(tmp_path / name / "MGRS-SYN02_probabilities.tif") as data:
            maps.append(data.read())
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
