"""Which plugins a run was trained with, and whether they are there."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError

from eozoo.installed import called, installed, normal
from eozoo.names import distribution_of

if TYPE_CHECKING:
    from eozoo.registry import Registry


def parts_of(registry: Registry, task: Any, settings: Any) -> dict[str, str]:
    """Return the plugin of every slot of the class ``task`` whose part is of another package than the task, for a run.

    ``registry``: that of the task, see `Registry.within`.
    """
    named = {path: attrgetter(path)(settings) for path in task.slots}
    found = {path: registry.find(task.slots[path].kind, part.name) for path, part in named.items() if part is not None}
    return {path: entry.plugin for path, entry in found.items() if entry.distribution != registry.own.distribution}


def registry_of(registry: Registry, name: str, path: Path) -> Registry:
    """Return `Registry.within` for the run at ``path``, of task ``name``: with the plugins that it was trained with.

    Raises ZooError where one of these is not there, by the plugin and version that the run recorded.
    """
    from eozoo_core.run.continuity import run_info

    info = run_info(path)
    plugin, parts = str(info.get("plugin", "")), info.get("parts", {})
    if " " in plugin and info.get("task") == name.rpartition("/")[2]:
        task = info["task"]
        whole = f"{distribution_of(plugin)}/{task}"
        if "/" in name and normal(name.partition("/")[0]) != normal(distribution_of(plugin)):
            raise ZooError(f"{path}: was trained with {plugin}, not with {name!r}; write {whole!r}")
        if not registry.has("task", whole):
            raise ZooError(f"{path}: was trained with {plugin}, {_why(registry, plugin, f'task {task!r}')}")
        name = whole
    for setting, other in parts.items():
        if not _declares(registry, distribution_of(other)):
            raise ZooError(f"{path}: its {setting} was trained with {other}, {_why(registry, other, setting)}")
    return registry.within(name, map(distribution_of, parts.values()))


def _declares(registry: Registry, package: str) -> bool:
    return any(normal(entry.distribution) == normal(package) for entry in registry.everything())


def _why(registry: Registry, plugin: str, what: str) -> str:
    package = distribution_of(plugin)
    points = [point for point in installed() if normal(point.distribution) == normal(package)]
    if not points:
        return f"which is not installed; pip install {package}"
    if off := [called(point) for point in points if called(point) in registry.disabled]:
        return f"which is switched off; 'eozoo plugins enable {off[0]}'"
    return f"and {points[0].label} gives no {what}; see 'eozoo doctor', or install that version"
