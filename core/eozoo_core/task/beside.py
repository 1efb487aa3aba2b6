"""Files that stay beside the checkpoints of a run: too large for the survey, needed by maps and scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.checkpoint import sha256, write_atomic
from eozoo_core.run.rank import is_first_process

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run


def keep_beside(run: Run, files: Sequence[Path]) -> None:
    """Copy files into the run, from the first process; run.json names each by its hash. See ``Task.beside``."""
    if not files or not is_first_process():
        return
    for file in files:
        content = file.read_bytes()
        write_atomic(run.path / file.name, lambda target, content=content: target.write(content))
    run.note("beside", {file.name: sha256(file) for file in files})


def files_beside(folder: Path) -> list[Path]:
    """Return the files that the run in ``folder`` keeps. Raises ZooError where one is gone or is another one now."""
    noted = json.loads((folder / "run.json").read_text()).get("beside", {})
    for name, digest in noted.items():
        file = folder / name
        if not file.exists() or sha256(file) != digest:
            raise ZooError(f"{file}: is missing or not the one that training kept; copy the whole run directory again")
    return [folder / name for name in noted]
