"""``eozoo compare``: settings, scores, intervals and the paired test, against values worked out by hand."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo.comparison import interval, sign_flip
from eozoo_core import Run
from hypothesis import given
from hypothesis import strategies as st
from toy import Toy


def make(path, rmse, width=4, seed=0):
    settings = Toy.Settings.model_validate({"model": {"width": width}, "train": {"seed": seed}})
    run = Run.create(path, "toy", settings)
    run.write_scores("test", {"model": {"rmse": rmse, "n": 10.0}, "mean": {"rmse": 9.0}})
    return path


@pytest.fixture
def eozoo():
    def call(*arguments, code=0):
        result = CliRunner().invoke(main, ["compare", *map(str, arguments)], obj=Registry(), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return call


def test_two_runs(eozoo, tmp_path):
    a, b = make(tmp_path / "a", 2.0), make(tmp_path / "b", 1.5, width=8)
    found = json.loads(eozoo(a, b, "--json"))
    assert found["settings"] == {"model.width": {str(a): 4, str(b): 8}}
    assert found["paired"][str(b)]["rmse"] == {"pairs": 1, "difference": -0.5, "interval": None, "p": None}
    assert found["runs"][str(a)]["metrics"]["rmse"] == {"mean": 2.0, "interval": None}
    page = tmp_path / "page.html"
    text = eozoo(a, b, "--html", page)
    assert "model.width" in text
    assert "-0.5" in text
    assert "model.width" in page.read_text()


def test_scores_of_other_data_or_units_and_counts_are_not_subtracted(eozoo, tmp_path):
    a, b = make(tmp_path / "a", 2.0), make(tmp_path / "b", 1.5)
    here = {"units": {"y": "m"}, "samples": 10, "fingerprint": "1"}
    found = json.loads(eozoo(a, b, "--json"))
    assert set(found["paired"][str(b)]) == {"rmse"}  # n is no score
    for there, said in (
        (here, ""),
        ({**here, "fingerprint": "2"}, "scored on other data; nothing is subtracted"),
        ({**here, "units": {"y": "Mg/ha"}}, "scored in other units; nothing is subtracted"),
    ):
        for path, rmse, on in ((a, 2.0, here), (b, 1.5, there)):
            Run.open(path, Toy.Settings).write_scores("test", {"model": {"rmse": rmse}}, on)
        found = json.loads(eozoo(a, b, "--json"))
        assert found["unlike"].get(str(b), "") == said
        assert bool(found["paired"][str(b)]) == (not said)
        assert said in eozoo(a, b)


def test_folders_of_runs_are_paired_by_name(eozoo, tmp_path):
    gaps = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    for i, gap in enumerate(gaps):
        make(tmp_path / "a" / f"seed{i}", 2.0 + i, seed=i)
        make(tmp_path / "b" / f"seed{i}", 2.0 + i + gap, width=8, seed=i)
    make(tmp_path / "b" / "only_here", 99.0, width=8)
    found = json.loads(eozoo(tmp_path / "a", tmp_path / "b", "--json"))
    rmse = found["paired"][str(tmp_path / "b")]["rmse"]
    assert rmse["pairs"] == 7
    assert rmse["difference"] == pytest.approx(0.4)
    assert 0.1 < rmse["interval"][0] < 0.4 < rmse["interval"][1] < 0.7
    assert rmse["p"] == 2 / 2**7  # only all plus and all minus are as far from 0
    assert found["settings"]["model.width"] == {str(tmp_path / "a"): 4, str(tmp_path / "b"): 8}
    assert found["settings"]["train.seed"][str(tmp_path / "a")] == "(varies)"


def test_mistakes(eozoo, tmp_path):
    a = make(tmp_path / "a", 2.0)
    assert "two runs or more" in eozoo(a, code=1)
    assert "two runs or more" in eozoo(a, a, code=1)
    assert "holds no run" in eozoo(a, tmp_path / "none", code=1)
    b = make(tmp_path / "b", 2.0)
    (b / "eval_test.json").unlink()
    assert "no scores; write them with 'eozoo eval" in eozoo(a, b, code=1)
    (b / "run.json").write_text((b / "run.json").read_text().replace('"toy"', '"other"'))
    assert "different tasks (other, toy)" in eozoo(a, b, code=1)


def test_sign_flip_by_hand():
    assert sign_flip([1.0] * 5) is None
    assert sign_flip([1.0] * 6) == 2 / 64
    # |sum| >= 4 of 6 signs: 5 or 6 alike (sums 4 and 6): (1 + 6) * 2 patterns
    assert sign_flip([1.0, 1.0, 1.0, 1.0, 1.0, -1.0]) == 14 / 64
    assert sign_flip([0.0] * 6) == 1.0


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=8))
def test_sign_flip_is_symmetric_and_a_probability(differences):
    p = sign_flip(differences)
    assert 2 / 2 ** len(differences) <= p <= 1
    assert sign_flip([-d for d in differences]) == p


def test_drawn_patterns_agree_with_a_normal_approximation():
    random = np.random.default_rng(0)
    differences = (random.normal(size=40) + 0.3).tolist()
    z = abs(np.sum(differences)) / np.sqrt(np.sum(np.square(differences)))
    from math import erfc, sqrt

    assert sign_flip(differences) == pytest.approx(erfc(z / sqrt(2)), abs=0.015)


def test_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(1)
    assert interval([1.0] * 5) is None
    assert interval([2.0] * 8) == (2.0, 2.0)
    values = random.normal(size=50)
    low, high = interval(values.tolist())
    half = 1.96 * values.std() / np.sqrt(50)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
