"""What ``eozoo doctor`` finds in plugins that load: packages that they lack, targets that cannot be imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eozoo_core.api import wrong_api
from eozoo_core.errors import ZooError

from eozoo import compat, probe
from eozoo.registry import Problem
from eozoo.requirements import unmet

if TYPE_CHECKING:
    from eozoo.installed import Plugin
    from eozoo.names import Entry
    from eozoo.registry import Registry


def unmet_requirements(points: Iterable[Plugin]) -> list[Problem]:
    """Return a problem for every distribution whose declared requirements are not all installed."""
    found = []
    for label, requires in {point.label: point.requires for point in points}.items():
        if lacking := unmet(requires):
            said = ", ".join(f"{requirement}, {why}" for requirement, why in lacking)
            wanted = " ".join(f"'{requirement}'" for requirement, _ in lacking)
            found.append(Problem(label, ZooError(f"it requires {said}: pip install {wanted}")))
    return found


def broken_targets(registry: Registry) -> list[Problem]:
    """Import every target, and return a problem for each reason that several names of a plugin may share.

    What an absent extra asks for is no problem: see `warnings`.
    """
    entries = [entry for entry in registry.everything() if not entry.spec.lacking()]
    reasons: dict[tuple[str, str], list[Entry]] = {}
    for entry, target in zip(entries, probe.import_targets([entry.spec.target for entry in entries]), strict=True):
        if reason := _wrong(entry, target):
            reasons.setdefault((entry.plugin, reason), []).append(entry)
    return [
        Problem(plugin, ZooError(f"{', '.join(f'{e.kind} {e.spec.name!r}' for e in found)} cannot be used: {reason}"))
        for (plugin, reason), found in reasons.items()
    ]


def _wrong(entry: Entry, target: probe.Target) -> str:
    if not target.failure:
        return wrong_api(target) if entry.kind == "task" else ""
    if reason := probe.wrong_target(entry.spec):
        return reason
    module = entry.spec.target.partition(":")[0]
    if target.failure.startswith("ModuleNotFoundError") and target.lacks:
        return f"importing {module} fails; pip install the package that has the module {target.lacks!r}"
    return f"importing {module}: {target.failure}"


def warnings(registry: Registry, points: Iterable[Plugin]) -> list[dict[str, str]]:
    """Return what a user may want to know of a plugin though it works: absent extras, no upper bound on eozoo."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in registry.everything():
        if lacking := entry.spec.lacking():
            found.setdefault((entry.plugin, lacking), []).append(f"{entry.kind} {entry.spec.name!r}")
    said = [(plugin, f"{', '.join(names)}: to be used it needs {why}") for (plugin, why), names in found.items()]
    low, high = compat.core_range()
    for label, (package, requires) in {p.label: (p.distribution, p.requires) for p in points}.items():
        if package != "eozoo" and compat.is_open(requires):
            said.append((label, f"nothing bounds its eozoo from above: a later one may break it; eozoo>={low},<{high}"))
    return [{"plugin": plugin, "reason": reason} for plugin, reason in said]
