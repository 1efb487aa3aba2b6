"""What was decided while the files of a split are read: packing that is undone, bands that hide pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo_core.task.data import Data

_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".nc", ".img")
_MOST = 20  # headers that are looked at, evenly spread


def reading_notes(data: Data) -> list[str]:
    """Return "FILE: note" for rasters of a split; of many files some. What cannot be read is said by who reads it."""
    from eozoo_core.raster.read import read_info

    files = [file for file in data.files if file.suffix.lower() in _SUFFIXES]
    found = list(data.notes)
    for file in files[:: -(-len(files) // _MOST) or 1]:
        try:
            found += [f"{file.name}: {note}" for note in read_info(file).notes]
        except ZooError:
            continue
    return found
