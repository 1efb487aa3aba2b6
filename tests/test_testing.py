"""The conformance kit, proven: the good toys pass every check, and each planted defect is caught by its check."""

import math
import os
import re
import sys
import types
from importlib.metadata import PathDistribution
from unittest.mock import patch

import numpy as np
import planted_slots
import planted_training
import planted_use
import pytest
from eozoo.registry import Registry
from eozoo.testing import CHECKS, declaration, parametrize_with_checks, task_checks
from eozoo.testing.description import _differs
from eozoo_core import Card, Port, Spec, ZooError, hookimpl
from toy import CARD, Toy

DEFECTS = [
    cls
    for module in (planted_training, planted_use, planted_slots)
    for cls in vars(module).values()
    if isinstance(cls, type) and cls.__module__ == module.__name__ and "caught_by" in vars(cls)
]
IN, OUT = Port("x", "B 2", "m"), Port("y", "B 1", "m")
SHORT = ["train.batch_size=32"]  # two steps an epoch


def registry(target, model=None, card=CARD):
    if target.startswith("planted_slots"):
        return registry_of_slots(target)
    return registry_of_a_toy(target, model, card)


def registry_of_slots(target):
    """The task with slots, and the network and loss that it has of its own."""
    slots, plugin = planted_slots.Fitting.slots, types.ModuleType("plugin_with_slots")
    model, loss = slots["model"], slots["model.loss"]
    plugin.eozoo_tasks = hookimpl(lambda: [Spec("toy", target, "A toy", citation="none", card=CARD)])
    plugin.eozoo_models = hookimpl(
        lambda: [Spec("line_net", "planted_slots:line_net", "A line", (), model.feeds, model.wants)]
    )
    plugin.eozoo_losses = hookimpl(
        lambda: [Spec("line_loss", "planted_slots:line_loss", "Squares", (), (*model.wants, *loss.feeds))]
    )
    made = Registry()
    made.add(lambda: plugin, "toy 1")
    assert not made.problems
    return made


def registry_of_a_toy(target, model, card):
    """A registry that holds one plugin, "toy 1", made here."""
    plugin = types.ModuleType("plugin_of_the_toy")
    plugin.eozoo_tasks = hookimpl(lambda: [Spec("toy", target, "A toy", citation="none", card=card)])
    if model:
        plugin.eozoo_models = hookimpl(
            lambda: [Spec("net", model, "A net", (), (IN,), (OUT,), citation="none", card=card)]
        )
    made = Registry()
    made.add(lambda: plugin, "toy 1")
    assert not made.problems
    return made


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)


ALONE = CHECKS.keys() - {"two_processes_are_one"}  # which takes as long as some of the others together

# Of the task with slots, which is not complete.
SLOTTED = CHECKS.keys() & {
    *("strangers_fit", "two_processes_are_one", "misfits_are_refused", "one_bad_sample_spoils_no_other"),
    *("plan_tells_the_steps", "graph_is_predict", "module_is_predict"),
}


def failures(checks, folder, only=ALONE):
    found = {}
    for check in (check for check in checks if check.name in only):
        (folder / check.name).mkdir()
        try:
            check(folder / check.name)
        except Exception as error:
            found[check.name] = error
    return found


@parametrize_with_checks("toy", registry=registry("toy:Toy"))
def test_the_good_toy_passes(check, tmp_path):
    check(tmp_path)


@parametrize_with_checks("toy", registry=registry("toy_maps:ToyMaps"), overrides=SHORT)
def test_the_good_toy_of_maps_passes(check, tmp_path):
    check(tmp_path)


@pytest.mark.parametrize("cls", DEFECTS, ids=lambda cls: cls.__name__)
def test_a_planted_defect_is_caught_by_its_check(cls, tmp_path):
    checks = task_checks("toy", registry(f"{cls.__module__}:{cls.__name__}"), SHORT)
    found = failures(checks, tmp_path, cls.caught_by)
    assert found.keys() == cls.caught_by.keys()
    for name, words in cls.caught_by.items():
        assert isinstance(found[name], AssertionError)
        assert re.search(words, str(found[name]))


@pytest.mark.slow
@pytest.mark.parametrize("cls", DEFECTS, ids=lambda cls: cls.__name__)
def test_a_planted_defect_misleads_no_other_check(cls, tmp_path):
    checks = task_checks("toy", registry(f"{cls.__module__}:{cls.__name__}"), SHORT)
    slotted = {"strangers_fit", *cls.caught_by}
    only = {planted_training: CHECKS, planted_use: ALONE, planted_slots: slotted}[sys.modules[cls.__module__]]
    found = failures(checks, tmp_path, only)
    assert found.keys() == cls.caught_by.keys(), {name: str(error) for name, error in found.items()}


