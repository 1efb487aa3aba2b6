"""HDF5 and NetCDF-4 files as h5py opens them: what the library cannot read is one line, a bug keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from eozoo_core.run.parsed import unreadable

REMEDY = "fetch it again"


@contextmanager
def hdf5(path: Path | str, what: str = "HDF5", remedy: str = REMEDY) -> Iterator[None]:
    """Turn what h5py itself raises into ``ZooError("<path>: cannot be read as <what> (<reason>); <remedy>")``.

    h5py raises almost anything for a damaged file. An error from outside of it is a bug of ours and goes through.
    """
    try:
        yield
    except Exception as error:
        if not _raised_in("h5py", error.__traceback__):
            raise
        raise unreadable(path, what, error, remedy) from error


def _raised_in(package: str, trace: TracebackType | None) -> bool:
    """Whether an error came out of a package, by the last frame of its traceback."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == package
