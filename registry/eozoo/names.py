"""What names mean: which plugin claims one, how it is typed, and what to say of one that nobody has."""

from __future__ import annotations

from collections.abc import Iterable

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.spec import KINDS, Spec

from eozoo.installed import normal

PLURAL = {"task": "tasks", "model": "models", "dataset": "datasets", "loss": "losses"}
FIRST_PARTY = {  # task -> the package of this repository that has it
    "barlow_landcover": "eozoo-barlow-twins",
    "barlow_twins": "eozoo-barlow-twins",
    "clay_ta": "eozoo-clay-ta",
    "gedi_sparse": "eozoo-gedi-sparse",
    "prithvi_refine": "eozoo-prithvi-refine",
}
_FEW = 6  # names that a message may list


class Entry:
    """A spec and the plugin ("distribution version") that declares it."""

    def __init__(self, kind: str, plugin: str, spec: Spec):  # written out: a dataclass compiles itself at every start
        self.kind, self.plugin, self.spec = kind, plugin, spec

    @property
    def distribution(self) -> str:
        """The plugin without its version."""
        return distribution_of(self.plugin)

    @property
    def qualified(self) -> str:
        """Return "distribution/name", which means this entry whatever else is installed."""
        return f"{self.distribution}/{self.spec.name}"


class Names:
    """All entries by kind and name. A name that several plugins claim is typed as "distribution/name".

    home: distributions that a bare name means first, where they claim it: those of a task at work.
    """

    def __init__(self, entries: dict[str, dict[str, list[Entry]]] | None = None, home: Iterable[str] = ()):
        self._entries = {kind: {} for kind in KINDS} if entries is None else entries
        self.home = tuple(normal(distribution) for distribution in home)

    def within(self, home: Iterable[str]) -> Names:
        """Return the same entries with another ``home``."""
        return Names(self._entries, home)

    def add(self, entry: Entry) -> None:
        """Take an entry. Raises ZooError for one that its own distribution has already."""
        others = self._entries[entry.kind].setdefault(entry.spec.name, [])
        if any(normal(other.distribution) == normal(entry.distribution) for other in others):
            raise ZooError(f"it declares the {entry.kind} {entry.spec.name!r} twice; the first is used")
        others.append(entry)

    def entries(self, kind: str) -> list[Entry]:
        """Return all entries of one kind by name; a name claimed twice is there twice."""
        return [entry for _, entries in sorted(self._entries[kind].items()) for entry in entries]

    def claims(self) -> list[list[Entry]]:
        """Return the entries of every name that several plugins claim."""
        return [found for kind in KINDS for _, found in sorted(self._entries[kind].items()) if len(found) > 1]

    def typed(self, entry: Entry) -> str:
        """Return what to type for an entry: its name, or "distribution/name" where the name means another one too."""
        return entry.spec.name if self.matching(entry.kind, entry.spec.name) == [entry] else entry.qualified

    def matching(self, kind: str, name: str) -> list[Entry]:
        """Return what ``name`` or "distribution/name" means: one entry, none, or several that claim it."""
        distribution, _, short = name.rpartition("/")
        found = self._entries[kind].get(short, [])
        for wanted in [normal(distribution)] if distribution else self.home:
            own = [entry for entry in found if normal(entry.distribution) == wanted]
            if own or distribution:
                return own
        return found


def distribution_of(plugin: str) -> str:
    """Return the distribution of "distribution version"."""
    return plugin.rpartition(" ")[0] or plugin


def claimed(entries: list[Entry]) -> str:
    """Return in one line who claims a name, and what to write instead."""
    first = entries[0]
    who, how = (" and ".join(e.plugin for e in entries), " or ".join(repr(e.qualified) for e in entries))
    return f"{first.kind} {first.spec.name!r} is claimed by {who}; write {how}"


def suggestion(name: str, known: Iterable[str], listing: str) -> str:
    """Return what may have been meant; a few names are listed, for more there is the command ``listing``."""
    known, words = sorted(set(known)), set(name.split("_"))
    said = did_you_mean(name, known)
    if len(known) <= _FEW or said.startswith(" Did"):
        return said
    near = [other for other in known if words & set(other.split("_")) or name in other][:3]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else f" {listing!r} shows all {len(known)}."