def test_every_check_has_a_planted_defect():
    planted = {check for cls in DEFECTS for check in cls.caught_by}
    elsewhere = {"listing_is_light", "changed_setting_is_refused", "cards_are_complete"}  # below
    elsewhere |= {"absurd_inputs_are_refused"}  # plugins/gedi_sparse/tests/test_verbs.py
    elsewhere |= {"workers_change_no_bit"}  # tests/test_many_scenes.py
    assert planted | elsewhere == set(CHECKS)
    assert all(check.__doc__ for check in CHECKS.values())


# Its own check quickly, slowly all the others too, which it must not mislead.
OTHERS = pytest.mark.parametrize("others", [set(), pytest.param(ALONE, marks=pytest.mark.slow)], ids=["alone", "all"])


@OTHERS
def test_a_run_that_takes_any_setting_is_caught(others, tmp_path):
    with patch("eozoo_core.run.continuity.fixed_changes", lambda old, new: []):
        checks = task_checks("toy", registry("toy:Toy"), SHORT)
        found = failures(checks, tmp_path, {"changed_setting_is_refused", *others})
    assert found.keys() == {"changed_setting_is_refused"}
    assert "the run went on with train.seed=1" in str(found["changed_setting_is_refused"])


@OTHERS
def test_a_card_with_blanks_is_caught(others, tmp_path):
    checks = task_checks("toy", registry("toy:Toy", card=Card("For tests.")), SHORT)
    found = failures(checks, tmp_path, {"cards_are_complete", *others})
    assert found.keys() == {"cards_are_complete"}
    words = "task toy: its Spec and Card leave inputs, outputs, measured, limits, weights, architecture, kinds empty"
    assert words in str(found["cards_are_complete"])


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (Port("x", "B C"), ""),
        (Port("x", "B 2", "m", ("a", "b"), (0.0, 1.0), (1.0, 1.0)), ""),
        (Port("x", "B C H W"), "4 axes against 2"),
        (Port("x", "B 3"), "axis 3 is another"),
        (Port("x", "B C", "", ("a", "b", "c")), "3 bands fit no axis"),
        (Port("x", "B 2", "", (), (0.0, math.nan), (1.0, 1.0)), "its statistics hold nan"),
    ],
)
def test_a_described_array_is_held_against_the_sample(port, words):
    assert _differs(port, np.zeros((5, 2))) == words


@OTHERS
def test_a_factory_that_takes_anything_is_caught(others, tmp_path):
    made = registry("toy:Toy", model="planted_training:net_of_anything")
    found = failures(task_checks("toy", made, SHORT), tmp_path, {"parameters_are_named", *others})
    assert found.keys() == {"parameters_are_named"}
    assert "model net takes **options" in str(found["parameters_are_named"])


def install(folder, monkeypatch, plugin_source):
    """Put a plugin distribution "heavy 1.0" with the toy task on the path of this and of new interpreters."""
    info = folder / "site" / "heavy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[eozoo]\nheavy = heavy_plugin\n")
    (info.parent / "heavy_plugin.py").write_text(plugin_source)
    assert PathDistribution(info).version == "1.0"
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    monkeypatch.delitem(sys.modules, "heavy_plugin", raising=False)
    return next(check for check in task_checks("heavy_task") if check.name == "listing_is_light")


LIGHT = """
from eozoo_core import Spec, hookimpl
@hookimpl
def eozoo_tasks():
    return [Spec("heavy_task", "toy:Toy", "A toy")]
"""


def test_a_plugin_that_imports_numpy_when_listed_is_caught(tmp_path, monkeypatch):
    check = install(tmp_path, monkeypatch, f"import numpy\n{LIGHT}")
    with pytest.raises(AssertionError, match=r"heavy 1.0: listing imports numpy"):
        check(tmp_path)


def test_a_light_plugin_is_listed(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, LIGHT)(tmp_path)


def test_a_failed_training_is_told_by_every_check_that_needs_it_and_tried_once(tmp_path):
    planted_training.FailsToTrain.times = 0
    found = failures(task_checks("toy", registry("planted_training:FailsToTrain"), SHORT), tmp_path)
    assert planted_training.FailsToTrain.times == 2  # the two shared runs
    assert "no such thing" in str(found["same_seed_same_result"])
    assert "'finished' of the sample failed before: no such thing" in str(found["missing_stays_missing"])
    assert not found.keys() & {"settings_are_documented", "sample_is_repeatable"}


