"""A forest under the verbs of the task: two members, kept and resumed, mapped, without validation."""

import numpy as np
import pytest
from eozoo import load_run
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.images.trees import labelled_rows
from eozoo_core.settings.config import load_settings
from eozoo_core.task.load import read_trained
from eozoo_core.task.predict import load_system
from eozoo_gedi_sparse.demo.landscape import write_landscape
from eozoo_gedi_sparse.settings import GediSettings
from eozoo_gedi_sparse.task import GediSparse
from test_checkpoint import message

SETS = (
    "model.name=quantile_forest",
    "model.options={trees: 10, squares: [3]}",
    "data.crop=16",
    "train.epochs=1",
    "eval.baselines=[]",
    "runtime.device=cpu",
    "runtime.quiet=true",
    "runtime.tensorboard=false",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_landscape(tmp_path_factory.mktemp("world"), tiles=(6, 4, 2), size=32, scene=(40, 48))


def make(world, path, *overrides):
    paths = (f"runtime.input_dir={world.input_dir}", f"runtime.label_dir={world.label_dir}")
    settings = load_settings(GediSettings, None, [*SETS, *paths, *overrides])
    return GediSparse(settings, Registry.discover()), Run.create(path, "gedi_sparse", settings)


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    task, run = make(world, tmp_path_factory.mktemp("run"), "train.members=2")
    task.train(run)
    return task, run


def test_two_members_differ_and_combine(world, trained):
    _, run = trained
    image = np.load(sorted((world.input_dir / "test").glob("*.npy"))[0])
    image[:, 3, 4] = np.nan
    alone = [load_run(run.path, f"infer.draws.members=[{i}]").predict({"image": image}) for i in (0, 1)]
    both = load_run(run.path).predict({"image": image})
    assert np.nanmax(np.abs(alone[0]["mean"] - alone[1]["mean"])) > 0.05
    np.testing.assert_allclose(both["mean"], (alone[0]["mean"] + alone[1]["mean"]) / 2, rtol=1e-5)
    gap = np.isnan(both["mean"])
    assert gap[3, 4]
    assert gap.sum() == 1
    assert (both["std"][~gap] > 0).all()
    assert len(np.unique(both["std"])) > 100


def test_trees_know_the_labels_they_grew_from(trained):
    """Leaves of few labels: at its own labels the forest is far better than the training mean."""
    task, run = trained
    data = task.data("train")
    one = load_run(run.path)
    error, spread = [], []
    for arrays in data:
        there = np.isfinite(arrays["target"][0])
        error.append((one.predict({"image": arrays["image"]})["mean"] - arrays["target"][0])[there])
        spread.append(arrays["target"][0][there])
    assert np.concatenate(error).std() < 0.7 * np.concatenate(spread).std()


def test_a_killed_training_grows_the_same_trees(world, trained, tmp_path):
    """What a resumed run solves again is what its checkpoint holds, and one without a checkpoint begins alike."""
    task, run = make(world, tmp_path / "run", "train.members=1")
    task.train(run)
    first = Run.open(trained[1].path / "member_0", GediSettings, "gedi_sparse")
    states = [read_trained(one, one.settings).state for one in (run, first)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])


def test_no_split_val_where_the_settings_say_so(world, tmp_path):
    without = ("train.members=1", f"runtime.input_dir={tmp_path}/input", f"runtime.label_dir={tmp_path}/label")
    for kind, folder in (("input", world.input_dir), ("label", world.label_dir)):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "train").symlink_to(folder / "train")
    task, run = make(world, tmp_path / "refused", *without)
    assert "no split 'val'" in message(task.train, run)
    task, run = make(world, tmp_path / "run", *without, "data.validation=false")
    task.train(run)
    assert run.has("best")


def test_labels_where_a_band_is_missing_are_left_out(world, trained):
    task, run = trained
    member = Run.open(run.path / "member_0", GediSettings, "gedi_sparse")
    system, _ = load_system(GediSparse(member.settings, task.registry), member, "eval")
    data = task.data("train")
    x, y, fold = labelled_rows(system, data)
    labels = np.concatenate([a["target"][np.isfinite(a["target"])] for a in data])
    assert sorted(y) == sorted(labels)
    assert np.isfinite(x).all()
    assert x.shape[1] == 2 * len(data.bands)
    assert set(fold) == set(range(5))
    fewer = labelled_rows(system, data, most=60)[1]
    assert 55 <= len(fewer) <= 60
