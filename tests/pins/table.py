"""The committed table of what may differ: renames and deliberate changes (``renames.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from pins.store import Items, Key

_ALSO = {"settings": {"settings", "defaults"}, "tensors": {"tensors", "export"}}


@dataclass
class Rename:
    """One thing under two names; None on one side = the other side alone has it. ``used`` = it matched something."""

    kind: str
    old: str | None
    new: str | None
    case: str = "*"
    value: Any = None
    why: str = ""
    used: bool = False

    def __str__(self) -> str:
        return f"rename of {self.kind} {self.old} -> {self.new}"

    def covers(self, case: str, kind: str) -> bool:
        """Whether it speaks of such items."""
        return fnmatchcase(case, self.case) and kind in _ALSO.get(self.kind, {self.kind})


@dataclass
class Change:
    """A wanted change: a pattern of keys, the reason, and the largest difference that it explains (None = any)."""

    where: str
    why: str
    within: float | None = None
    used: bool = False

    def __str__(self) -> str:
        return f"change of {self.where} ({self.why})"


@dataclass
class Table:
    """All renames and changes."""

    renames: list[Rename] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Table:
        """Read the file. Ends the program with one line where an entry is not what the file's head describes."""
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}
        try:
            renames = [Rename(**entry) for entry in content.get("renames") or []]
            changes = [Change(**entry) for entry in content.get("changes") or []]
        except TypeError as error:
            raise SystemExit(f"{file}: {error}; its head says how entries are written") from None
        for rename in renames:
            if [rename.old, rename.new].count(None) > (rename.kind == "settings"):
                raise SystemExit(f"{file}: {rename}: give old and new; only a setting may have one alone")
        return cls(renames, changes)

    def stale(self) -> list[str]:
        """Return the entries that matched nothing."""
        return [str(entry) for entry in [*self.renames, *self.changes] if not entry.used]

    def old_settings(self, case: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Return settings in the names of the older commit."""
        found = {}
        for name, value in settings.items():
            for rename in self._of(case):
                if rename.new is not None and (rest := below(name, rename.new)) is not None:
                    name = None if rename.old is None else rename.old + rest
                    break
            if name is not None:
                found[name] = value
        return {**found, **{r.old: r.value for r in self._of(case) if r.new is None and r.value is not None}}

    def new_settings(self, case: str, settings: dict[str, Any]) -> dict[str, Any]:
        """Return settings with those that the table gives to the newer commit alone."""
        return {**settings, **{r.new: r.value for r in self._of(case) if r.old is None and r.value is not None}}

    def in_new_names(self, items: Items) -> Items:
        """Return the older recording under the names of the newer one, without the settings that are gone."""
        renamed: Items = {}
        for key, value in items.items():
            found = self._renamed(key)
            if found is not None:
                renamed[found] = value
        return renamed

    def is_new_setting(self, key: Key) -> bool:
        """Whether the table says that only the newer commit has this setting."""
        for rename in self.renames:
            if rename.old is None and rename.covers(key.case, key.kind) and below(key.name, rename.new) is not None:
                rename.used = True
                return True
        return False

    def explained(self, key: Key, gap: float | None) -> bool:
        """Whether a change covers a difference of ``gap`` (None = not a number)."""
        for change in self.changes:
            if fnmatchcase(str(key), change.where) and (
                change.within is None or (gap is not None and gap <= change.within)
            ):
                change.used = True
                return True
        return False

    def _of(self, case: str) -> list[Rename]:
        return [rename for rename in self.renames if rename.covers(case, "settings")]

    def _renamed(self, key: Key) -> Key | None:
        for rename in self.renames:
            if rename.old is None or not fnmatchcase(key.case, rename.case):
                continue
            if rename.kind == "files":
                moved = key._replace(file=_in_path(key.file, rename))
                if key.kind == "files":
                    moved = moved._replace(name=_in_path(key.name, rename))
                rename.used |= moved != key
                key = moved
            elif rename.covers(key.case, key.kind) and (place := _place(key, rename)) is not None:
                rename.used = True
                if rename.new is None:
                    return None
                return key._replace(name=place)
        return key


def below(name: str, group: str) -> str | None:
    """Return what follows ``group`` in ``name``: "" for itself, ".y" for a part of it, None for anything else."""
    rest = name.removeprefix(group)
    return rest if name.startswith(group) and (not rest or rest[0] == ".") else None


def _place(key: Key, rename: Rename) -> str | None:
    """The new name of ``key``, "" for one that is gone, None where the rename does not speak of it."""
    head, name = "", key.name
    if key.kind == "log":  # NNN.train.loss: the number of the line comes first
        head, _, name = name.partition(".")
        head += "."
    rest = below(name, rename.old)
    return None if rest is None else head + (rename.new or "") + rest


def _in_path(path: str, rename: Rename) -> str:
    parts, old = path.split("/"), rename.old.split("/")
    for start in range(len(parts) - len(old) + 1):
        if parts[start : start + len(old)] == old:
            return "/".join([*parts[:start], *rename.new.split("/"), *parts[start + len(old) :]])
    return path
