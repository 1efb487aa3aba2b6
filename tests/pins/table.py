"""The committed table of what may differ: renames and deliberate changes (``renames.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from pins.store import Items, Key

_ALSO = {
    "settings": {"settings", "defaults"},
    "tensors": {"tensors", "export"},
    "keys": {"log", "scores", "json", "state", "info"},
}


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
            found = self._renamed(self._moved(key))
            if found is None:
                continue
            if found in renamed:
                raise SystemExit(f"renames: two things of the older recording become {found}; correct the table")
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

    def _moved(self, key: Key) -> Key:
        """The key with its file renamed."""
        for rename in self.renames:
            if rename.kind == "files" and fnmatchcase(key.case, rename.case):
                name = _in_middle(key.name, rename, "/") if key.kind == "files" else key.name
                moved = key._replace(file=_in_middle(key.file, rename, "/"), name=name)
                rename.used |= moved != key
                key = moved
        return key

    def _renamed(self, key: Key) -> Key | None:
        """The key with its name renamed by the first entry that speaks of it; None for a setting that is gone."""
        for rename in self.renames:
            if rename.old is None or not rename.covers(key.case, key.kind):
                continue
            if rename.kind == "settings":
                rest = below(key.name, rename.old)
                name = key.name if rest is None else None if rename.new is None else rename.new + rest
            else:
                name = _in_middle(key.name, rename, ".")
            if name != key.name:
                rename.used = True
                return None if name is None else key._replace(name=name)
        return key


def below(name: str, group: str) -> str | None:
    """Return what follows ``group`` in ``name``: "" for itself, ".y" for a part of it, None for anything else."""
    rest = name.removeprefix(group)
    return rest if name.startswith(group) and (not rest or rest[0] == ".") else None


def _in_middle(text: str, rename: Rename, mark: str) -> str:
    """``text`` with the words of ``rename.old``, wherever they follow each other in it, replaced."""
    found, old = text.split(mark), rename.old.split(mark)
    for start in range(len(found) - len(old) + 1):
        if found[start : start + len(old)] == old:
            return mark.join([*found[:start], *rename.new.split(mark), *found[start + len(old) :]])
    return text
