"""Names to specs, from the entry points of installed packages. A broken plugin is a listed problem, never a crash."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import pluggy
from eozoo_core import hookspecs
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.slots import misfit
from eozoo_core.spec import KINDS, Spec

from eozoo import compat, switches
from eozoo.installed import GROUP, called, installed, normal, version_of
from eozoo.names import FIRST_PARTY, PLURAL, Entry, Names, claimed, suggestion

HOOKS = {"task": "eozoo_tasks", "model": "eozoo_models", "dataset": "eozoo_datasets", "loss": "eozoo_losses"}
# What a value may be where an option's default is of a plain type; any other default says nothing about it.
_CHECKED = {bool: bool, int: int, float: (int, float), str: str}


class Problem:
    """A plugin, or one name in it, that cannot be used, and why. ``plugin`` is "distribution version"."""

    def __init__(self, plugin: str, error: BaseException):
        self.plugin, self.error = plugin, error

    def __repr__(self) -> str:
        return f"Problem({self.plugin!r}, {self.error!r})"

    @property
    def reason(self) -> str:
        """Return the reason in one line."""
        text = " ".join(str(self.error).split()) or type(self.error).__name__
        return text if isinstance(self.error, ZooError) else f"{type(self.error).__name__}: {text}"


class Registry:
    """Every spec of every plugin. An object, not a module global: tests and tasks get their own."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._names = Names()
        self.own: Entry | None = None  # the task that this registry was given to, see `within`
        self._home: tuple[str, ...] = ()
        self._noticed: set[str] = set()  # tasks of an older api, told once
        self.problems: list[Problem] = []
        self.disabled: list[str] = []  # what to type for the plugins that are switched off

    @classmethod
    def discover(cls, skip: Iterable[str] = ()) -> Registry:
        """Load every entry point of group "eozoo", in the order of distribution names.

        Left out are those that the user has switched off, those in ``skip`` (`Plugin.key`), and those built for another
        core.
        """
        registry, off, points = cls(), switches.disabled(), installed()
        core = next((p.version for p in points if p.distribution == "eozoo"), None) or version_of("eozoo")
        for point in points:
            if switches.is_off(point, off):
                registry.disabled.append(called(point))
            elif unmet := compat.built_for_another(point.requires, core):
                reason = f"it was built for {unmet}, installed is {core}; update the plugin or eozoo"
                registry.problems.append(Problem(point.label, ZooError(reason)))
            elif point.key not in skip:
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
            try:
                self._names.add(entry)
            except ZooError as error:
                self.problems.append(Problem(plugin, error))

    def _declared(self, kind: str, module: Any, plugin: str) -> Iterable[Entry]:
        for hook in getattr(self._manager.hook, HOOKS[kind]).get_hookimpls():
            if hook.plugin is not module:
                continue
            specs = hook.function()
            if not isinstance(specs, (list, tuple)) or not all(isinstance(s, Spec) for s in specs):
                raise ZooError(f"{HOOKS[kind]} returned {specs!r}, expected a list of Spec")
            yield from (Entry(kind, plugin, spec) for spec in specs)

    def names(self, kind: str) -> list[str]:
        """Return what may be typed for one kind, sorted: names, and "distribution/name" where several claim a name."""
        return sorted(map(self.typed, self.entries(kind)))

    def typed(self, entry: Entry) -> str:
        """Return what to type for an entry; see `names`."""
        return self._names.typed(entry)

    def entries(self, kind: str) -> list[Entry]:
        """Return all entries of one kind by name; a name claimed twice is there twice."""
        return self._names.entries(kind)

    def everything(self) -> list[Entry]:
        """Return the entries of all kinds."""
        return [entry for kind in KINDS for entry in self.entries(kind)]

    def claims(self) -> list[str]:
        """Return a line for every name that several plugins claim: who, and what to write."""
        return [claimed(entries) for entries in self._names.claims()]

    def has(self, kind: str, name: str) -> bool:
        """Whether ``name`` or "distribution/name" means something."""
        return bool(self._names.matching(kind, name))

    def find(self, kind: str, name: str) -> Entry:
        """Return the entry of a name, or of "distribution/name". Raises ZooError if nobody or several plugins have it.

        See `within` for what a task's own plugin claims.
        """
        found = self._names.matching(kind, name)
        if not found:
            raise ZooError(self._unknown(kind, name))
        if len(found) > 1:
            raise ZooError(claimed(found))
        return found[0]

    def _unknown(self, kind: str, name: str) -> str:
        distribution, _, short = name.rpartition("/")
        package = distribution or (FIRST_PARTY.get(name, "") if kind == "task" else "")
        points = [point for point in installed() if normal(point.distribution) == normal(package)]
        declared = any(normal(e.distribution) == normal(package) for e in self.everything())
        if package and not declared and not points:
            return f"no {kind} {short!r}: it is in a package of its own; pip install {package}"
        if package and not declared and (off := [called(p) for p in points if called(p) in self.disabled]):
            return f"no {kind} {short!r}: its plugin is switched off; 'eozoo plugins enable {off[0]}'"
        broken = f" ({len(self.problems)} broken plugin(s): see 'eozoo doctor')" if self.problems else ""
        known = [e.spec.name if not distribution else e.qualified for e in self.entries(kind)]
        return f"no {kind} {name!r}.{suggestion(name, known, f'eozoo list {PLURAL[kind]}')}{broken}"

    def within(self, task: str, home: Iterable[str] = ()) -> Registry:
        """Return this registry as ``task`` sees it; ``own`` is the entry of that task.

        There a name means that of the task's own package where that claims it, then that of the distributions ``home``:
        what else is installed changes nothing. Raises ZooError as `find`.
        """
        seen = copy.copy(self)
        seen.own, seen._home = self.find("task", task), tuple(home)
        seen._names = self._names.within((seen.own.distribution, *seen._home))
        return seen

    def __reduce__(self) -> tuple[Callable, tuple]:
        """Go to another process by name: there the plugins are looked for again."""
        return _again, (self.own.qualified if self.own else None, self._home)

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
        return sorted(self.typed(e) for e in self.entries(slot.kind) if misfit(slot, e.spec, fed) is None)

    def get(self, kind: str, name: str) -> Any:
        """Import and return the class or function behind a name; an error in it keeps its traceback, with a note."""
        entry = self.find(kind, name)
        try:
            return self._speaking(entry, entry.spec.load())
        except ZooError:
            raise
        except Exception as error:
            from eozoo.probe import wrong_target

            if isinstance(error, (ImportError, AttributeError)) and (reason := wrong_target(entry.spec)):
                raise ZooError(f"{kind} {name!r} cannot be used: {reason}; report it to {entry.plugin}") from error
            error.add_note(f"while importing {kind} {name!r} from {entry.plugin}; report it to that plugin")
            raise

    def _speaking(self, entry: Entry, found: Any) -> Any:
        """Return the target of ``entry``. Raises ZooError for a task of an ``api`` that core does not speak."""
        if entry.kind == "task":
            from eozoo_core.api import ageing_api, wrong_api

            if wrong := wrong_api(found):
                raise ZooError(f"task {entry.spec.name!r} of {entry.plugin}: {wrong}")
            if (notice := ageing_api(found)) and entry.qualified not in self._noticed:
                from eozoo_core.run.progress import print_message

                self._noticed.add(entry.qualified)
                print_message(f"task {entry.spec.name!r} of {entry.plugin}: {notice}")
        return found

    def create(self, kind: str, name: str, options: dict[str, Any]) -> Any:
        """Build the model, loss or dataset called ``name`` with keyword ``options``.

        Raises ZooError for an option that it does not have, with a suggestion, and for one that it needs.
        """
        target = self.get(kind, name)
        parameters = inspect.signature(target).parameters.values()
        by_name = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        stands_for = by_name.pop("others", None)  # for another registered part, which has the options that it has not
        by_name = {n: p for n, p in by_name.items() if not (stands_for and n == "registry")}
        takes_any = stands_for or any(p.kind is p.VAR_KEYWORD for p in parameters)
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
        if stands_for:
            others = {option: value for option, value in options.items() if option not in by_name}
            own = {option: value for option, value in options.items() if option in by_name}
            options = {**own, "others": others}
        if any(p.name == "registry" for p in parameters):  # it is made of other registered parts
            options = {**options, "registry": self}
        return target(**options)


def _again(task: str | None, home: tuple[str, ...]) -> Registry:
    found = Registry.discover()
    return found.within(task, home) if task else found
