"""best.pt is loaded in one way: every tensor matched, with the settings that it was trained with, base by hash."""

import shutil
from typing import ClassVar

import pytest
import torch
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.run.checkpoint import load_checkpoint, save_checkpoint
from eozoo_core.run.frozen import keep_base
from eozoo_core.settings import Alias
from eozoo_core.settings.config import load_settings, to_dict
from eozoo_core.task.ensemble import best_hash
from eozoo_core.task.load import load_trained, read_trained
from eozoo_core.task.predict import load_fitted
from test_checkpoint import message
from toy import Toy, ToySettings


@pytest.fixture
def run(tmp_path):
    """A run with a network in best.pt and a frozen base beside it."""
    run = Run.create(tmp_path / "run", "toy", load_settings(ToySettings, overrides=["runtime.device=cpu"]))
    digest = keep_base(run, {"frozen": torch.arange(3.0)})
    content = {"model": net(run.settings).state_dict(), "best_val": 1.0, "base": {"sha256": digest}}
    for which in ("current", "best"):
        run.save(which, content)
    return run


def net(settings):
    return Toy(settings, None)._model()


def load(run, *free):
    settings = load_settings(ToySettings, None, free, to_dict(run.settings))
    return load_trained(run, settings, lambda trained: net(trained.settings), None)


def spoilt(run, **changes):
    content = load_checkpoint(run.file("best"))
    content.pop("format")
    for key, change in changes.items():
        content[key] = change(content[key])
    save_checkpoint(run.file("best"), content)
    run.note("files", {})  # or its hash there would have it refused


def test_every_tensor_in_eval_mode_on_the_device(run):
    module, device = load(run)
    expected = run.load("best")["model"]
    assert {k: v.tolist() for k, v in module.state_dict().items()} == {k: v.tolist() for k, v in expected.items()}
    assert not module.training
    assert device == torch.device("cpu")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {k: v for k, v in state.items() if k != "3.bias"}, "1 missing (3.bias)"),
        (lambda state: state | {"4.bias": torch.zeros(1)}, "1 unexpected (4.bias)"),
        (lambda state: state | {"3.bias": torch.zeros(2)}, "3.bias (2,) for (1,)"),
        (lambda state: state | {"3.bias": torch.zeros(1, dtype=torch.int8)}, "3.bias torch.int8 for torch.float32"),
    ],
)
def test_a_tensor_that_does_not_match_is_refused(run, change, said):
    spoilt(run, model=change)
    text = message(load, run)
    assert said in text
    assert str(run.file("best")) in text


def test_another_tasks_file_is_refused(run):
    spoilt(run, task=lambda _: "other")
    text = message(load, run)
    assert all(part in text for part in (str(run.file("best")), "'other'", "'toy'"))


def test_an_edited_config_is_named_and_does_not_change_what_was_learned(run):
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("width: 4", "width: 5"))
    assert "model.width=4" in message(Run.open, run.path, ToySettings, "toy")
    run.note("files", {})  # as in a run of an earlier version, where it was found out when best.pt was read
    edited = Run.open(run.path, ToySettings, "toy")
    assert edited.settings.model.width == 5
    for use in (load, lambda run: read_trained(run, run.settings)):
        text = message(use, edited)
        assert all(part in text for part in (str(run.file("best")), str(config), "model.width=4", "5"))


