"""Settings by meaning: what a run fixes and what is free, other names, weights by content, runs of earlier versions."""

import json
from typing import ClassVar

import pytest
import torch
from eozoo.registry import Registry
from eozoo_core import Run, Settings, TaskSettings, TrainSettings
from eozoo_core.run.beginning import start_from
from eozoo_core.run.checkpoint import save_checkpoint
from eozoo_core.settings import BY_CONTENT, FREE, SKIP, Alias, OnUnreadable, RuntimeSettings, WeightsFile
from eozoo_core.settings.config import load_settings, to_dict, to_yaml
from pydantic import Field
from test_checkpoint import message
from toy import Toy, ToySettings


class Model(Settings):
    width: int = Field(4, description="Width.")
    weights: WeightsFile = Field(None, description="Weights.", json_schema_extra=BY_CONTENT)


class Data(Settings):
    bands: int = Field(3, description="Bands.")
    on_unreadable: OnUnreadable = Field("stop", description="Unreadable files.", json_schema_extra=FREE)


class Train(TrainSettings):
    log_every: int = Field(5, description="Said again without the mark.")


class Runtime(RuntimeSettings):
    data_dir: str = Field("here", description="Folder.")


class Zoo(TaskSettings):
    model: Model = Field(Model(), description="Model.")
    data: Data = Field(Data(), description="Data.")
    train: Train = Field(Train(), description="Training.")
    runtime: Runtime = Field(Runtime(), description="Where.")
    aliases: ClassVar = {
        "runtime.weights": Alias("model.weights"),
        "runtime.base_path": Alias("runtime.data_dir"),
        "data.skip_unreadable": Alias("data.on_unreadable", SKIP),
    }


def made(path, *overrides):
    return Run.create(path, "zoo", load_settings(Zoo, overrides=overrides))


def begun(path, *overrides):
    run = made(path, *overrides)
    run.file("current").touch()
    return run


FREE_ONES = ("train.log_every=9", "train.save_every_steps=2", "train.checkpoint_every=1", "data.on_unreadable=skip")


@pytest.mark.parametrize("free", [*FREE_ONES, "data={on_unreadable: skip}", "data.skip_unreadable=true"])
def test_free_settings_change_when_a_run_goes_on_and_where_it_is_used(tmp_path, free):
    run = begun(tmp_path / "run")
    wanted = load_settings(Zoo, overrides=[free])
    assert wanted != Zoo()
    assert Run.open(run.path, Zoo, "zoo", [free]).settings == wanted
    assert made(run.path, free).settings == Run.open(run.path, Zoo).settings == wanted


def test_what_changed_is_written_down(tmp_path):
    run = begun(tmp_path / "run")
    made(run.path)
    made(run.path, "train.log_every=9", "train.epochs=200")
    reader = Run.open(run.path, Zoo, "zoo", ["runtime.device=cpu"])
    assert len((run.path / "changed_settings.jsonl").read_text().splitlines()) == 1  # opening alone writes nothing
    reader.note_changes()
    lines = [json.loads(line) for line in (run.path / "changed_settings.jsonl").read_text().splitlines()]
    assert [line["changes"] for line in lines] == [
        [["train.epochs", 100, 200], ["train.log_every", 5, 9]],
        [["runtime.device", "auto", "cpu"]],
    ]
    assert set(lines[0]) == {"when", "argv", "changes"}


@pytest.mark.parametrize(
    ("fixed", "key"),
    [
        ("data={on_unreadable: skip, bands: 4}", "data.bands"),
        ("train.seed=1", "train.seed"),
        ("model.width=1", "model.width"),
        ("runtime.weights=w.pt", "model.weights"),
        ("train.schedule.gamma=0.5", "train.schedule.gamma"),
    ],
)
def test_what_is_learned_stays_fixed(tmp_path, fixed, key):
    run = begun(tmp_path / "run")
    (tmp_path / "w.pt").touch()
    assert f"{key} was fixed by training" in message(Run.open, run.path, Zoo, "zoo", [fixed])
    assert f"trained with {key}=" in message(made, run.path, fixed)


def test_members_take_free_settings_from_the_run_that_is_opened(tmp_path):
    run = made(tmp_path / "run")
    run.child("member_0", load_settings(Zoo, overrides=["train.seed=7"]))
    reader = Run.open(run.path, Zoo, "zoo", ["data.on_unreadable=skip", "runtime.device=cpu"])
    member = reader.child("member_0").settings
    assert (member.train.seed, member.data.on_unreadable, member.runtime.device) == (7, "skip", "cpu")


def test_the_template_says_which_are_free():
    text = to_yaml(Zoo())
    assert "Said again without the mark. Free at any time.\n  log_every: 5\n" in text
    assert "# Bands.\n  bands: 3\n" in text


def test_logging_otherwise_learns_the_same(tmp_path):
    """Stopped after one epoch, gone on with other free settings: tensor by tensor what an uninterrupted run learns."""
    sample = Toy.sample(tmp_path / "data")
    plain = [f"runtime.data_dir={tmp_path / 'data'}", "runtime.tensorboard=false", "runtime.device=cpu"]
    free = ["train.log_every=1", "train.save_every_steps=3", "train.checkpoint_every=1"]
    weights = []
    for name, stages in {"whole": [[]], "parts": [["train.epochs=1"], free]}.items():
        for stage in stages:
            settings = load_settings(ToySettings, None, [*plain, *stage], to_dict(sample.settings))
            run = Run.create(tmp_path / name, "toy", settings)
            Toy(settings, Registry.discover()).train(run)
        weights.append(run.load("current")["model"])
    assert list(run.path.glob("checkpoint_epoch_*.pt"))
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


