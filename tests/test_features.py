"""What core does for a system with a frozen part, and for one that is solved instead of trained."""

import numpy as np
import pytest
import torch
from eozoo_core import Run, ZooError
from eozoo_core.errors import NoSplit
from eozoo_core.run.checkpoint import sha256
from eozoo_core.settings.config import load_settings
from eozoo_core.task.beside import files_beside
from eozoo_core.task.ensemble import best_hash
from eozoo_core.task.features import frozen_hash
from eozoo_core.task.predict import variance_factor
from stranger_systems import FrozenPart, Line, LineSettings, write_rows

BASE = (
    "train.epochs=2",
    "train.batch_size=16",
    "runtime.tensorboard=false",
    "runtime.quiet=true",
    "runtime.device=cpu",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder)
    return folder


def train(folder, data, *sets):
    """Return the trained run, its task, and of how many samples features were computed meanwhile."""
    settings = load_settings(LineSettings, None, [*BASE, f"runtime.data_dir={data}", *sets])
    task, run, before = Line(settings), Run.create(folder, "line", settings), FrozenPart.seen
    task.train(run)
    return run, task, FrozenPart.seen - before - 1  # one sample went through before the first step


@pytest.fixture(scope="module")
def kept(data, tmp_path_factory):
    return train(tmp_path_factory.mktemp("kept") / "run", data)


def test_features_are_computed_once_and_change_nothing(kept, data, tmp_path):
    run, task, seen = kept
    assert seen == 80 + 16 + 8  # train, val, and test where it is scored at the end
    assert len(list((data / "features").glob("*.npy"))) == 2 * 3  # two arrays of two training files and of val
    again, _, seen = train(tmp_path / "again", data)
    assert seen == 8
    plain, _, seen = train(tmp_path / "plain", data, "model.repeats=false")
    assert seen == 2 * (80 + 16) + 8  # where draws vary, nothing can be kept
    for other, tolerance in ((again, 0), (plain, 1e-6)):
        for a, b in zip(run.read_log(), other.read_log(), strict=True):
            assert a["val"]["loss"] == pytest.approx(b["val"]["loss"], rel=tolerance)
    seen = FrozenPart.seen
    assert task.evaluate(run, "val")["model"]["loss"] == pytest.approx(run.load("best")["best_val"], rel=1e-12)
    assert FrozenPart.seen == seen  # evaluation reads what training kept
    found = task.predict(run, {"x": np.zeros((2, 2), "float32")})["y"]
    assert found.shape == (2, 1)
    assert FrozenPart.seen == seen + 2


def test_predicting_a_few_samples_at_a_time_gives_all_of_them(kept):
    run, task, _ = kept
    x = np.random.default_rng(3).normal(size=(5, 2)).astype("float32")
    infer = task.settings.infer.model_copy(update={"batch_size": 2})
    few = Line(task.settings.model_copy(update={"infer": infer})).predict(run, {"x": x})["y"]
    np.testing.assert_allclose(few, task.predict(run, {"x": x})["y"], rtol=1e-6)


def test_the_plan_knows_what_is_kept(kept):
    run, task, _ = kept
    plan = task.plan(run)
    assert plan.notes[0] == "what the frozen part gives is computed once and kept; epochs train the rest only"
    assert len(plan.notes) == 2  # and which baselines are fitted
    assert plan.trainable == 10
    assert plan.memory_bytes


@pytest.mark.parametrize("change", ["weights", "data", "damage", "part", "precision"])
def test_what_changed_is_computed_again(change, tmp_path):
    write_rows(tmp_path)
    train(tmp_path / "first", tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "features").glob("*.npy")}
    sets = ["train.seed=1"] if change == "weights" else []
    if change == "precision":
        sets = ["train.precision=bf16-mixed"]
    if change == "data":
        np.save(tmp_path / "train_1.npy", np.load(tmp_path / "train_1.npy") + 1)
    if change == "damage":
        for file in (tmp_path / "features").glob("*.npy"):
            file.write_bytes(file.read_bytes()[:-4])
    if change == "part":  # stopped between the two arrays of a part
        min((tmp_path / "features").glob("*_2_sum.npy")).unlink()
    _, _, seen = train(tmp_path / "second", tmp_path, *sets)
    after = {file.name: file.read_bytes() for file in (tmp_path / "features").glob("*.npy")}
    assert {name: after[name] for name in before} == before
    expected = {"weights": (96, 6), "data": (40, 2), "damage": (96, 0)}
    if change == "precision":  # of val too, where the CPU is fast in it and validation therefore computes in it
        assert (seen - 8, len(after) - len(before)) in ((80, 4), (96, 6))
    elif change == "part":
        assert seen - 8 in (16, 40)
        assert after == before
    else:
        assert (seen - 8, len(after) - len(before)) == expected[change]


