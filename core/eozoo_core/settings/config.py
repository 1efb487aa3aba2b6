"""Settings in and out: YAML files, ``--set a.b=c``, the commented template, and differences between two sets."""

from __future__ import annotations

import copy
import typing
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.settings import Named, Settings, is_group, yamlio
from eozoo_core.settings.aliases import present_names, present_overrides
from eozoo_core.settings.fixed import is_free

S = TypeVar("S", bound=Settings)
_LONGEST = 200  # characters of a wrong value in a message
_LAST = "# end of settings"
_FIRST = f"# Settings, whole only down to the line: {_LAST}"


def load_settings(cls: type[S], file: Path | None = None, overrides: Iterable[str] = (), base: dict | None = None) -> S:
    """Build ``cls`` from its defaults, then ``base``, then a YAML file, then ``key=value`` strings; later wins.

    Groups are merged key by key, with the defaults of the task, which may differ from those of a group's class
    (``TrainSettings(epochs=3)``). Another name of a ``Named`` part drops the options of the one before. Names in
    ``cls.aliases`` are read as the present ones.
    Raises ZooError, one line naming the file or ``--set``, for an unreadable file, an unknown key or a bad value.
    """
    defaults = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, BaseModel)}
    values = {name: group.model_dump(mode="json") for name, group in defaults.items()}
    source = "settings"
    if base is not None:
        _merge(cls, values, present_names(cls, copy.deepcopy(base), source))
    if file is not None:
        source = str(file)
        _merge(cls, values, present_names(cls, read_yaml(file), source))
    # Names first: one given after its options would drop them.
    items = sorted(parse_overrides(cls, overrides), key=lambda item: not item[0].endswith(".name"))
    for key, value in items:
        _assign(cls, values, key.split("."), value)
        source = f"{file} with --set" if file is not None else "--set"
    return build_settings(cls, values, source)


def parse_overrides(cls: type[Settings], overrides: Iterable[str]) -> list[tuple[str, Any]]:
    """Return ``key=value`` strings as (dotted key, value), under the present names. Raises ZooError otherwise."""
    items = []
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ZooError(f"--set {item!r}: write it as key=value, for example train.epochs=10")
        items.append((key, _parse(text, _takes_numbers(cls, key))))
    return present_overrides(cls, items)


def build_settings(cls: type[S], values: dict, source: str = "settings") -> S:
    """Build ``cls`` from a plain dict. Raises ZooError naming ``source`` and the field."""
    try:
        return cls.model_validate(present_names(cls, values, source))
    except ValidationError as error:
        raise ZooError(f"{source}: {_first_problem(cls, error)}") from None


def read_yaml(file: Path) -> dict:
    """Read a YAML mapping. Raises ZooError where the file is missing, not YAML or not a mapping."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        values = yamlio.parse(text)
    except IsADirectoryError:
        raise ZooError(f"{file}: is a folder; give a YAML file of settings") from None
    except OSError as error:
        raise ZooError(f"{file}: cannot be read ({error.strerror}); 'eozoo config TASK > {file}' writes one") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ZooError(f"{file}{_position(error)}; 'eozoo config TASK' shows how settings are written") from None
    if problem := _cut_short(text):
        raise ZooError(f"{file}: {problem}")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ZooError(f"{file}: holds a {type(values).__name__}, expected 'scope: settings' lines; see 'eozoo config'")
    return values


def to_dict(settings: Settings) -> dict:
    """Return plain JSON types; ``build_settings(type(s), to_dict(s)) == s``."""
    return settings.model_dump(mode="json")


def to_yaml(settings: Settings) -> str:
    """Return commented YAML: every field under its description, with its choices and range; it says where it ends."""
    lines = "\n".join(_yaml_lines(settings, 0)).strip()
    return f"{_FIRST}\n\n{lines}\n\n{_LAST}\n"


def differences(old: dict, new: dict, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, old value, new value) for every leaf that differs between two plain dicts."""
    for key in [*old, *(k for k in new if k not in old)]:
        a, b, name = old.get(key), new.get(key), f"{prefix}{key}"
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{name}.")
        elif a != b:
            yield name, a, b


def leaf(values: Any, key: str) -> Any:
    """Return what stands under a dotted ``key`` of a plain dict, None where nothing does."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _cut_short(text: str) -> str:
    """What shows that the end of a file is lost, "" where nothing does: what is not there would get its default."""
    lines = text.rstrip().splitlines()
    if _FIRST in lines and lines[-1] != _LAST:
        return f"is cut short: it lacks its last line, {_LAST!r}; write it again, or delete its line {_FIRST!r}"
    last = lines[-1].split(" #")[0].rstrip() if lines else ""
    if not text.endswith("\n") and last.endswith(":") and not last.lstrip().startswith("#"):
        return f"ends in the middle of {last.strip()!r}; write the rest, or a line break where nothing is lost"
    return ""


def _position(error: Exception) -> str:
    """Where a file stops to be YAML, and why: ", line 3: is not YAML (mapping values are not allowed here)"."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return f": is not YAML ({' '.join(str(error).split())})"
    return f", line {mark.line + 1}: is not YAML ({problem})"


def _parse(text: str, numbers: bool) -> Any:
    try:
        return yamlio.parse(text, numbers)
    except yaml.YAMLError:
        return text


