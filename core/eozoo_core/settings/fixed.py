"""What a run fixes: what is learned. How that is logged, stored and read is free, field by field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from eozoo_core.settings.schema import BY_CONTENT, FIXED_SCOPES, FREE, is_group


def is_free(cls: type[BaseModel], name: str) -> bool:
    """Whether field ``name`` of a group is free although its scope is fixed. A subclass need not repeat it."""
    return _marked(cls, name, FREE)


def by_content(cls: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted keys of the paths of which only what lies there counts."""
    found = []
    for name, field in cls.model_fields.items():
        if is_group(field):
            found += by_content(field.annotation, f"{prefix}{name}.")
        elif _marked(cls, name, BY_CONTENT):
            found.append(f"{prefix}{name}")
    return found


def fixed_part(cls: type[BaseModel], values: dict) -> dict:
    """Return what a run fixes of all settings, given and returned as plain dicts."""
    return {scope: _pruned(_group(cls, scope), values.get(scope) or {}) for scope in FIXED_SCOPES}


def with_fixed(cls: type[BaseModel], values: dict, fixed: dict) -> dict:
    """Return ``values`` with everything that a run fixes as in ``fixed``; both are plain dicts of all settings."""
    return _put(values, fixed_part(cls, fixed), cls)


def fixed_key(cls: type[BaseModel], key: str, value: Any) -> str | None:
    """Return the first fixed setting that ``key=value`` would change, None where it only touches free ones."""
    scope, *names = key.split(".")
    if scope not in FIXED_SCOPES:
        return None
    group = _group(cls, scope)
    for name in names:
        if group is None or is_free(group, name):
            return None if group is not None else key
        group = _group(group, name)
    if group is None or not isinstance(value, dict):
        return key
    return next((found for k, v in value.items() if (found := fixed_key(cls, f"{key}.{k}", v))), None)


def _group(cls: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    field = cls.model_fields.get(name) if cls is not None else None
    return field.annotation if field is not None and is_group(field) else None


def _pruned(cls: type[BaseModel] | None, values: Any) -> Any:
    if cls is None or not isinstance(values, dict):
        return values
    return {name: _pruned(_group(cls, name), value) for name, value in values.items() if not is_free(cls, name)}


def _put(values: dict, fixed: dict, cls: type[BaseModel]) -> dict:
    groups = {name: _group(cls, name) for name in fixed}
    return values | {
        name: _put(values.get(name) or {}, value, group) if (group := groups[name]) is not None else value
        for name, value in fixed.items()
        if name in values or value
    }


def _marked(cls: type[BaseModel], name: str, mark: dict) -> bool:
    fields = [base.model_fields[name] for base in cls.__mro__ if name in getattr(base, "model_fields", {})]
    return any(mark.items() <= (field.json_schema_extra or {}).items() for field in fields)
