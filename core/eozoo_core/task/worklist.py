"""``DEST/scenes.jsonl``: what became of every scene of a list, and so what is left to do.

A line is added when a scene is known, done or failed; the last word on a scene counts, and "open" is none. Several
machines may add lines to one file: a line that another one cut is passed over, and its scene's maps tell by their stamp
that they are finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_address, shown, variable_of
from eozoo_core.run.continuity import now
from eozoo_core.run.owner import Owner
from eozoo_core.run.writing import append, make_folder_of
from eozoo_core.task.made_from import are_there, seen

FILE = "scenes.jsonl"
_MOST = 100  # files that a line names; a scene of more is opened to see whether it is done


@dataclass(frozen=True)
class Outcome:
    """What became of a scene.

    scene:   its name in the work list.
    state:   "open", "done", "left" (its maps were there, made from the same), "failed" or "busy" (another worker's).
    why:     one line, of a failed scene; who maps it, of a busy one.
    files:   what was written for it, and what was left.
    stamp:   of its maps; see `made_from`. made: of run and settings. reads: its sources, with size and time of change.
    seconds: of reading, computing and writing. masked: share of pixels without a prediction. outside: share of the
             input values outside what training saw. None = not known.
    notes:   what was decided while it was opened.
    """

    scene: str
    state: str = "open"
    why: str = ""
    files: tuple[Path, ...] = ()
    stamp: str = ""
    made: str = ""
    reads: tuple[tuple[str, Any], ...] = ()
    seconds: float | None = None
    masked: float | None = None
    outside: float | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)


class WorkList:
    """The list of one output folder. ``names``: of the scenes that are wanted, in their order."""

    def __init__(self, dest: Path, names: Sequence[str]):
        self.dest, self.file, self.names = dest, dest / FILE, tuple(names)
        self._known = self._read()

    def begin(self) -> None:
        """Add the scenes that the list does not have. Raises ZooError where nothing can be written."""
        self._add([{"scene": name, "state": "open"} for name in self.names if name not in self._known])

    def note(self, outcome: Outcome) -> None:
        """Add a line for a scene that is done or failed, unless the list says just that."""
        if outcome.state not in ("done", "left", "failed"):
            return
        line = self._line(outcome)
        before = self._known.get(outcome.scene, {})
        if outcome.state == "left" and all(
            before.get(name) == line[name] for name in ("state", "made", "reads", "files")
        ):
            return
        self._add([{**line, "when": now(), "by": str(Owner.here())}])

    def finished(self, name: str, made: str) -> Outcome | None:
        """Return what the list says of a scene that is done with the same run and settings, or None.

        Its sources are unchanged, and all its files are there in their size, without a look into a source.
        """
        line = self._known.get(name, {})
        if line.get("state") != "done" or not made or line.get("made") != made or not line.get("reads"):
            return None
        files = {self.dest / file: size for file, size in line["files"].items()}
        if any(map(changed, line["reads"])) or any(_size(file) != size for file, size in files.items()):
            return None
        if not are_there([file for file in files if file.suffix in (".tif", ".zarr")], line["stamp"]):
            return None
        return Outcome(name, "left", files=tuple(files), stamp=line["stamp"], made=made)

    def is_open(self, name: str) -> bool:
        """Whether nothing ever became of a scene."""
        return self._known.get(name, {}).get("state", "open") == "open"

    def counts(self) -> dict[str, int]:
        """Return how many of the wanted scenes are done, failed and open."""
        states = [self._known.get(name, {}).get("state", "open") for name in self.names]
        return {state: states.count(state) for state in ("done", "failed", "open")}

    def _line(self, outcome: Outcome) -> dict[str, Any]:
        done = outcome.state != "failed"
        line: dict[str, Any] = {"scene": outcome.scene, "state": "done" if done else "failed"}
        if not done:
            return line | {"why": outcome.why, "made": outcome.made, "reads": []}
        reads = [[name, was] for name, was in outcome.reads] if len(outcome.reads) <= _MOST else []
        files = {file.relative_to(self.dest).as_posix(): _size(file) for file in outcome.files}
        line |= {"files": files, "stamp": outcome.stamp, "made": outcome.made, "reads": reads}
        shares = {"seconds": outcome.seconds, "masked": outcome.masked, "outside": outcome.outside}
        return line | {name: round(value, 6) for name, value in shares.items() if value is not None}

    def _add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        if not lines:
            return
        make_folder_of(self.file)
        try:
            append(self.file, "".join(json.dumps(line) + "\n" for line in lines))
        except BaseException:
            if self.file.exists() and not self.file.stat().st_size:
                self.file.unlink()
            raise
        self._keep(lines)

    def _read(self) -> dict[str, dict[str, Any]]:
        self._known: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            self._keep([line for line in map(_parsed, self.file.read_text(errors="replace").splitlines()) if line])
        return self._known

    def _keep(self, lines: Sequence[Mapping[str, Any]]) -> None:
        for line in lines:
            if line["state"] != "open" or line["scene"] not in self._known:
                self._known[line["scene"]] = json.loads(json.dumps(line))


def _parsed(text: str) -> dict[str, Any] | None:
    """A line of the list; None for one that is cut or of something else."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(line, dict) and isinstance(line.get("scene"), str) and isinstance(line.get("state"), str)
    return line if whole and isinstance(line.get("files", {}), dict) else None


def changed(read: Sequence[Any]) -> bool:
    """Whether a source is another one than it was. What lies elsewhere and cannot be looked at now is the same."""
    name, was = read
    now_seen = seen(Path(name))
    return now_seen != was and not (is_address(name) and now_seen == [name])


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else -1


def names_of(found: Sequence[Any], source: Path) -> list[str]:
    """Return a name for each of ``Task.find_scenes``: where it lies below ``source``, else its own."""
    names: list[str] = []
    for one in found:
        name = _name_of(one, source)
        names.append(name if name not in names else f"{name} ({names.count(name) + 1})")
    return names


def require_own_names(found: Sequence[Any]) -> None:
    """Raise ZooError where two files would give maps of one name, each written over the other."""
    known: dict[tuple[str, str], Path] = {}
    for one in (one for one in found if isinstance(one, Path)):
        key = (variable_of(one) or one.stem, one.suffix.lower())
        if key in known:
            raise ZooError(f"{known[key]} and {one}: their maps would have one name; map them into two folders")
        known[key] = one


def _name_of(one: Any, source: Path) -> str:
    if isinstance(one, tuple) and one and isinstance(one[0], Path):
        return str(one[0].parent)
    one = one[0] if isinstance(one, tuple) and one else one
    if isinstance(one, Path):
        return one.relative_to(source).as_posix() if one != source and one.is_relative_to(source) else shown(one)
    return str(getattr(one, "name", one))