def _takes_numbers(cls: type[BaseModel], key: str) -> bool:
    """Whether a number may stand under ``key``: not where its field is of texts or paths (a folder "2022") alone."""
    *groups, last = key.split(".")
    owner = _owner(cls, tuple(groups))
    field = owner.model_fields.get(last) if owner is not None else None
    kinds = set(_plain_types(field.annotation)) if field is not None else set()
    return not kinds & {str, Path} or not kinds <= {str, Path, type(None), Ellipsis}


def _plain_types(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of: of ``tuple[str, ...] | None`` str, ... and None."""
    if typing.get_origin(annotation) is typing.Literal:
        yield from map(type, typing.get_args(annotation))
    elif inner := typing.get_args(annotation):
        for part in inner:
            yield from _plain_types(part)
    else:
        yield annotation


def _merge(cls: type[BaseModel] | None, into: dict, new: dict) -> None:
    """Put ``new`` over ``into``, group by group; a value that is itself a mapping (``options``) is replaced whole."""
    if cls is not None and issubclass(cls, Named) and new.get("name", into.get("name")) != into.get("name"):
        into["options"] = {}
    for older, newer in getattr(cls, "earlier", {}).items():
        if newer in new:
            into.pop(older, None)
    for key, value in new.items():
        group = _owner(cls, (key,)) if cls else None
        if isinstance(value, dict) and isinstance(into.get(key), dict) and group is not None:
            _merge(group, into[key], value)
        elif value is not None or group is None:  # a group with all its lines deleted changes nothing
            into[key] = value


def _assign(cls: type[BaseModel], values: dict, keys: list[str], value: Any) -> None:
    item = ".".join(keys)
    for key in keys[:-1]:
        if values.get(key) is None:  # not given, or a group whose lines were all deleted
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            raise ZooError(f"--set {item}: {key!r} is a value, not a group of settings")
    _merge(_owner(cls, tuple(keys[:-1])), values, {keys[-1]: value})


def _first_problem(cls: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {where!r}." + _known(cls, first["loc"])
    if first["type"] == "missing":
        return f"setting {where!r} is missing; give it in the file or with --set {where}=..."
    group = _owner(cls, first["loc"])
    if first["type"] in ("model_type", "model_attributes_type", "dict_type") and group is not None:
        example = f"{where}.{next(iter(group.model_fields), 'key')}"
        return f"{where} is a group of settings, got {first['input']!r}; give one of them, for example {example}"
    if first["type"] in ("tuple_type", "list_type") and isinstance(first["input"], (str, int, float)):
        return f"{where} is a list: write it as [{first['input']}]"
    if first["type"] == "string_type" and isinstance(first["input"], (int, float)):
        return f"{where} is text: write it in quotes, '{first['input']}'"
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    got = "" if isinstance(first["input"], (dict, BaseModel)) else f", got {_short(first['input'])}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {message}{got}{more}" if first["loc"] else f"{message}{more}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"


def _known(cls: type[BaseModel], path: tuple) -> str:
    """Suggest for the unknown setting ``path``: a neighbour of its group, or the same name in another group."""
    owner = _owner(cls, path[:-1])
    if owner is None:
        return ""
    last, prefix = str(path[-1]), "".join(f"{part}." for part in path[:-1])
    groups = {name: _owner(cls, (name,)) for name in cls.model_fields}
    elsewhere = [f"{name}.{last}" for name, group in groups.items() if group and last in group.model_fields]
    if elsewhere:
        return f" Did you mean {' or '.join(repr(e) for e in elsewhere)}?"
    for old, alias in getattr(cls, "aliases", {}).items():
        if get_close_matches(f"{prefix}{last}", [old], cutoff=0.9):
            return f" Did you mean {alias.new!r}?"
    return did_you_mean(f"{prefix}{last}", [f"{prefix}{field}" for field in owner.model_fields])


def _owner(cls: type[BaseModel], path: tuple) -> type[BaseModel] | None:
    """The settings class that ``path`` leads to, for suggesting among its fields."""
    for part in path:
        field = cls.model_fields.get(str(part))
        if field is None or not is_group(field):
            return None
        cls = field.annotation
    return cls


def _yaml_lines(settings: BaseModel, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        free = " Free at any time." if is_free(type(settings), name) else ""
        yield f"{pad}# {_comment(field)}{free}"
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:" + ("" if type(value).model_fields else " {}")
            yield from _yaml_lines(value, depth + 1)
        else:
            plain = settings.model_dump(mode="json", include={name})[name]
            yield f"{pad}{name}: {yamlio.dump(plain)}"
        if depth == 0:
            yield ""


def _comment(field: FieldInfo) -> str:
    parts = [" ".join((field.description or "").split())]
    choices = _choices(field.annotation)
    if choices:
        parts.append(f"One of: {', '.join(choices)}.")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{s} {getattr(m, k)}" for m in field.metadata for k, s in signs.items() if getattr(m, k, None) is not None
    ]
    if limits:
        parts.append(f"({', '.join(limits)})")
    if field.default is PydanticUndefined and field.default_factory is None:
        parts.append("Required.")
    return " ".join(p for p in parts if p)


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(a) for a in typing.get_args(annotation)]
    return [c for a in typing.get_args(annotation) for c in _choices(a)]