def test_a_solved_system_takes_no_steps(data, tmp_path):
    run, task, _ = train(tmp_path / "run", data, "model.way=solved")
    rows = np.concatenate([np.load(data / f"train_{i}.npy") for i in (0, 1)]).astype("float64")
    design = np.column_stack([rows[:, :2], np.ones(80)])
    solution, residual, *_ = np.linalg.lstsq(design, rows[:, 2], rcond=None)
    content = run.load("best")
    torch.testing.assert_close(
        content["model"]["line.weight"][0].double(), torch.tensor(solution[:2]), rtol=1e-5, atol=0
    )
    losses = [line["train"]["loss"] for line in run.read_log()]
    assert losses == pytest.approx([residual[0] / 80] * 2, rel=1e-4)
    assert task.evaluate(run, "val")["model"]["loss"] == pytest.approx(content["best_val"], rel=1e-12)


def test_files_beside_a_run_are_named_by_hash_and_maps_find_them(data, tmp_path, monkeypatch):
    (tmp_path / "field.txt").write_text("what maps need")
    monkeypatch.setattr(Line, "beside", lambda self: [tmp_path / "field.txt"])
    run, task, _ = train(tmp_path / "run", data)
    (digest,) = run.info()["beside"].values()
    (kept,) = files_beside(task.predictor(run).folder)
    assert kept.read_text() == "what maps need"
    assert sha256(kept) == digest
    kept.write_text("something else")
    with pytest.raises(ZooError, match=r"field\.txt: is missing or not the one that training kept"):
        files_beside(run.path)


def test_a_system_is_solved_on_kept_features(data, tmp_path, monkeypatch):
    given = []

    class Both(FrozenPart):
        def solve(self, data):
            given.append(data.items([0, 1]))

    monkeypatch.setattr(Line, "system", lambda self, survey, fresh: Both())
    train(tmp_path / "run", data)
    assert {name: values.shape for name, values in given[0].items() if name.startswith("features.")} == {
        "features.features": (2, 8),
        "features.sum": (2,),
    }


def test_running_statistics_of_a_frozen_norm_name_the_features_and_those_of_a_trained_one_do_not():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2).requires_grad_(False), torch.nn.BatchNorm1d(2))
    first = frozen_hash(net)
    net[1].running_mean += 1
    assert frozen_hash(net) == first
    net[0].running_mean += 1
    assert frozen_hash(net) != first


def test_a_test_split_that_is_damaged_stops_and_one_that_is_not_there_does_not(data, tmp_path, monkeypatch):
    whole = Line.data

    def broken(error):
        def open_split(self, split):
            if split == "test":
                raise error(f"{split}: holds nothing")
            return whole(self, split)

        monkeypatch.setattr(Line, "data", open_split)

    broken(NoSplit)
    run, _, _ = train(tmp_path / "without", data)
    assert not (run.path / "eval_test.json").exists()
    broken(ZooError)
    with pytest.raises(ZooError, match="test: holds nothing"):
        train(tmp_path / "damaged", data)


def test_what_was_fitted_belongs_to_one_best_pt(data, tmp_path):
    run, task, _ = train(tmp_path / "run", data)
    run.note("fitted", {"best": best_hash(run, run.settings), "variance_factor": 4.0, "labels": 30})
    assert variance_factor(run, task) == (4.0, "fitted on 30 validation labels")
    content = torch.load(run.file("best"), weights_only=True)
    torch.save(content | {"step": 1}, run.file("best"))
    assert variance_factor(run, task)[0] == 1.0


def test_the_system_is_added_before_other_modules(data, tmp_path, monkeypatch):
    def judge_first(self, trainer):
        judge = torch.nn.Linear(1, 1)
        trainer.add("judge", judge, torch.optim.SGD(judge.parameters(), 0.1))

    monkeypatch.setattr(Line, "optimizers", judge_first)
    with pytest.raises(ValueError, match="'judge' first: add the system"):
        train(tmp_path / "run", data)
