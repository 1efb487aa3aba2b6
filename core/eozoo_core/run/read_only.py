"""A run that cannot be written, on a read-only disk or of another user: it is used, and its reports are not kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eozoo_core.run.directory import Run


@contextmanager
def writable(run: Run) -> Iterator[tuple[Run, str]]:
    """Yield a run that reports may be written into, and why that is not ``run`` itself; "" = it is.

    The other one is a temporary folder of links to the files of ``run``, without its reports; it is gone afterwards.
    """
    try:
        with tempfile.TemporaryFile(dir=run.path):
            reason = ""
    except OSError as error:
        reason = error.strerror or type(error).__name__
    if not reason:
        yield run, ""
        return
    with tempfile.TemporaryDirectory(prefix="eozoo-") as folder:
        place = Path(folder) / run.path.absolute().name
        place.mkdir()
        for file in run.path.iterdir():
            if not file.name.startswith("eval_"):
                (place / file.name).symlink_to(file.absolute(), target_is_directory=file.is_dir())
        yield Run(place, run.task, run.settings), reason