def test_a_checkpoint_alone_with_its_base_is_a_run(run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in (run.file("best"), read_trained(run, run.settings).base_file):
        shutil.copy2(file, alone)
    opened = Run.open(alone, ToySettings, "toy", ["runtime.threads=1"])
    assert (Run.task_of(alone), opened.settings.runtime.threads) == ("toy", 1)
    assert opened.settings.model == run.settings.model
    assert opened.info()["base"] == run.info()["base"]
    module, _ = load(opened)
    assert module.state_dict().keys() == net(run.settings).state_dict().keys()
    assert read_trained(opened, opened.settings).base()["frozen"].tolist() == [0.0, 1.0, 2.0]
    (alone / "best.pt").write_bytes(b"no checkpoint")
    assert "best.pt: cannot be read" in message(Run.open, alone, ToySettings)


def test_what_was_fitted_with_other_weights_is_left_alone(run):
    """A run that goes on has another best.pt before its end."""
    task = Toy(run.settings)
    for best, factor in ((best_hash(run, run.settings), 2.0), ("0" * 64, None)):
        run.note("fitted", {"best": best, "variance_factor": 2.0, "labels": 30})
        assert load_fitted(run, task).variance_factor == factor


def test_what_is_free_and_how_long_it_trained_may_differ(run):
    """A run that went on: best.pt is of before."""
    longer = load_settings(ToySettings, overrides=["runtime.device=cpu", "train.epochs=9", "train.log_every=3"])
    run = Run.create(run.path, "toy", longer)
    trained = read_trained(run, run.settings)
    assert (trained.settings.train.epochs, trained.settings.train.log_every) == (3, 3)
    load(run, "runtime.threads=1")


def test_the_base_is_the_one_that_the_checkpoint_names(run):
    trained = read_trained(run, run.settings)
    assert trained.base()["frozen"].tolist() == [0.0, 1.0, 2.0]
    run.note("base", "0" * 64)  # run.json is not asked
    assert trained.base()["frozen"].tolist() == [0.0, 1.0, 2.0]
    file = trained.base_file
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert f"{file}: is damaged" in message(trained.base)
    file.unlink()
    assert f"{file}: is missing" in message(trained.base)
    spoilt(run, base=lambda _: {})
    assert str(run.file("best")) in message(read_trained(run, run.settings).base)


def test_a_checkpoint_of_an_earlier_version_loads_under_the_present_names(run):
    class Renamed(ToySettings):
        aliases: ClassVar = {"model.hidden": Alias("model.width")}

    def older(values):
        return values | {"model": {"hidden": 4, "dropout": 0.0}}

    spoilt(run, config=older)
    (run.path / "config.yaml").write_text("model: {hidden: 4}\nruntime: {device: cpu}\n")
    trained = read_trained(Run.open(run.path, Renamed), Renamed())
    assert trained.settings.model.width == 4
    spoilt(run, config=lambda values: older(values) | {"model": {"hidden": 5}})
    assert "model.width=5" in message(read_trained, Run.open(run.path, Renamed), Renamed())


def test_a_unit_changed_in_config_yaml_makes_no_map(tmp_path):
    """Heights in m must not become a map in Mg/ha."""
    registry = Registry.discover()
    task = registry.get("task", "gedi_sparse")
    small = ["model.options.width=2", "train.members=1", "runtime.device=cpu"]
    run = Run.create(tmp_path / "run", "gedi_sparse", load_settings(task.Settings, overrides=small))
    run.save("best", {"model": {"input_mean": torch.zeros(1)}, "best_val": 1.0})
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("unit: m\n", "unit: Mg/ha\n"))
    assert "data.unit='m'" in message(Run.open, run.path, task.Settings)
    run.note("files", {})  # as in a run of an earlier version
    edited = Run.open(run.path, task.Settings)
    text = message(task(edited.settings, registry).predictor, edited)
    assert all(part in text for part in ("data.unit='m'", "'Mg/ha'", str(config)))


def test_a_run_of_another_version_of_its_plugin_names_both(run):
    from importlib.metadata import version

    run.note("plugin", "pytest 0.1")
    said = f"It was trained with pytest 0.1, installed is {version('pytest')}: install that version, or train again"
    load(run)  # it may well fit
    spoilt(run, model=lambda state: {f"new.{name}": value for name, value in state.items()})
    assert message(lambda: load(run)).endswith(said)
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("epochs:", "passes:"))
    assert message(lambda: Run.open(run.path, ToySettings)).endswith(said)
    for plugin in (f"pytest {version('pytest')}", "not-installed-x 1.0", ""):
        run.note("plugin", plugin)
        assert "was trained with" not in message(lambda: load(run))
