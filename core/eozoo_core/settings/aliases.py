"""Other names of settings: those of the documents, and those of earlier versions, read as the present ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.settings.schema import Settings


def present_names(cls: type[Settings], values: dict, source: str) -> dict:
    """Return plain ``values`` with every other name replaced by the present one.

    Raises ZooError naming ``source`` and both names where a setting is given under both.
    """
    result: dict = {}
    moved: list[tuple[str, str, Any]] = []
    for key, value in values.items():
        kept, found = _split(cls, key, value)
        moved += found
        if kept is not None or not found:
            result[key] = kept
    for old, new, value in moved:
        group = result
        *path, name = new.split(".")
        for part in path:
            if group.get(part) is None:
                group[part] = {}
            group = group[part]
            if not isinstance(group, dict):
                raise ZooError(f"{source}: {part!r} is a group of settings, got {group!r}")
        if name in group:
            raise _twice(source, old, new)
        group[name] = value
    return result


def present_overrides(cls: type[Settings], items: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Do the same for parsed ``--set`` items, (dotted key, value), in their order."""
    result: list[tuple[str, Any]] = []
    old_of: dict[str, str] = {}
    given: set[str] = set()
    for key, value in items:
        kept, found = _split(cls, key, value)
        if kept is not None or not found:
            result.append((key, kept))
            given |= {key, *(f"{key}.{name}" for name in kept)} if isinstance(kept, dict) else {key}
        for old, new, present in found:
            old_of[new] = old
            result.append((new, present))
    for new, old in old_of.items():
        if new in given:
            raise _twice("--set", old, new)
    return result


def _split(cls: type[Settings], key: str, value: Any) -> tuple[Any, list[tuple[str, str, Any]]]:
    """What of ``key: value`` stays under this key (None = nothing), and (old, new, value) of what has other names."""
    aliases = {old: alias for base in reversed(cls.__mro__) for old, alias in getattr(base, "aliases", {}).items()}
    if key in aliases:
        return None, [(key, aliases[key].new, aliases[key].value(value))]
    inside = [old for old in aliases if old.startswith(f"{key}.")]
    if not inside or not isinstance(value, dict):
        return value, []
    value, found = copy.deepcopy(value), []
    for old in inside:
        *path, name = old.removeprefix(f"{key}.").split(".")
        group: Any = value
        for part in path:
            group = group.get(part) if isinstance(group, dict) else None
        if isinstance(group, dict) and name in group:
            found.append((old, aliases[old].new, aliases[old].value(group.pop(name))))
    return value, found


def _twice(source: str, old: str, new: str) -> ZooError:
    return ZooError(f"{source}: {old!r} and {new!r} are two names of one setting; give {new!r} only")