# -- other names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "override", "find", "value"),
    [
        ("runtime: {base_path: there}", "runtime.base_path=there", lambda s: s.runtime.data_dir, "there"),
        ("runtime: {weights: w.pt}", "runtime={weights: w.pt}", lambda s: str(s.model.weights), "w.pt"),
        ("data: {skip_unreadable: true}", "data.skip_unreadable=true", lambda s: s.data.on_unreadable, "skip"),
        ("data: {skip_unreadable: false}", "data.skip_unreadable=false", lambda s: s.data.on_unreadable, "stop"),
    ],
)
def test_another_name_is_read_and_the_present_one_shown(tmp_path, text, override, find, value):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    for settings in (load_settings(Zoo, file), load_settings(Zoo, None, [override])):
        assert find(settings) == value
        assert not any(old in to_yaml(settings) for old in ("base_path", "skip_unreadable"))
        assert load_settings(Zoo, None, (), to_dict(settings)) == settings


def test_two_names_of_one_setting_are_refused(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("runtime: {base_path: a, data_dir: b}")
    pairs = ["runtime.base_path=a", "runtime.data_dir=b"], ["runtime.base_path=a", "runtime={data_dir: b}"]
    texts = [message(load_settings, Zoo, file), *(message(load_settings, Zoo, None, pair) for pair in pairs)]
    for text, source in zip(texts, (str(file), "--set", "--set"), strict=True):
        assert source in text
        assert "'runtime.base_path'" in text
        assert "'runtime.data_dir'" in text
    file.write_text("runtime: {base_path: a}")
    assert load_settings(Zoo, file, ["runtime.data_dir=b"]).runtime.data_dir == "b"  # a later source wins


@pytest.mark.parametrize("typo", ["runtime.base_pth=a", "runtime.data_dri=a"])
def test_a_typo_in_either_name_suggests_the_present_one(typo):
    assert "Did you mean 'runtime.data_dir'?" in message(load_settings, Zoo, None, [typo])


def test_an_empty_file_name_means_none():
    assert load_settings(Zoo, None, ["model.weights="]).model.weights is None
    assert load_settings(Zoo, None, ["model.weights=''"]).model.weights is None


# -- weights by content -----------------------------------------------------------------------------------------------


def test_weights_are_compared_by_content(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    a.write_bytes(b"one")
    b.write_bytes(b"one")
    c.write_bytes(b"two")
    run = begun(tmp_path / "run", f"model.weights={a}")
    assert list(run.info()["contents"]) == ["model.weights"]
    made(run.path, f"model.weights={b}")  # moved
    text = message(made, run.path, f"model.weights={c}")
    assert all(part in text for part in ("model.weights", str(b), str(c), "sha256", "new --run"))
    assert "model.weights" in message(made, run.path)
    b.unlink()
    made(run.path, f"model.weights={b}")  # gone: the run holds what it needs
    b.write_bytes(b"other")
    assert "model.weights" in message(made, run.path, f"model.weights={b}")
    assert "model.weights" in message(made, run.path, "model.weights=nowhere.pt")


# -- runs of earlier versions -----------------------------------------------------------------------------------------


def old_run(path, config):
    """A run as format 1 wrote it."""
    path.mkdir()
    info = {
        "format": 1,
        "task": "zoo",
        "plugin": "zoo 0.0.9",
        "seed": 0,
        "history": [{"when": "2025", "eozoo": "0.0.9"}],
    }
    (path / "run.json").write_text(json.dumps(info))
    (path / "config.yaml").write_text(config)
    (path / "current.pt").touch()
    return path


def test_an_old_run_opens_under_the_present_names_and_goes_on(tmp_path):
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"one")
    path = old_run(
        tmp_path / "run", f"runtime: {{base_path: there, weights: {weights}}}\ndata: {{skip_unreadable: true}}"
    )
    old = Run.open(path, Zoo, "zoo").settings
    assert (old.runtime.data_dir, old.model.weights, old.data.on_unreadable) == ("there", weights, "skip")
    run = made(path, f"model.weights={weights}", "train.epochs=300")
    assert run.info()["format"] == 2
    assert list(run.info()["contents"]) == ["model.weights"]
    assert "model.weights" in message(made, path, "train.epochs=300")


def test_a_run_that_cannot_be_read_names_the_version_that_wrote_it(tmp_path):
    path = old_run(tmp_path / "run", "model: {depth: 3}")
    for text in (message(Run.open, path, Zoo), message(made, path)):
        assert all(part in text for part in (str(path / "config.yaml"), "'model.depth'", "eozoo 0.0.9", "format 1"))
    content = {"task": "zoo", "config": {"model": {"depth": 3}}, "model": {}, "best_val": 1.0}
    save_checkpoint(path / "current.pt", content)
    text = message(start_from, made(tmp_path / "new"), path / "current.pt")
    assert all(part in text for part in (str(path / "current.pt"), "'model.depth'", "eozoo 0.0.9", "format 1"))
    run = made(tmp_path / "ours")
    (run.path / "config.yaml").write_text("model: {depth: 3}")
    assert "eozoo" not in message(Run.open, run.path, Zoo).replace("eozoo config", "")
