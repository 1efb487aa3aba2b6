"""Settings: what is written reads back, mistakes are one line that names file and field."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import yaml
from eozoo_core import EvalSettings, InferSettings, RuntimeSettings, Settings, TaskSettings, TrainSettings, ZooError
from eozoo_core.settings import FREE, Named, PrepareSettings, ScheduleSettings, like
from eozoo_core.settings.config import build_settings, differences, load_settings, read_yaml, to_dict, to_yaml
from eozoo_core.settings.presets import given_settings, preset_about
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError


class Net(Named):
    name: str = Field("unet", description="Network.")
    options: dict[str, Any] = Field({"width": 64}, description="Options.")
    loss: Named = Field(Named(name="nll", options={"clip": 1e-7}), description="Loss.")


class Every(Settings):
    """One field of every kind that settings use."""

    flag: bool = Field(False, description="A flag.")
    count: int = Field(3, ge=1, lt=10, description="A count.")
    rate: float = Field(1e-7, description="A rate.")
    text: str = Field("off", description="Text.")
    choice: Literal["off", "on"] | None = Field("off", description="A choice.")
    bands: tuple[int | str, ...] | None = Field(None, description="Bands.")
    root: Path | None = Field(None, description="A folder.")
    limits: tuple[float, ...] = Field((1e-7, 2.0), description="Limits.")
    options: dict[str, Any] = Field(default_factory=dict, description="Free options.")


class Zoo(TaskSettings):
    model: Net = Field(Net(), description="The network.")
    data: Every = Field(Every(), description="The data,\nin two lines.")
    train: TrainSettings = Field(
        TrainSettings(epochs=7, schedule=ScheduleSettings(name="cosine", warmup_steps=20)), description="Training."
    )


def message(call, *args, **kwargs):
    with pytest.raises(ZooError) as error:
        call(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def through_file(settings, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(settings), encoding="utf-8")
    return load_settings(type(settings), file)


@pytest.mark.parametrize(
    "one",
    [
        Zoo(train=TrainSettings(learning_rate=1e-7, weight_decay=1e-8, epochs=None, steps=5, clip_norm=None)),
        TrainSettings(learning_rate=1e-7, schedule=ScheduleSettings(name="multistep", milestones=(3, 10))),
        RuntimeSettings(device="cuda:1", wandb="offline", threads=2),
        InferSettings(),
        EvalSettings(),
        PrepareSettings(),
        Named(name="a", options={"lr": 1e-7, "none": None, "nested": {"text": "1e-7", "list": [True, "no"]}}),
    ],
    ids=lambda s: type(s).__name__,
)
def test_yaml_round_trip(one, tmp_path):
    assert through_file(one, tmp_path) == one
    assert build_settings(type(one), to_dict(one)) == one
    # Any other reader of YAML finds the same, so that nobody needs this package to read a run.
    assert build_settings(type(one), yaml.safe_load(to_yaml(one)) or {}) == one


texts = st.text(max_size=8) | st.sampled_from(
    ["1e-7", "off", "no", "1:30", "2024-01-01", "0x1F", "~", "010", "...", "a\nb"]
)
floats = st.floats(allow_nan=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.builds(
        Every,
        flag=st.booleans(),
        count=st.integers(1, 9),
        rate=floats,
        text=texts,
        choice=st.sampled_from(["off", "on", None]),
        bands=st.none() | st.lists(st.integers() | texts, max_size=3).map(tuple),
        limits=st.lists(floats, max_size=3).map(tuple),
        options=st.dictionaries(texts, plain, max_size=3),
    )
)
@example(Every(options={"far": math.inf, "text": "1e-7"}))
@settings(max_examples=40)
def test_yaml_round_trip_of_any_value(tmp_path_factory, every):
    zoo = Zoo(data=every)
    assert through_file(zoo, tmp_path_factory.getbasetemp()) == zoo
    assert build_settings(Zoo, yaml.safe_load(to_yaml(zoo))) == zoo


def test_every_value_stays_on_its_line():
    text = to_yaml(Every(text="a\nb", options={"note": "c\n\td"}))
    assert '\ntext: "a\\nb"\n' in text
    assert '\noptions: {note: "c\\n\\td"}\n' in text


def test_nan_survives(tmp_path):
    assert math.isnan(through_file(Every(rate=math.nan), tmp_path).rate)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("data.rate=1e-7", "rate", 1e-7),
        ("data.choice=off", "choice", "off"),  # YAML 1.1 reads off as false
        ("data.choice=null", "choice", None),
        ("data.text=2024-01-01", "text", "2024-01-01"),  # YAML 1.1 reads a date
        ("data.text=a=b", "text", "a=b"),
        ("data.text=''", "text", ""),
        ("data.text='8'", "text", "8"),
        ("data.text=007", "text", "007"),  # only text is wanted
        ("data.root=2022", "root", Path("2022")),  # a year is a folder too
        ("data.bands=[B4, 7]", "bands", ("B4", 7)),
        ("data.options.lr=1e-7", "options", {"lr": 1e-7}),
        ("data.options={lr: 1e-7, on: off}", "options", {"lr": 1e-7, "on": "off"}),
        ("data.flag=true", "flag", True),
        ("data.count=08", "count", 8),  # YAML 1.1 tries octal
    ],
)
def test_set(text, field, value):
    found = getattr(load_settings(Zoo, overrides=[text]).data, field)
    assert found == value
    assert type(found) is type(value)


def test_later_wins_and_the_rest_stays(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("data: {count: 5, options: {a: 1}}\ntrain:\n")
    s = load_settings(Zoo, file, ["data.count=6", "data.count=7", "data={rate: 2}", "train.seed=4"])
    assert (s.data.count, s.data.rate, s.data.options, s.train.seed) == (7, 2.0, {"a": 1}, 4)


def test_a_group_given_in_part_keeps_the_defaults_of_its_task():
    """The task trains 7 epochs with a cosine; TrainSettings itself would say 100 epochs, constant."""
    s = load_settings(Zoo, overrides=["train.batch_size=4", "train.schedule.warmup_steps=50"])
    assert s == Zoo(
        train=TrainSettings(epochs=7, batch_size=4, schedule=ScheduleSettings(name="cosine", warmup_steps=50))
    )


def test_a_field_like_that_of_another_class_has_its_words_limits_and_marks():
    class Short(TrainSettings):
        epochs: int | None = like(TrainSettings, "epochs", 3)
        log_every: int = like(TrainSettings, "log_every", 5)

    assert (Short().epochs, Short().log_every, TrainSettings().log_every) == (3, 5, 20)
    assert Short.model_fields["epochs"].description == TrainSettings.model_fields["epochs"].description
    assert Short.model_fields["log_every"].json_schema_extra == FREE
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Short(epochs=0)


def test_another_name_drops_the_options_of_the_one_before():
    assert load_settings(Zoo, overrides=["model.loss.options={clip: 2}"]).model == Net(
        loss=Named(name="nll", options={"clip": 2})
    )
    assert load_settings(Zoo, overrides=["model.options.depth=2"]).model.options == {"width": 64, "depth": 2}
    s = load_settings(Zoo, overrides=["model.name=vit", "model.loss.name=mse"])
    assert (s.model.options, s.model.loss.options) == ({}, {})
    for order in (1, -1):  # whichever stands first on the command line
        s = load_settings(Zoo, overrides=["model.name=vit", "model.options.depth=2"][::order])
        assert s.model.options == {"depth": 2}
        assert s.model.loss == Zoo().model.loss
    assert load_settings(Zoo, overrides=["model.name=unet"]).model == Net()


def test_base_lies_between_defaults_and_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("model: {options: {c: 3}}\ntrain: {seed: 2}\n")
    base = {"model": {"name": "vit", "options": {"b": 2}}, "train": {"seed": 1, "batch_size": 5}}
    s = load_settings(Zoo, file, ["train.log_every=9"], base)
    assert (s.model.name, s.model.options) == ("vit", {"c": 3})
    assert (s.train.seed, s.train.batch_size, s.train.epochs, s.train.log_every) == (2, 5, 7, 9)
    assert base["train"] == {"seed": 1, "batch_size": 5}


def test_empty_groups_mean_defaults(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("train:\ninfer:\nmodel:\n  options:\n  loss:\n")
    assert load_settings(Zoo, file) == Zoo(model=Net(options={}))
    assert load_settings(Zoo, file, ["train.seed=1"]).train.epochs == 7
    file.write_text("")
    assert load_settings(Zoo, file) == Zoo()


def test_unknown_key_names_file_and_suggests(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("train:\n  learnig_rate: 0.1\n")
    text = message(load_settings, Zoo, file)
    assert str(file) in text
    assert "'train.learnig_rate'" in text
    assert "Did you mean 'train.learning_rate'?" in text
    assert "Did you mean 'train.schedule.warmup_steps'?" in message(
        load_settings, Zoo, None, ["train.schedule.warmup_step=1"]
    )
    assert "--set: unknown setting 'trian'. Did you mean 'train'?" in message(
        load_settings, Zoo, None, ["trian.seed=1"]
    )
    with pytest.raises(ValidationError):
        Zoo(train={"nonsense": 1})


def test_bad_values_name_the_field():
    assert "train.batch_size: Input should be greater than or equal to 1, got 0" in message(
        load_settings, Zoo, None, ["train.batch_size=0"]
    )
    assert "'off' or 'on', got False" in message(load_settings, Zoo, None, ["data.choice=false"])
    text = message(load_settings, Zoo, None, ["train.epochs=null"])
    assert text.endswith("train: give 'epochs' or 'steps': training must end")
    assert message(load_settings, Zoo, None, ["data.bands=B4"]).endswith("data.bands is a list: write it as [B4]")
    assert "data.text is text: write it in quotes, '8'" in message(load_settings, Zoo, None, (), {"data": {"text": 8}})
    assert "write it as key=value" in message(load_settings, Zoo, None, ["train.seed"])
    assert "'seed' is a value, not a group" in message(load_settings, Zoo, None, ["train.seed=1", "train.seed.x=1"])

    class Needs(Settings):
        place: str = Field(description="Place.")

    assert "'place' is missing" in message(load_settings, Needs)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a: [1", "is not YAML"),
        (b"- a\n- b\n", "holds a list"),
        (b"\xff\xfe", "is not YAML"),
        (b"train: {seed: 1, seed: 2}", "key 'seed' stands twice"),
        (b"1.5: 2", "key 1.5 is not text"),
        (b"a: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_unreadable_files(tmp_path, content, complaint):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    text = message(read_yaml, file)
    assert str(file) in text
    assert complaint in text


def test_missing_file(tmp_path):
    assert "eozoo config" in message(read_yaml, tmp_path / "none.yaml")


def test_template_comments_every_field():
    text = to_yaml(Zoo())
    assert "# The data, in two lines.\ndata:" in text
    assert "  # A count. (>= 1, < 10)\n  count: 3\n" in text
    assert "  # A choice. One of: off, on.\n  choice: 'off'\n" in text
    warmup = ScheduleSettings.model_fields["warmup_steps"].description
    assert f"    # {warmup} (>= 0)\n    warmup_steps: 20\n" in text  # the default of the task, not of the class

    def check(cls):
        for field in cls.model_fields.values():
            assert field.description, f"{cls.__name__} has a field without a description"
            assert f"# {' '.join(field.description.split())}" in text
            if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
                check(field.annotation)

    check(Zoo)


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Zoo().train.seed = 3


def test_differences():
    old = {"train": {"seed": 0, "schedule": {"name": "cosine"}}, "data": {"a": 1, "gone": 2}}
    new = {"train": {"seed": 0, "schedule": {"name": "constant"}}, "data": {"a": 1, "new": 3}}
    assert list(differences(old, new)) == [
        ("train.schedule.name", "cosine", "constant"),
        ("data.gone", 2, None),
        ("data.new", None, 3),
    ]
    assert list(differences(old, old)) == []


def test_presets(tmp_path):
    task = SimpleNamespace(Settings=Zoo, presets={"fast": tmp_path / "quick.yaml"})
    (tmp_path / "quick.yaml").write_text("# For a first look\ndata: {count: 5, text: a}\n")
    (tmp_path / "own.yaml").write_text("data: {text: b}\n")
    assert preset_about(task.presets["fast"]) == "For a first look"
    found = given_settings(task, "fast", tmp_path / "own.yaml", ["data.rate=2"])
    assert (found.data.count, found.data.text, found.data.rate) == (5, "b", 2.0)
    assert "no preset 'fats'. Did you mean 'fast'?" in message(given_settings, task, "fats", None)
    assert given_settings(task, "quick", None).data.count == 5  # as its file is called
    for name in ("quick.yaml", "fast", "fast.yaml", "configs/hardware.fast.yaml"):
        assert "no such file; the plugin's own is --preset fast" in message(given_settings, task, None, Path(name))
    assert "cannot be read" in message(given_settings, task, None, Path("other.yaml"))


@pytest.mark.parametrize("value", ["!!int a", "!!int [1]", "!!float ''", "!!bool x", "!!timestamp x", "!!set [a]"])
def test_a_named_type_that_does_not_fit_is_one_line(value, tmp_path):
    (tmp_path / "own.yaml").write_text(f"data: {{count: {value}}}\n")
    assert "own.yaml: is not YAML (a value is not of the type" in message(load_settings, Zoo, tmp_path / "own.yaml")
    assert "data.count" in message(load_settings, Zoo, None, [f"data.count={value}"])
