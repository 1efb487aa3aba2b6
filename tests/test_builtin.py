"""The built-in plugin: what it offers fits where it says, and any network of the zoo learns in its tasks by name."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from eozoo import Registry
from eozoo.builtin import image_cards
from eozoo.builtin.pixelwise_regression import PixelwiseRegression
from eozoo.builtin.semantic_segmentation import SemanticSegmentation
from eozoo_core import Run, ZooError
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task import labels, references
from eozoo_core.task.data import tensors
from eozoo_core.task.evaluate import AT_FOREST
from eozoo_core.task.first import require_ports, shapes
from eozoo_core.task.labels import evaluate_labels
from eozoo_core.train.loading import Draw

ROOT = Path(__file__).parent.parent
REGISTRY = Registry.discover()
NETWORKS = {
    "unet": {"width": 4, "depth": 1},
    "residual_cnn": {"width": 4, "depth": 1},
    "gedi_unet": {"width": 2},
    "timm_unet": {"encoder": "test_resnet", "decoder_channels": [8, 8, 8, 8, 8]},
    "context_net": {"sizes": [3], "hidden": 4},
    "prithvi_dense": {"encoder": "prithvi_eo_nano", "width": 4, "blocks": 1},
}
QUICK = ("train.epochs=1", "train.steps=1", "runtime.tensorboard=false", "runtime.quiet=true")


def fits(task, path, now=()):
    settings = load_settings(task.Settings, None, now)
    fed = REGISTRY.find("model", settings.model.name).spec.gives if task.slots[path].after else ()
    return REGISTRY.fitting(task.slots[path], fed)


def test_every_part_loads_and_says_what_it_is():
    for spec in (*image_cards.TASKS, *image_cards.MODELS, *image_cards.LOSSES):
        assert callable(spec.load())
    for spec in image_cards.LOSSES:
        trains = getattr(spec.load()(), "trains_variance", False)
        assert any(port.role == "log_scale" for port in spec.takes) == trains


def test_what_fits():
    values = ["gaussian_nll", "huber", "laplacian_nll", "mae", "mse", "ta_squared_error"]
    classes = ["cross_entropy", "dice", "focal"]
    assert fits(PixelwiseRegression, "model.loss") == values
    assert fits(SemanticSegmentation, "model.loss") == classes
    every = {*NETWORKS, "galileo_nano"}  # that one has to know its bands
    assert every == set(fits(SemanticSegmentation, "model"))
    assert every | {"forest", "quantile_forest"} == set(fits(PixelwiseRegression, "model"))
    # They fit into the slots of other plugins just as far.
    gedi, landcover = (REGISTRY.get("task", name) for name in ("gedi_sparse", "barlow_landcover"))
    assert fits(gedi, "model.loss") == values
    assert set(classes) < set(fits(landcover, "model.loss"))
    assert not set(values) & set(fits(landcover, "model.loss"))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    tasks = (PixelwiseRegression, SemanticSegmentation)
    return {task: task.sample(tmp_path_factory.mktemp(task.__name__)) for task in tasks}


def built(task, samples, *values):
    settings = load_settings(task.Settings, None, [*QUICK, *values], to_dict(samples[task].settings))
    REGISTRY.check_slots(task, settings)
    return task(settings, REGISTRY)


@pytest.mark.parametrize("task", [PixelwiseRegression, SemanticSegmentation])
def test_any_network_learns_by_name(samples, task):
    data = built(task, samples).data("train")
    survey, batch = built(task, samples).survey(data), tensors(data.batch([Draw(0, 0), Draw(1, 0)]))
    for name, options in NETWORKS.items():
        made = built(task, samples, f"model={{name: {name}, options: {options}}}")
        system = made.system(survey, fresh=True)
        system.inputs, system.outputs = made.ports(survey).inputs, made.ports(survey).outputs
        total, count = made.loss(survey)(system(system.staged(batch)), batch)["loss"]
        (total / count).backward()
        assert any(p.grad is not None and p.grad.any() for p in system.network.parameters()), name
        found = system.eval().predict(tensors(samples[task].batch))
        require_ports(made, system, shapes(tensors(samples[task].batch)), shapes(found))
        assert all(torch.isfinite(values).all() for values in found.values())


def test_labels_of_any_codes(samples, tmp_path):
    """Classes found in the labels, one of them ignored, the others weighed; maps hold their codes."""
    folder, root = samples[SemanticSegmentation].settings.runtime.data_dir, tmp_path / "data"
    for file in (f for f in folder.rglob("*.tif") if f.parent != folder):
        target = root / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(file) as source:
            values, profile = source.read(), source.profile
        if "label" in file.parts:  # bare 10, shrub 40, forest 200
            values = np.choose(np.nan_to_num(values, nan=3).astype(int), [10, 40, 200, np.nan]).astype("float32")
        with rasterio.open(target, "w", **profile) as out:
            out.write(values)
    values = ("data.classes=null", "data.label_nodata=[40]", f"runtime.data_dir={root}", "model.class_weights=balanced")
    made = built(SemanticSegmentation, samples, *values)
    run = Run.create(tmp_path / "run", "semantic_segmentation", made.settings)
    made.train(run)
    assert set(np.unique(made.predict(run, samples[SemanticSegmentation].batch)["class"])) <= {10, 200}
    assert run.info()["survey"]["legend"] == [[10, "10"], [200, "200"]]
    # A forest is asked for few labels of an image: then the model is scored at these too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(references, "MOST_ASKED", 7)
        few = made.evaluate(run, "test")
    images = len(made.data("test"))
    assert few[AT_FOREST]["n"] == few["forest"]["n"] <= 7 * images < few["model"]["n"] == few["ridge"]["n"]
    assert few[AT_FOREST].keys() == few["ridge"].keys()
    whole = made.evaluate(run, "test")
    assert AT_FOREST not in whole
    assert whole["forest"]["n"] == whole["model"]["n"]
    assert (run.path / "eval_test" / "confusion.csv").read_text().splitlines()[0] == '"label, predicted as:",10,200'
    (code, _) = made.network(run).outputs
    assert code.legend == ((10, "10"), (200, "200"))


def test_class_weights_must_be_as_many_as_classes(samples, tmp_path):
    made = built(SemanticSegmentation, samples, "model.class_weights=[1, 2]")
    with pytest.raises(ZooError, match=r"cross_entropy fails .* 2 class weights for 3 classes"):
        made.train(Run.create(tmp_path / "run", "semantic_segmentation", made.settings))


def test_strata_are_scored_alone_and_of_many_labels_every_second_is_kept(samples, tmp_path, monkeypatch):
    made = built(PixelwiseRegression, samples, "eval.strata=[0, 10]", "model.loss.name=mse")
    run = Run.create(tmp_path / "run", "pixelwise_regression", made.settings)
    made.train(run)
    assert made.outputs() == {"mean": "m"}  # a loss of the mean alone trains no deviation
    rows = json.loads((run.path / "eval_test" / "strata.json").read_text())["model"]
    assert [(row["from"], row["to"]) for row in rows] == [(0, 10), (10, None)]
    every = evaluate_labels(made, run, "test")
    count = len(every.labels.targets)
    assert sum(row["n"] for row in rows) == every.scores["model"]["n"] == count
    monkeypatch.setattr(labels, "MOST", count // 3)  # labels in memory, for pictures: scores are of all
    few = evaluate_labels(made, run, "test")
    assert few.scores == every.scores
    assert len(few.labels.targets) == pytest.approx(count / 4, rel=0.02)
    assert few.labels.means.shape == (1, len(few.labels.targets))
    assert set(few.labels.sample) == set(every.labels.sample)  # of every image some


def test_the_plugin_is_light_and_packed():
    heavy = "{'torch', 'numpy', 'pydantic', 'rasterio'} & {*sys.modules}"
    code = f"import sys, eozoo.builtin.plugin as p; p.eozoo_tasks(); p.eozoo_models(); p.eozoo_losses(); print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["eozoo"] == {"builtin": "eozoo.builtin.plugin"}
    assert {
        e.plugin for k in ("task", "model", "loss") for e in REGISTRY.entries(k) if e.spec in image_cards.TASKS
    } == {f"eozoo {project['version']}"}
