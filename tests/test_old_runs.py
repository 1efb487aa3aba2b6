"""Run folders and files of settings as earlier versions wrote them, for every task: opened under the present names."""

import json

import pytest
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict, to_yaml
from test_checkpoint import message

# What config.yaml of a run of format 1 had, and what it is now.
OLD = {
    "gedi_sparse": (
        """
model: {name: context_net, options: {hidden: 4}}
data: {unit: Mg/ha, skip_unreadable: true}
train: {members: 2, log_every: 7}
runtime: {input_dir: in, label_dir: lab}
infer: {skip_unreadable: false, quicklook: false}
prepare: {shots: {skip_unreadable: true}}
""",
        {
            "data.on_unreadable": "skip",
            "infer.strict": False,
            "infer.picture": False,
            "prepare.shots.on_unreadable": "skip",
            "runtime.input_dir": "in",
            "train.log_every": 7,
        },
    ),
    "clay_ta": (
        """
model: {encoder: clay_tiny, clay_ckpt_path: clay.ckpt}
runtime: {patch_dir: patches}
infer: {on_bad_scene: skip}
prepare: {build_patches: {on_bad_scene: error}}
""",
        {
            "model.weights": "clay.ckpt",
            "runtime.data_dir": "patches",
            "infer.strict": False,
            "prepare.build_patches.on_unreadable": "stop",
        },
    ),
    "prithvi_refine": (
        "model: {encoder: prithvi_eo_nano, gradient_checkpointing: true}\nruntime: {weights: w.pt, data_dir: tiles}\n",
        {"model.weights": "w.pt", "runtime.data_dir": "tiles", "model.gradient_checkpointing": True},
    ),
    "barlow_twins": (
        "data: {sample_size: 8}\nruntime: {base_path: work}\n",
        {"runtime.data_dir": "work", "data.shares_of": "blocks"},
    ),
    "barlow_landcover": (
        "model: {pretrained: runs/twins}\nruntime: {base_path: work}\n",
        {
            "runtime.data_dir": "work",
            "model.pretrained": "runs/twins",
            "data.shares_of": "blocks",
            "train.head_rate": 1,
        },
    ),
}


@pytest.fixture(scope="module")
def registry():
    return Registry.discover()


def old_run(path, task, config):
    path.mkdir()
    info = {"format": 1, "task": task, "seed": 0, "history": [{"when": "2025-01-01T00:00:00Z", "eozoo": "0.0.9"}]}
    (path / "run.json").write_text(json.dumps(info))
    (path / "config.yaml").write_text(config)
    (path / "current.pt").touch()
    return path


def leaf(values, key):
    for name in key.split("."):
        values = values[name]
    return values


@pytest.mark.parametrize("task", OLD)
def test_an_old_run_opens_and_goes_on_under_the_present_names(registry, tmp_path, task):
    cls, (config, present) = registry.get("task", task).Settings, OLD[task]
    path = old_run(tmp_path / "run", task, config)
    settings = Run.open(path, cls, task).settings
    assert {key: leaf(to_dict(settings), key) for key in present} == present
    Run.create(path, task, settings)
    assert json.loads((path / "run.json").read_text())["format"] == 2
    assert (path / "config.yaml").read_text() == to_yaml(settings)
    assert Run.open(path, cls, task).settings == settings


@pytest.mark.parametrize("task", OLD)
def test_one_that_does_not_open_names_its_version(registry, tmp_path, task):
    cls, (config, _) = registry.get("task", task).Settings, OLD[task]
    path = old_run(tmp_path / "run", task, f"{config}eval: {{of_old: 1}}\n")
    text = message(Run.open, path, cls, task)
    assert all(part in text for part in (str(path / "config.yaml"), "eval.of_old", "eozoo 0.0.9", "format 1"))


@pytest.mark.parametrize("task", OLD)
def test_every_alias_is_read_with_set_and_shown_nowhere(registry, task):
    cls = registry.get("task", task).Settings
    shown = to_dict(cls())
    for old, alias in cls.aliases.items():
        value = leaf(shown, alias.new)
        words = [before for before, now in alias.values.items() if now == value] or [value]
        for word in words:
            text = "null" if word is None else json.dumps(word)
            assert to_dict(load_settings(cls, None, [f"{old}={text}"])) == shown
        with pytest.raises(KeyError):
            leaf(shown, old)
        both = message(load_settings, cls, None, [f"{old}=a", f"{alias.new}=b"])
        assert f"'{old}'" in both
        assert f"'{alias.new}'" in both


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("clay_ta", "model.clay_ckpt_path"),
        ("barlow_twins", "runtime.base_path"),
        ("barlow_twins", "runtime.test_tile_path"),
        ("prithvi_refine", "runtime.data_dir"),
    ],
)
def test_names_of_the_documents_stay(registry, task, name):
    load_settings(registry.get("task", task).Settings, None, [f"{name}=there"])
