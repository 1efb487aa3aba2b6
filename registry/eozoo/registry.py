"""Names to specs, from the entry points of installed packages. A broken plugin is a listed problem, never a crash."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pluggy
from eozoo_core import hookspecs
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.slots import misfit
from eozoo_core.spec import KINDS, Spec

from eozoo import compat, switches
from eozoo.installed import GROUP, installed, version_of

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = {"task": "eozoo_tasks", "model": "eozoo_models", "dataset": "eozoo_datasets", "loss": "eozoo_losses"}
SHIPPED = ("barlow_twins", "clay_ta", "gedi_sparse", "prithvi_refine")  # tasks of eozoo's own packages

# What a value may be where an option's default is of a plain type; any other default says nothing about it.
_CHECKED = {bool: bool, int: int, float: (int, float), str: str}


@dataclass(frozen=True)
class Problem:
    """A plugin, or one name in it, that cannot be used, and why. ``plugin`` is "distribution version"."""

    plugin: str
    error: BaseException

    @property
    def reason(self) -> str:
        """Return the reason in one line."""
        text = " ".join(str(self.error).split()) or type(self.error).__name__
        return text if isinstance(self.error, ZooError) else f"{type(self.error).__name__}: {text}"


@dataclass(frozen=True)
class Entry:
    """A spec and the plugin ("distribution version") that declares it."""

    kind: str
    plugin: str
    spec: Spec


class Registry:
    """Every spec of every plugin. An object, not a module global: tests and tasks get their own."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in KINDS}
        self.problems: list[Problem] = []
        self.disabled: list[str] = []  # entry points that are switched off

    @classmethod
    def discover(cls, skip: Iterable[str] = ()) -> Registry:
        """Load every entry point of group "eozoo", in the order of distribution names.

        Left out are those that the user has switched off, those in ``skip``, and those built for another core.
        """
        registry, off, core = cls(), switches.disabled(), version_of("eozoo")
        for point in installed():
            if point.name in off:
                registry.disabled.append(point.name)
            elif unmet := compat.built_for_another(point.requires, core):
                reason = f"it was built for {unmet}, installed is {core}; update the plugin or eozoo"
                registry.problems.append(Problem(point.label, ZooError(reason)))
            elif point.name not in skip:
                registry.add(point.load, point.label)
        return registry

    def add(self, load: Callable[[], Any], plugin: str) -> None:
        """Take all specs of the module that ``load()`` returns, or none and a Problem if anything is wrong with it."""
        module = None
        try:
            module = load()
            self._manager.register(module)  # under its own name: a distribution may have several plugins
            self._manager.check_pending()  # a hook name or argument that no hookspec has
            found = [entry for kind in KINDS for entry in self._declared(kind, module, plugin)]
            if not found:
                raise ZooError("it declares nothing; is @hookimpl missing?")
        except (Exception, SystemExit) as error:  # whatever a stranger's module does, the rest of the zoo works
            if module is not None and self._manager.is_registered(module):
                self._manager.unregister(module)
            self.problems.append(Problem(plugin, error))
            return
        for entry in found:
            others = self._entries[entry.kind].setdefault(entry.spec.name, [])
            others.append(entry)
            if len(others) > 1:
                self.problems.append(Problem(plugin, ZooError(_claimed(entry.kind, entry.spec.name, others))))

    def _declared(self, kind: str, module: Any, plugin: str) -> Iterable[Entry]:
        for hook in getattr(self._manager.hook, HOOKS[kind]).get_hookimpls():
            if hook.plugin is not module:
                continue
            specs = hook.function()
            if not isinstance(specs, (list, tuple)) or not all(isinstance(s, Spec) for s in specs):
                raise ZooError(f"{HOOKS[kind]} returned {specs!r}, expected a list of Spec")
            yield from (Entry(kind, plugin, spec) for spec in specs)

    def names(self, kind: str) -> list[str]:
        """Return the names of one kind, sorted."""
        return sorted(self._entries[kind])

    def entries(self, kind: str) -> list[Entry]:
        """Return all entries of one kind by name; a name claimed twice is there twice."""
        return [entry for name in self.names(kind) for entry in self._entries[kind][name]]

    def find(self, kind: str, name: str) -> Entry:
        """Return the entry of a name. Raises ZooError if nobody or more than one plugin has it."""
        found = self._entries[kind].get(name, [])
        if not found:
            package = f"eozoo-{name.replace('_', '-')}"
            if kind == "task" and name in SHIPPED and not any(p.distribution == package for p in installed()):
                raise ZooError(f"no task {name!r}: it is a package of its own; pip install {package}")
            broken = f" ({len(self.problems)} broken plugin(s): see 'eozoo doctor')" if self.problems else ""
            raise ZooError(f"no {kind} {name!r}.{did_you_mean(name, self._entries[kind])}{broken}")
        if len(found) > 1:
            raise ZooError(_claimed(kind, name, found))
        return found[0]

    def of_run(self, name: str, path: Path) -> Any:
        """Return the class of task ``name``, for the run at ``path``.

        Raises ZooError where it is not there, by the plugin that the run was trained with.
        """
        from eozoo_core.run.continuity import run_info

        info = run_info(path)
        plugin = str(info.get("plugin", ""))
        if not plugin or info.get("task") != name or name in self._entries["task"]:
            return self.get("task", name)
        package = plugin.partition(" ")[0]
        points = [point for point in installed() if point.distribution == package]
        if not points:
            why = f"which is not installed; pip install {package}"
        elif points[0].name in self.disabled:
            why = f"which is switched off; 'eozoo plugins enable {points[0].name}'"
        else:
            why = f"and {points[0].label} gives no task {name!r}; see 'eozoo doctor', or install that version"
        raise ZooError(f"{path}: was trained with {plugin}, {why}")

    def check_slots(self, task: Any, settings: Any, scope: str = "") -> None:
        """Check that what ``settings`` name fits into the slots of the class ``task``, without importing any of it.

        ``scope``: only slots whose path begins so.

        Raises ZooError, one line, for a name that does not exist or whose declared Ports do not fit.
        """
        for path, slot in task.slots.items():
            part = attrgetter(path)(settings)
            if not path.startswith(scope) or part is None:
                continue  # not asked for, or left to the task
            spec, fed = self.chosen(slot, part), ()
            if slot.after:
                fed = self.chosen(task.slots[slot.after], attrgetter(slot.after)(settings)).gives
            if problem := misfit(slot, spec, fed):
                fits = ", ".join(self.fitting(slot, fed)) or "none"
                raise ZooError(f"{path}.name: {slot.kind} {spec.name!r} does not fit: {problem}. What fits: {fits}.")

    def chosen(self, slot: Any, part: Any) -> Spec:
        """Return the Spec of what ``part`` of the settings names in ``slot``; its options may decide its Ports."""
        return self.find(slot.kind, part.name).spec.with_options(self, slot, part.options)

    def fitting(self, slot: Any, fed: tuple = ()) -> list[str]:
        """Return the names of everything registered that fits into ``slot``, sorted."""
        return [e.spec.name for e in self.entries(slot.kind) if misfit(slot, e.spec, fed) is None]

    def get(self, kind: str, name: str) -> Any:
        """Import and return the class or function behind a name; an error in it keeps its traceback, with a note."""
        entry = self.find(kind, name)
        try:
            return entry.spec.load()
        except ZooError:
            raise
        except Exception as error:
            from eozoo.probe import wrong_target

            if isinstance(error, (ImportError, AttributeError)) and (reason := wrong_target(entry.spec)):
                raise ZooError(f"{kind} {name!r} cannot be used: {reason}; report it to {entry.plugin}") from error
            error.add_note(f"while importing {kind} {name!r} from {entry.plugin}; report it to that plugin")
            raise

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build the model, loss or dataset called ``name`` with keyword ``options``.

        Raises ZooError for an option that it does not have, with a suggestion, and for one that it needs.
        """
        target = self.get(kind, name)
        parameters = inspect.signature(target).parameters.values()
        by_name = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        for option in options:
            if option not in by_name and not takes_any:
                raise ZooError(f"{kind} {name!r} has no option {option!r}.{did_you_mean(option, by_name)}")
        for option, parameter in by_name.items():
            if parameter.default is parameter.empty and option not in options:
                raise ZooError(f"{kind} {name!r} needs the option {option!r}")
        for option, value in options.items():
            expected = type(by_name[option].default) if option in by_name else None
            if expected in _CHECKED and not isinstance(value, _CHECKED[expected]):
                raise ZooError(f"{kind} {name!r}: option {option!r} is a {expected.__name__}, got {value!r}")
        if "registry" in by_name:  # it is made of other registered parts
            options = {**options, "registry": self}
        return target(**options)


def _claimed(kind: str, name: str, entries: list[Entry]) -> str:
    return f"{kind} {name!r} is claimed by {' and '.join(e.plugin for e in entries)}; switch one off: 'eozoo plugins'"
