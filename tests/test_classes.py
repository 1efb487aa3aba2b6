"""Scores of classes, codes that are no indices, class weights, and the report, against hand-worked numbers."""

import csv

import numpy as np
import pytest
import torch
from eozoo_core import Port, Run, ZooError
from eozoo_core.score.classes import balanced, class_scores, class_table, class_text
from eozoo_core.task import Survey
from eozoo_core.task.classes import ClassCount, ClassSurvey, indices_of, legend_of, write_class_report
from eozoo_core.task.maps import bands_of, numbered
from eozoo_core.task.scores import ClassScores
from toy import Toy

# Labels: 4 of a, 6 of b, none of c; one b is taken for c.
CONFUSION = np.array([[3, 1, 0], [1, 4, 1], [0, 0, 0]])


def test_scores_by_hand():
    found = class_scores(CONFUSION)
    recalls, f1, iou = (3 / 4, 4 / 6), (6 / 8, 8 / 11), (3 / 5, 4 / 7)
    chance = (4 * 4 + 6 * 5) / 100
    assert found == pytest.approx(
        {
            "accuracy": 0.7,
            "balanced_accuracy": np.mean(recalls),
            "macro_f1": np.mean(f1),
            "weighted_f1": 0.4 * f1[0] + 0.6 * f1[1],
            "mean_iou": np.mean(iou),
            "kappa": (0.7 - chance) / (1 - chance),
        }
    )
    rows = class_table(CONFUSION)
    assert rows[0] == {"labels": 4, "precision": 0.75, "recall": 0.75, "f1": 0.75, "iou": 0.6}
    assert rows[2] == {"labels": 0, "precision": 0.0, "recall": None, "f1": None, "iou": None}


def test_what_is_undefined_is_left_out():
    assert class_scores(np.zeros((2, 2))) == {}
    one = class_scores([[5, 0], [0, 0]])  # nothing but right answers of one class: kappa is 0 / 0
    assert one.keys() == {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mean_iou"}
    many = class_scores(np.stack([CONFUSION, np.diag([1, 0, 0])]))
    assert many["accuracy"].tolist() == [0.7, 1.0]
    assert np.isnan(many["kappa"][1])


def test_scores_agree_with_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, jaccard_score

    random = np.random.default_rng(0)
    codes, scores = np.array([20, 10, 40]), ClassScores("class", [20, 10, 40])
    target, found = codes[random.integers(0, 3, 200)].astype("float32"), codes[random.integers(0, 3, 200)]
    for part in (slice(0, 120), slice(120, 200)):
        scores.add({"class": found[part].astype("float32")}, {"target": target[part]})
    values = scores.compute(scores.sums())
    assert values["n"] == 200
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(target, found))
    assert values["kappa"] == pytest.approx(cohen_kappa_score(target, found))
    assert values["mean_iou"] == pytest.approx(jaccard_score(target, found, average="macro"))
    assert scores.confusion[0, 1] == ((target == 20) & (found == 10)).sum()
    scores.add({"class": np.array([np.nan, 20.0])}, {"target": np.array([20.0, np.nan])})  # missing: counts nowhere
    assert scores.sums().sum() == 200
    with pytest.raises(ZooError, match="holds 30; the classes of training are 20, 10, 40"):
        scores.add({"class": np.array([20.0])}, {"target": np.array([30.0])})


def test_balanced_weights_have_mean_one_over_the_labels():
    weights = balanced((60, 30, 0, 10))
    assert weights == pytest.approx([100 / 180, 100 / 90, 0, 100 / 30])
    assert np.dot(weights, (60, 30, 0, 10)) / 100 == pytest.approx(1)


@pytest.mark.parametrize("classes", [3, 40])
def test_text_stays_within_80_columns(classes):
    counts = np.random.default_rng(0).integers(0, 10**7, (classes, classes))
    text = class_text(counts, [(i + 1, f"a class with a long name {i}") for i in range(classes)])
    assert max(map(len, text.splitlines())) <= 80
    assert "taken" in text


def test_codes_come_from_settings_or_labels():
    assert legend_of(("a", "b"), ClassSurvey()) == ((0, "a"), (1, "b"))
    assert legend_of({10: "tree", 30: "grass"}, ClassSurvey()) == ((10, "tree"), (30, "grass"))
    count = ClassCount(None)
    count.add(np.array([30.0, 10.0, np.nan, 30.0]), "x.tif")
    found = count.survey(Survey())
    assert (found.legend, found.counts) == (((10, "10"), (30, "30")), (1, 2))
    assert legend_of(None, found) == found.legend
    named = ClassCount({30: "grass", 10: "tree", 95: "mangrove"})
    named.add(np.array([30.0, 10.0, 30.0]), "x.tif")
    assert named.survey(Survey()).counts == (2, 1, 0)
    target = torch.tensor([30.0, float("nan"), 10.0, 95.0, 7.0])
    assert str(indices_of(target, [30, 10, 95]).tolist()) == "[0.0, nan, 1.0, 2.0, nan]"


@pytest.mark.parametrize(
    ("classes", "values", "message"),
    [
        (
            ("a", "b"),
            [0.0, 2.0],
            "x.tif: holds the label 2, data.classes names 0 a, 1 b; name it there",
        ),
        (None, [0.5], "0.5, a code of a class is a whole number"),
        (None, range(300), "more than 256 different labels: those are values"),
        (None, [3.0, 3.0], "hold 1 class; two or more"),
    ],
)
def test_labels_that_are_no_classes(classes, values, message):
    def look():
        count = ClassCount(classes)
        count.add(np.array(values, float), "x.tif")
        count.survey(Survey())

    with pytest.raises(ZooError, match=message):
        look()


def test_a_class_map_is_drawn_by_its_codes():
    legend = tuple((10 * i, f"c{i}") for i in range(9))
    port = Port("class", "B 1 H W", "class code", spread="class", of="p", legend=legend)
    assert str(numbered(np.array([[20.0, np.nan, 0.0, 5.0]]), [20, 0]).tolist()) == "[[0.0, nan, 1.0, nan]]"
    (band,) = bands_of(port)
    assert list(band.classes) == [code for code, _ in port.legend]
    assert len({category.colour for category in band.classes.values()}) == 9  # each its own


def test_report(tmp_path):
    run = Run.create(tmp_path / "run", "toy", Toy.Settings())
    write_class_report(
        run, "test", {"model": class_scores(CONFUSION)}, CONFUSION.astype(float), [(0, "a"), (1, "b, c"), (5, "<c>")]
    )
    made = run.path / "eval_test"
    assert {p.name for p in made.iterdir()} == {
        "classes.txt", "classes.csv", "confusion.csv", "confusion.png", "report.html"
    }  # fmt: skip
    assert "5 <c>" in (made / "classes.txt").read_text()
    rows = list(csv.reader((made / "confusion.csv").open()))
    assert rows[0][1:] == ["a", "b, c", "<c>"]
    assert rows[2] == ["b, c", "1", "4", "1"]
    assert next(csv.DictReader((made / "classes.csv").open())) == {
        "class": "a", "labels": "4", "precision": "0.75", "recall": "0.75", "f1": "0.75", "iou": "0.6"
    }  # fmt: skip
    assert "&lt;c&gt;" in (made / "report.html").read_text()
