"""Long work in items that goes on where it was stopped: what is done lies in a hidden folder until all of it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eozoo_core.run.lease import held
from eozoo_core.run.parsed import read_json
from eozoo_core.run.pool import Pool
from eozoo_core.run.writing import discard, make_folder
from eozoo_core.run.written import write_text


@dataclass(frozen=True)
class Unfinished:
    """The hidden ``folder``, which workers write into, and the results of items that are done."""

    folder: Path

    def results(
        self,
        pool: Pool,
        function: Callable[[Any], Any],
        items: Mapping[str, Any],
        show: Callable[[int, str], None] = lambda done, name: None,
    ) -> list[Any]:
        """Return ``function`` of every item, in their order; those that were done before the stop are not done again.

        items: name (of a file) -> item; results are plain JSON types. What an item makes lies in ``folder`` under names
        of its own. Raises the first ZooError of an item; what is done stays.
        """
        notes = {name: self.folder / f"{name}.done" for name in items}
        found = {name: read_json(note, remedy="delete it") for name, note in notes.items() if note.exists()}
        open_ = [name for name in items if name not in found]
        show(len(found), "")
        for outcome in pool.outcomes(function, (items[name] for name in open_)):
            name = open_[outcome.number]
            if outcome.error is not None:
                raise outcome.error
            write_text(notes[name], json.dumps(outcome.value))
            found[name] = outcome.value
            show(len(found), name)
        return [found[name] for name in items]


def folder_of(path: Path, stamp: str) -> Path:
    """Return the hidden folder of unfinished work on ``path``."""
    return path.with_name(f".{path.name}.{stamp[:16]}.unfinished")


@contextmanager
def unfinished(path: Path, stamp: str) -> Iterator[Unfinished]:
    """Yield what there is of the work that makes ``path``; it stays where the block is stopped, and goes at its end.

    stamp: of the settings and files that decide, see `written.stamp_of`; what was left of other work is removed. Raises
    ZooError while another process is at it.
    """
    folder = folder_of(path, stamp)
    with held(path.with_name(f".{path.name}.writer.json"), str(path)):
        for other in path.parent.glob(".*.unfinished"):
            if other != folder and other.name.rsplit(".", 2)[0] == f".{path.name}":
                discard(other)
        make_folder(folder)
        try:
            yield Unfinished(folder)
        except BaseException:
            with suppress(OSError):  # holds something
                folder.rmdir()
            raise
        discard(folder)
