"""Ridge regression and forests beside every score: by hand, against scikit-learn, in a run, and damaged."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from eozoo.cli.eval import better_than_model
from eozoo_core import Port, Run, ZooError
from eozoo_core.run.checkpoint import sha256
from eozoo_core.score import forest as forests
from eozoo_core.score.forest import Forest, grow_forest
from eozoo_core.score.ridge import PENALTIES, fit_ridge
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.config import load_settings
from eozoo_core.settings.ensemble import EnsembleRuntime, EnsembleTrain
from eozoo_core.task import Ports, Survey, references
from eozoo_core.task.baselines import first_input, simplest
from eozoo_core.task.data import Data
from eozoo_core.task.evaluate import AT_FOREST
from eozoo_core.task.references import FILE, Outcome, draw_rows, kept_baselines
from eozoo_core.task.survey import BandSurvey
from stranger_systems import Line, LineRuntime, LineSettings, write_rows
from test_checkpoint import message

NAN = float("nan")
SETS = ("train.epochs=1", "train.batch_size=40", "runtime.tensorboard=false", "runtime.quiet=true")
SETS = (*SETS, "runtime.device=cpu", "model.way=solved")


# -- ridge ----------------------------------------------------------------------------------------------------------


def test_ridge_by_hand():
    """x = -1, 1 is standardised, y - 20 = -10, 10: weight 10 / (1 + 10) at the largest penalty; missing = the mean."""
    found = fit_ridge(np.array([[-1.0], [1]]), np.array([[10.0], [30]]), np.zeros(2))
    assert found.penalty == 10
    assert found.predict(np.array([[1.0], [-3], [NAN]]))[:, 0] == pytest.approx([20 + 10 / 11, 20 - 30 / 11, 20])
    assert found.residual == pytest.approx(100 / 11)  # the errors are 10 - 10 / 11


def test_the_penalty_is_the_best_on_other_folds():
    """The same by brute force: normal equations of standardised rows, for every penalty and fold."""
    random, fold = np.random.default_rng(0), np.arange(60) // 12
    x = random.normal(size=(60, 6)) * [1, 10, 100, 1, 1, 1] + 5
    y = np.stack([x @ [1, 0.2, 0, 0.3, 0, 0], x[:, 0]], axis=1) + 3 * random.normal(size=(60, 2))
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)

    def predicted(penalty, rows, asked):
        z = scaled[rows] - scaled[rows].mean(axis=0)
        weights = np.linalg.solve(z.T @ z + penalty * len(z) * np.eye(6), z.T @ (y[rows] - y[rows].mean(axis=0)))
        return (scaled[asked] - scaled[rows].mean(axis=0)) @ weights + y[rows].mean(axis=0)

    errors = [
        np.sqrt(np.mean([(predicted(p, fold != k, fold == k) - y[fold == k]) ** 2 for k in range(5)]))
        for p in PENALTIES
    ]
    found = fit_ridge(np.column_stack([x, np.full(60, 0.1)]), y, fold)  # and one without spread
    assert 0 < np.argmin(errors) < len(PENALTIES) - 1
    assert found.penalty == PENALTIES[np.argmin(errors)]
    assert found.residual == pytest.approx(min(errors), rel=1e-9)
    assert (found.weights[6] == 0).all()
    wanted = predicted(found.penalty, slice(None), slice(None))
    np.testing.assert_allclose(found.predict(np.column_stack([x, np.full(60, 7.0)])), wanted, rtol=1e-9)


# -- forest ---------------------------------------------------------------------------------------------------------


def stump():
    """One node: up to 2 and missing -> 10, above -> 20; and a tree that says 4 whatever it is asked."""
    return Forest(
        roots=np.array([0, 3]),
        feature=np.array([0, -1, -1, -1], np.int16),
        threshold=np.array([2, 0, 0, 0], np.float32),
        right=np.array([2, 0, 0, 0], np.int32),
        missing_left=np.array([True, False, False, False]),
        values=np.array([[10], [20], [4]], np.float32),
        features=1,
        residual=1.0,
    )


def test_a_stump_by_hand():
    assert stump().fault(1) == ""
    assert stump().predict(np.array([[1.0], [2], [2.1], [NAN]]))[:, 0].tolist() == [7, 7, 12, 7]
    right = replace(stump(), missing_left=np.zeros(4, bool))
    assert right.predict(np.array([[NAN]])).tolist() == [[12]]


@pytest.mark.parametrize(
    "change",
    [
        {"right": [0, 0, 0, 0]},  # a circle
        {"right": [3, 0, 0, 0]},  # into another tree
        {"right": [1, 0, 0, 0]},  # left and right alike
        {"right": [9, 0, 0, 0]},
        {"right": [2, 0, 0]},
        {"feature": [0, -1, -1, 0]},  # a tree that goes on beyond its end
        {"feature": [1, -1, -1, -1]},
        {"feature": [-2, -1, -1, -1]},
        {"feature": [0, 0, -1, -1], "right": [2, 2, 0, 0]},
        {"roots": [1, 3]},
        {"roots": [0, 0]},
        {"roots": [0, 4]},
        {"roots": []},
        {"values": [[10], [20]]},
        {"values": [[10], [20], [NAN]]},
        {"values": [[10, 1], [20, 1], [4, 1]]},
        {"threshold": [NAN, 0, 0, 0]},
    ],
)
def test_arrays_that_are_no_trees_are_refused(change):
    damaged = replace(stump(), **{name: np.array(v, getattr(stump(), name).dtype) for name, v in change.items()})
    assert damaged.fault(1)


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("classes", [False, True])
def test_numpy_predicts_what_scikit_learn_does(gaps, classes):
    """Values on the thresholds too: rounded up, these would be on the other side of some."""
    ensemble, random = pytest.importorskip("sklearn.ensemble"), np.random.default_rng(1)
    x = np.round(random.normal(size=(400, 4)), 1).astype("float32")
    y = 3 * x[:, 0] + 0.3 * random.normal(size=400)
    x[random.random(x.shape) < gaps] = NAN
    codes = np.digitize(y, [-1, 1]) * 2 % 5  # 0, 2, 4: of five classes training has three
    target = np.eye(5)[codes] if classes else y[:, None]
    kinds = {False: ensemble.ExtraTreesRegressor, True: ensemble.ExtraTreesClassifier}
    how = {"min_samples_leaf": 5, "random_state": 0, "max_features": "sqrt" if classes else 1.0}
    theirs = kinds[classes](forests.TREES, **how).fit(x, codes if classes else y)
    ours, asked = grow_forest(x, target, np.arange(400) // 80, classes), np.concatenate([x, x + 0.05])
    wanted = theirs.predict_proba(asked) if classes else theirs.predict(asked)[:, None]
    np.testing.assert_allclose(ours.predict(asked)[:, [0, 2, 4] if classes else [0]], wanted, rtol=1e-5, atol=1e-6)
    assert ours.fault(target.shape[1]) == ""
    assert not classes or not ours.predict(asked)[:, [1, 3]].any()
    assert 0.3 < ours.residual < 1.5 or classes  # on rows not seen, so not below the noise; labels deviate by 3


def test_a_threshold_is_never_rounded_up():
    values = np.array([0.1, 1 / 3, 2.0, -0.1])  # float32(0.1) and float32(1/3) lie above
    rounded = forests._rounded_down(values)
    assert rounded.dtype == np.float32
    assert (rounded <= values).all()
    assert rounded[2] == 2
    assert (np.nextafter(rounded, np.float32(np.inf)) > values).all()


# -- what is fitted on ----------------------------------------------------------------------------------------------


class Pictures(Data):
    """Pictures of 4 x 5 pixels with two bands; ``labelled`` of them labelled in each picture, the value is 10 a + b."""

    def __init__(self, labelled, classes=False):
        self.labelled, self.classes, self.read = labelled, classes, []

    def __len__(self):
        return len(self.labelled)

    def item(self, index):
        self.read.append(index)
        image = np.random.default_rng(index).normal(size=(2, 4, 5)).astype("float32")
        target = (10 * image[:1] + image[1:]) if not self.classes else np.where(image[:1] > 0, 9, 7).astype("float32")
        target.ravel()[self.labelled[index] :] = NAN
        return {"image": image, "target": target}


IMAGE = (Port("image", "B 2 H W"),)


def task_of(outputs, tolerates=(), inputs=IMAGE):
    ports = Ports(inputs, outputs)
    return SimpleNamespace(
        ports=lambda survey: ports,
        covariates=lambda batch, survey: first_input(ports.inputs, batch),
        tolerates_gaps=tolerates,
        settings=SimpleNamespace(eval=SimpleNamespace(baselines=("ridge", "forest"))),
    )


HEIGHT = Port("height", "B 1 H W", "m", spread="moments")
SHARES = Port("share", "B K H W", "1", ("a", "b"), spread="probabilities")
CLASS = Port("class", "B H W", spread="class", of="share", legend=((7, "a"), (9, "b")))


def test_labels_are_drawn_evenly_and_no_more_than_allowed(monkeypatch):
    monkeypatch.setattr(references, "MOST_ROWS", 30)
    monkeypatch.setattr(references, "MOST_IMAGES", 5)
    data, task = Pictures([20, 20, 2, 20, 20, 20, 20, 20, 20, 20]), task_of((HEIGHT,))
    x, y, fold = draw_rows(task, Survey(), data, Outcome(HEIGHT))
    assert sorted(set(data.read)) == [0, 1, 3, 5, 7, 9]  # the first is looked at for its shape
    np.testing.assert_allclose(y[:, 0], 10 * x[:, 0] + x[:, 1], rtol=1e-5)
    assert np.bincount(fold).tolist() == [6] * 5
    assert len(np.unique(y)) == 30  # drawn without repetition
    again = draw_rows(task, Survey(), data, Outcome(HEIGHT))
    assert all((a == b).all() for a, b in zip((x, y, fold), again, strict=True))
    few = Pictures([2, 20, 2, 20, 2, 20, 2, 20, 2, 20])
    assert np.bincount(draw_rows(task, Survey(), few, Outcome(HEIGHT))[2]).tolist() == [6] * 5
    monkeypatch.setattr(references, "MOST_IMAGES", 10)  # what one image lacks the next ones give
    assert np.bincount(draw_rows(task, Survey(), few, Outcome(HEIGHT))[2]).tolist() == [6, 6, 6, 6, 6]


def test_too_few_labels_or_too_many_numbers_are_not_fitted():
    task = task_of((HEIGHT,))
    assert draw_rows(task, Survey(), Pictures([9, 10]), Outcome(HEIGHT)) is None
    assert draw_rows(task, Survey(), Pictures([10, 10]), Outcome(HEIGHT)) is not None
    whole = task_of((HEIGHT,), inputs=(Port("image", "B C H W"),))
    whole.covariates = lambda batch, survey: batch["target"][:, :, :2]  # other pixels than the labels
    assert draw_rows(whole, Survey(), Pictures([20, 20]), Outcome(HEIGHT)) is None


def test_labels_that_are_no_classes_are_told(capsys):
    task = task_of((SHARES, CLASS))
    assert draw_rows(task, Survey(), Pictures([20, 20]), references.outcome_of((SHARES, CLASS))) is None
    assert "a label is none of the classes [7, 9]" in capsys.readouterr().err


def kept(folder, task, data):
    """Fit into a run of its own, and read what it keeps."""
    notes = {}
    run = SimpleNamespace(path=folder, info=lambda: notes, note=notes.__setitem__, file=lambda name: folder / "best.pt")
    task.data = lambda split: data
    references.fit_baselines(task, run, Survey())
    return kept_baselines(task, run, Survey())


def test_classes_of_pixels_come_as_shares_and_codes(tmp_path):
    data = Pictures([20] * 12, classes=True)
    found = kept(tmp_path, task_of((SHARES, CLASS)), data)
    batch = data.items([3, 4])
    batch["image"][0, 1, 0, 0] = NAN  # a band is missing: the network says nothing there
    batch["target"][1, 0, 3, 4] = NAN  # no label: nobody asks
    silent = np.zeros((2, 4, 5), bool)
    silent[0, 0, 0] = silent[1, 3, 4] = True
    for name in ("ridge", "forest"):
        made = found[name](batch)
        assert made["share"].shape == (2, 2, 4, 5)
        assert made["class"].shape == (2, 4, 5)
        assert (np.isnan(made["class"]) == silent).all()
        np.testing.assert_allclose(made["share"].sum(axis=1)[~silent], 1, rtol=1e-5)
        codes = batch["target"][:, 0]
        assert (made["class"] == codes)[~silent].mean() > 0.8


def test_a_missing_value_hides_a_prediction_only_where_it_hides_the_networks(tmp_path):
    series, value = Port("bands", "B T C"), Port("value", "B", spread="moments")
    std = Port("std", "B", spread="deviation", of="value")
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3, 2)).astype("float32")
    x[::4, 1] = NAN
    data = Data()
    data.together = 16
    data.__class__ = type("Rows", (Data,), {
        "__len__": lambda self: 60, "item": lambda self, i: {"bands": x[i], "target": x[i, 0, 0] * np.float32(3)},
    })  # fmt: skip
    lenient = kept(tmp_path / "a", task_of((value, std), ("bands",), (series,)), data)
    strict = kept(tmp_path / "b", task_of((value, std), (), (series,)), data)
    for tolerates, count in ((("bands",), 60), ((), 45)):
        rows = draw_rows(task_of((value, std), tolerates, (series,)), Survey(), data, Outcome(value))
        assert len(rows[0]) == count
    batch = data.items(range(8))
    for name in ("ridge", "forest"):
        assert np.isfinite(lenient[name](batch)["value"]).all()
        hidden = strict[name](batch)
        assert np.isnan(hidden["value"]).tolist() == np.isnan(hidden["std"]).tolist() == [True, *[False] * 3] * 2
    np.testing.assert_allclose(lenient["ridge"](batch)["value"], batch["target"], atol=0.1)


# -- in a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder)
    return folder


def trained(folder, rows, *sets, task=Line, kind=LineSettings):
    settings = load_settings(kind, None, [*SETS, f"runtime.data_dir={rows}", *sets])
    made, run = task(settings), Run.create(folder, "line", settings)
    made.train(run)
    return made, run


@pytest.fixture
def line(rows, tmp_path):
    return trained(tmp_path / "run", rows)


def test_the_run_keeps_them_and_the_same_data_give_the_same_bytes(line, rows, tmp_path):
    task, run = line
    scores, data = task.evaluate(run, "test"), task.data("test").items(range(8))
    assert list(scores) == ["model", "ridge", "forest"]
    train = task.data("train").items(range(80))
    fit = fit_ridge(train["x"], train["target"], np.arange(80) // 16)
    error = fit.predict(data["x"]) - data["target"]
    assert scores["ridge"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
    assert scores["ridge"]["n"] == scores["forest"]["n"] == scores["model"]["n"] == 8
    said = run.info()["baselines"]
    assert said == {"fitted": ["ridge", "forest"], "labels": 80, "features": 2, "sha256": sha256(run.path / FILE)}
    assert trained(tmp_path / "again", rows)[1].info()["baselines"] == said


def test_what_is_there_is_not_fitted_again(line, monkeypatch):
    task, run = line
    monkeypatch.setattr(references, "draw_rows", lambda *given: pytest.fail("fitted twice"))
    task.train(run)
    (run.path / FILE).write_bytes(b"")  # damaged since, or another one: a process was killed before it could say so
    with pytest.raises(pytest.fail.Exception):
        task.train(run)


def test_scores_of_an_edited_file_are_refused(line):
    task, run = line
    file = run.path / FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    assert "is missing or not the one that training kept" in message(lambda: task.evaluate(run, "test"))
    file.unlink()
    assert "is missing or not the one that training kept" in message(lambda: task.evaluate(run, "test"))
    without = load_settings(LineSettings, None, ["eval.baselines=[]"], task.settings.model_dump(mode="json"))
    assert list(Line(without).evaluate(run, "test")) == ["model"]
    info = run.info()
    del info["baselines"]
    run.write_json("run.json", info)  # a run of an older version
    assert list(task.evaluate(run, "test")) == ["model"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"forest.right": lambda a: a * 0}, "a child of a node lies outside its tree"),
        ({"forest.right": lambda a: a.astype(float)}, "right is float64"),
        ({"forest.roots": lambda a: a[None]}, "roots is int64 \\(1, 8\\)"),
        ({"forest.values": lambda a: a[:-1]}, "its leaves hold"),
        ({"forest.residual": lambda a: np.array([1.0, 2])}, "residual is float64"),
        ({"forest.feature": None}, "forest is not whole"),
        ({"ridge.weights": lambda a: a[:1]}, "its weights are \\(1, 1\\), not \\(2, 1\\)"),
        ({"ridge.weights": lambda a: a * NAN}, "a weight is not finite"),
        ({"ridge.mean": lambda a: a.astype(object)}, "Python objects"),
    ],
)
def test_a_file_that_holds_something_else_is_one_line(line, change, reason):
    """Also where its hash was put into run.json, so that only the arrays can tell."""
    task, run = line
    with np.load(run.path / FILE, allow_pickle=False) as kept_arrays:
        arrays = dict(kept_arrays)
    for name, how in change.items():
        arrays[name] = None if how is None else how(arrays[name])
    np.savez(run.path / FILE, **{name: array for name, array in arrays.items() if array is not None})
    run.note("baselines", run.info()["baselines"] | {"sha256": sha256(run.path / FILE)})
    with pytest.raises(ZooError, match=reason) as error:
        task.evaluate(run, "test")
    assert "\n" not in str(error.value)
    assert str(run.path / FILE) in str(error.value)


def test_without_scikit_learn_the_forest_is_left_out(rows, tmp_path, monkeypatch, capsys):
    def absent(name):
        raise forests.PackageNotFoundError(name)

    monkeypatch.setattr(forests, "version", absent)
    task, run = trained(tmp_path / "run", rows)
    told = "no forest among the baselines: scikit-learn is not installed; pip install 'eozoo[forest]'"
    assert told in capsys.readouterr().err
    assert list(task.evaluate(run, "test")) == ["model", "ridge"]
    monkeypatch.setattr(forests, "version", lambda name: "1.5.2")
    assert "1.5.2 is too old" in forests.absent()
    monkeypatch.undo()
    task.train(run)  # it is there by now
    assert list(task.evaluate(run, "test")) == ["model", "ridge", "forest"]


class Two(LineSettings):
    train: EnsembleTrain = EnsembleTrain(members=2)

    class Runtime(LineRuntime, EnsembleRuntime):
        pass

    runtime: Runtime = Runtime()


def test_an_ensemble_keeps_them_once(rows, tmp_path):
    task, run = trained(tmp_path / "run", rows, task=type("Lines", (Line,), {"Settings": Two}), kind=Two)
    assert [file.parent for file in run.path.rglob(FILE)] == [run.path]
    assert list(task.evaluate(run, "test")) == ["model", "member 0", "member 1", "ridge", "forest"]


# -- said -----------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_will_be_fitted(rows, tmp_path):
    settings = load_settings(LineSettings, None, [*SETS, f"runtime.data_dir={rows}"])
    told = "after training ridge and forest are fitted on at most 20,000 labels (eval.baselines)"
    assert told in Line(settings).plan(Run(tmp_path, "line", settings)).notes


def test_a_model_that_loses_is_told():
    scores = {
        "model": {"loss": 1.0, "rmse": 3.0},
        "member 0": {"rmse": 2.0},
        "floored": {"rmse": 2.9},
        "training mean": {"rmse": 4.0},
        "ridge": {"rmse": 2.5},
        "forest": {"mae": 1.0},
    }
    assert better_than_model(scores) == ["ridge is better than the model by 0.5 (rmse 2.5, the model 3)"]
    classes = {"model": {"accuracy": 0.8, "mean_iou": 0.5}, "forest": {"accuracy": 0.7, "mean_iou": 0.6}}
    few = scores | {AT_FOREST: {"rmse": 2.0}, "forest": {"rmse": 2.2}}  # of other labels: 2.2 is not better than 3
    assert better_than_model(few) == ["ridge is better than the model by 0.5 (rmse 2.5, the model 3)"]
    assert better_than_model(classes) == ["forest is better than the model by 0.1 (mean_iou 0.6, the model 0.5)"]
    assert better_than_model({"model": {"loss": 1.0}, "mean": {"loss": 0.5}}) == []
    assert TaskSettings().eval.baselines == ("ridge", "forest")


def test_the_simplest_is_the_mean_with_its_deviation_or_the_most_frequent_class():
    std = Port("std", "B 1 H W", "m", spread="deviation", of="height")
    survey = Survey(label=BandSurvey(name="label", mean=3.0, std=2.0))
    made = simplest((HEIGHT, std), survey)["training mean"]({"target": np.zeros((1, 1, 2, 2))})
    assert {name: values.ravel().tolist() for name, values in made.items()} == {"height": [3] * 4, "std": [2] * 4}
    counted = SimpleNamespace(counts=(1, 5), label=None)
    assert simplest((SHARES, CLASS), counted)["most frequent class"]({"target": np.zeros(2)})["class"].tolist() == [
        9,
        9,
    ]


def test_the_extra_that_adds_the_forest_is_one():
    text = Path(__file__).parent.parent.joinpath("pyproject.toml").read_text()
    assert 'forest = ["scikit-learn>=1.6"]' in text
