"""Checks of what a task declares: settings, signatures, sample. Nothing is trained here."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError

from eozoo.testing.equality import array_difference, tree
from eozoo.testing.shared_runs import Bench
from eozoo.testing.watch import ambient

MOST_PARAMETERS = 8


def settings_are_documented(bench: Bench, folder: Path) -> None:
    """Every setting, at every depth, has a description for ``eozoo config`` to print; every preset says what it is for.

    And a preset is settings of this task.
    """
    from eozoo_core.settings import TaskSettings
    from eozoo_core.settings.presets import given_settings, preset_about

    top = bench.task_class.Settings
    assert issubclass(top, TaskSettings), f"{top.__name__}: derive the task's Settings from eozoo_core.TaskSettings"
    bare = [name for name, field in _fields(top) if not (field.description or "").strip()]
    assert not bare, f"settings without description: {', '.join(bare)}; write Field(..., description='what, unit')"
    for name, file in bench.task_class.presets.items():
        assert Path(file).is_file(), f"preset {name!r}: {file} is not there; is it part of the package?"
        given_settings(bench.task_class, name, None)
        assert " " in preset_about(Path(file)), f"{file}: say in its first line, a comment, what preset {name!r} is for"


def settings_round_trip(bench: Bench, folder: Path) -> None:
    """Settings come back equal from YAML and from JSON, and an unknown key is refused at every depth."""
    import yaml
    from eozoo_core.settings.config import build_settings, to_dict, to_yaml

    settings = bench.sample.settings
    texts = {"YAML": yaml.safe_load(to_yaml(settings)), "JSON": json.loads(json.dumps(to_dict(settings)))}
    for kind, values in texts.items():
        again = build_settings(type(settings), values, f"settings read back from {kind}")
        assert again == settings, f"settings read back from {kind} differ: use plain types (numbers, strings, tuples)"
    for path in _groups(settings):
        values = to_dict(settings)
        group = values
        for key in path:
            group = group[key]
        group["no_such_setting"] = 1
        name = ".".join([*path, "no_such_setting"])
        try:
            build_settings(type(settings), values)
        except ZooError:
            continue
        raise AssertionError(
            f"the unknown key {name!r} was accepted: derive the group from eozoo_core.Settings and leave 'extra' alone"
        )


def parameters_are_named(bench: Bench, folder: Path) -> None:
    """No ``**kwargs`` and at most eight parameters, in the task's public methods and in the factories beside it."""
    task = bench.task_class
    found = {f"{task.__name__}.{name}": f for name, f in inspect.getmembers(task, callable) if not name.startswith("_")}
    found[f"{task.__name__}()"] = task.__init__
    for kind in ("model", "loss", "dataset"):
        for entry in bench.registry.entries(kind):
            if entry.plugin == bench.plugin and (factory := _loaded(entry.spec)) is not None:
                found[f"{kind} {entry.spec.name}"] = factory
    for name, function in found.items():
        if inspect.isclass(function) and not name.startswith(("model ", "loss ", "dataset ")):
            continue  # a nested class such as Settings, not a method
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in ("self", "cls")]
        stars = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
        assert not stars, f"{name} takes **{stars[0]}: name every parameter, so that a typing error is refused"
        assert len(parameters) <= MOST_PARAMETERS, f"{name} takes {len(parameters)} parameters, at most 8: group them"


def sample_is_repeatable(bench: Bench, folder: Path) -> None:
    """``sample`` writes the same bytes twice, whatever the random state around it, and only into its folder."""
    from eozoo_core.settings.config import to_dict

    first, root = bench.sample, bench.sample_root
    with ambient(2):
        second = bench.task_class.sample(folder / "again")
    one, two = tree(root), tree(folder / "again")
    changed = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    assert not changed, f"sample() wrote {', '.join(changed[:3])} differently again: use a generator of its own seed"
    texts = [
        json.dumps(to_dict(made.settings)).replace(str(where), "")
        for made, where in ((first, root), (second, folder / "again"))
    ]
    assert texts[0] == texts[1], "sample() returned other settings the second time"
    assert not (found := array_difference(first.batch, second.batch)), f"Sample.batch differs: {found}"
    source = Path(first.source)
    assert source.exists(), f"Sample.source {source} does not exist"
    assert source.is_relative_to(root), f"Sample.source {source} lies outside the folder given to sample()"


def _loaded(spec: Any) -> Any:
    try:
        return spec.load()
    except ZooError:  # an optional dependency is not installed here
        return None


def _fields(cls: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, field) of a settings class and of every settings class that it mentions."""
    for name, field in cls.model_fields.items():
        yield f"{prefix}{name}", field
        for inner in _settings_classes(field.annotation):
            yield from _fields(inner, f"{prefix}{name}.")


def _settings_classes(annotation: Any) -> Iterator[type]:
    from pydantic import BaseModel

    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _settings_classes(part)


def _groups(settings: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every group of settings, the top first."""
    from pydantic import BaseModel

    yield path
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _groups(value, (*path, name))