@OTHERS
def test_one_epoch_is_too_short_to_be_killed_in(others, tmp_path):
    checks = task_checks("toy", registry("toy:Toy"), [*SHORT, "train.epochs=1"])
    continues = {"continues_after_an_epoch", "continues_within_an_epoch"}
    found = failures(checks, tmp_path, {*continues, *others})
    assert found.keys() == continues
    assert all("at least two epochs" in str(error) for error in found.values())


@pytest.mark.parametrize(
    ("batch", "words"),
    [("{}", "is empty"), ("{'x': x[:1]}", "at least two samples"), ("{'x': x, 'z': x[:2]}", "share their first axis")],
)
def test_a_sample_without_a_fit_batch_is_refused(batch, words, tmp_path, monkeypatch):
    monkeypatch.setattr(planted_training.GivesBatch, "expression", batch)
    checks = task_checks("toy", registry("planted_training:GivesBatch"), SHORT)
    found = failures(checks, tmp_path, {"missing_stays_missing"})
    assert words in str(found["missing_stays_missing"])


def test_gaps_are_allowed_where_the_task_says_so(tmp_path):
    checks = task_checks("toy", registry("planted_use:FillsOneBandAndSaysSo"), SHORT)
    assert not failures(checks, tmp_path, planted_use.FillsOneBand.caught_by)


def test_processes_may_agree_in_single_precision_where_the_task_says_why(tmp_path):
    checks = task_checks("toy", registry("planted_training:RoundsAndSaysWhy"), SHORT)
    assert not failures(checks, tmp_path, {"two_processes_are_one"})


def test_two_processes_are_one_where_bfloat16_is_fast(tmp_path, monkeypatch):
    monkeypatch.setattr("eozoo_core.train.precision.is_fast", lambda precision, _device: precision != "fp16-mixed")
    checks = task_checks("toy", registry("toy:Toy"))
    assert not failures(checks, tmp_path, {"two_processes_are_one"})


def test_the_good_task_with_slots_passes(tmp_path):
    checks = task_checks("toy", registry("planted_slots:Fitting"), SHORT)
    assert not failures(checks, tmp_path, SLOTTED)


def test_expected_failures_are_strict_and_named():
    mark = parametrize_with_checks("toy", {"outputs_have_units": "none known yet"}, registry("planted_use:NoUnit"))
    expected = {p.id: p.marks for p in mark.args[1] if p.marks}
    assert list(expected) == ["outputs_have_units"]
    assert expected["outputs_have_units"][0].kwargs == {"reason": "none known yet", "strict": True}
    with pytest.raises(ZooError, match=r"no check 'outputs_have_unit'.*outputs_have_units"):
        parametrize_with_checks("toy", {"outputs_have_unit": ""}, registry("toy:Toy"))


def test_an_unknown_task_is_refused():
    with pytest.raises(ZooError, match="no task 'toi'"):
        task_checks("toi", registry("toy:Toy"))


def test_a_failure_says_what_the_check_proves(tmp_path):
    found = failures(task_checks("toy", registry("planted_use:NoUnit"), SHORT), tmp_path, {"outputs_have_units"})
    assert (
        "conformance of task 'toy', outputs_have_units: ``predict`` gives" in found["outputs_have_units"].__notes__[0]
    )


def test_importing_the_kit_imports_nothing_heavy(tmp_path):
    import subprocess

    code = "import sys, eozoo.testing; print([m for m in ('pytest', 'torch', 'numpy', 'pydantic') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, text=True).strip() == "[]"


def test_presets_must_be_settings_that_say_what_they_are_for(tmp_path):
    file = tmp_path / "quick.yaml"
    bench = types.SimpleNamespace(task_class=type("Quick", (Toy,), {"presets": {"quick": file}}))
    for text, words in (
        (None, "is it part of"),
        ("train:\n  epochs: 1\n", "say in its first line"),
        ("# a b\nx: 1", "'x'"),
    ):
        if text:
            file.write_text(text)
        with pytest.raises((AssertionError, ZooError), match=words):
            declaration.settings_are_documented(bench, tmp_path)
    file.write_text("# For a first look\ntrain: {epochs: 1}\n")
    declaration.settings_are_documented(bench, tmp_path)
