"""Files that stay beside the checkpoints of a run: too large for the survey, needed by maps and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.run.checkpoint import sha256
from eozoo_core.run.continuity import run_info
from eozoo_core.run.manifest import require_beside
from eozoo_core.run.rank import is_first_process
from eozoo_core.run.written import copy_file

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run


class Beside:
    """Names and hashes of the files as a part of a checkpoint: best.pt says what it needs."""

    def __init__(self, named: dict[str, str]):
        self.named = named

    def state_dict(self) -> dict[str, Any]:
        """Return name -> SHA-256."""
        return dict(self.named)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """A run that goes on keeps the files of today's data, which ``Run.check_data`` found to be the same."""


def keep_beside(run: Run, files: Sequence[Path]) -> dict[str, Beside]:
    """Copy files into the run, from the first process; return what checkpoints say of them. See ``Task.beside``."""
    if not files:
        return {}
    named = {file.name: sha256(file) for file in files}
    if is_first_process():
        for file in files:
            copy_file(file, run.path / file.name)
        run.note("beside", named)
    return {"beside": Beside(named)}


def files_beside(folder: Path) -> list[Path]:
    """Return the files that the run in ``folder`` keeps. Raises ZooError where one is gone or is another one now."""
    noted = run_info(folder).get("beside", {})
    require_beside(noted, folder / "best.pt")
    return [folder / name for name in noted]
