"""Rasters of one grid as one: their bands behind one another, named DATE_BAND where the files are dates."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import misfit
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import Openable, Reader, open_reader
from eozoo_core.raster.tiles import Window

_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")


def date_of(path: Path | Openable) -> str:
    """Return the date in a file's name, or of a scene of several files, as 20200531; "" where there is none."""
    if isinstance(path, Openable):
        return path.date
    found = _DATE.search(path.stem)
    return "".join(found.groups()) if found else ""


def by_date(files: Sequence[Path]) -> list[Path]:
    """Return dates in their order. Raises ZooError where two files are of one, or a file of several has none."""
    dates = [date_of(file) for file in files]
    for i, (file, date) in enumerate(zip(files, dates, strict=True)):
        if len(files) > 1 and not date:
            raise ZooError(f"{file}: has no date in its name, as in 20200531; several rasters are dates "
                           "of one place (gdalbuildvrt makes one of several places)")  # fmt: skip
        if date and date in dates[:i]:
            raise ZooError(f"{file}: is of the date of {files[dates.index(date)].name}; keep one of them")
    return [file for _, file in sorted(zip(dates, files, strict=True))]


class Stack(Reader):
    """Rasters of one grid, open in the process that reads them; ``info`` is that of one file with all their bands.

    Of several, bands are called DATE_NAME. Raises ZooError where one lies on another grid or has other bands.
    """

    def __init__(self, files: Sequence[Path], missing: Sequence[float] = ()):
        self.files, self._missing = by_date(files), tuple(missing)
        self._open: dict[int, list[Reader]] = {}
        infos = [reader.info for reader in self._readers()]
        for info in infos[1:]:
            if problem := misfit(info.grid, infos[0].grid, str(self.files[0])):
                raise ZooError(f"{info.path}: {problem}; dates lie on one grid")
        self.info = infos[0] if len(infos) == 1 else _joined(infos, [date_of(file) for file in self.files])
        self._owner = [(i, band) for i, info in enumerate(infos) for band in range(1, info.count + 1)]
        self.block_rows = max(reader.block_rows for reader in self._readers())

    def read(self, window: Window, bands: Sequence[int] | None = None) -> np.ndarray:
        """See `RasterReader.read`. Only those files are read whose bands are asked for."""
        bands = tuple(self.info.bands if bands is None else bands)
        owners, readers = [self._owner[band - 1] for band in bands], self._readers()
        for reader in readers:
            reader.fillers = self.fillers
        if len({file for file, _ in owners}) == 1:
            return readers[owners[0][0]].read(window, [band for _, band in owners])
        out = np.empty((len(bands), window.height, window.width), np.float32)
        for number, reader in enumerate(readers):
            mine = [i for i, (file, _) in enumerate(owners) if file == number]
            if mine:
                out[mine] = reader.read(window, [owners[i][1] for i in mine])
        return out

    def close(self) -> None:
        """Close the files; reading opens them again."""
        for reader in self._open.pop(os.getpid(), ()):
            reader.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def _readers(self) -> list[Reader]:
        """Files that this process opened: one that a fork shares with its parent would share its place in it too."""
        if os.getpid() not in self._open:
            self._open = {os.getpid(): [open_reader(file, self._missing) for file in self.files]}
        return self._open[os.getpid()]


def _joined(infos: Sequence[RasterInfo], dates: Sequence[str]) -> RasterInfo:
    first = infos[0]
    for info in infos[1:]:
        if len(info.bands) != len(first.bands):
            raise ZooError(f"{info.path}: has {len(info.bands)} bands, {first.path} {len(first.bands)}")
    starts = np.cumsum([0, *(info.count for info in infos[:-1])])
    names = tuple(
        f"{date}_{text or f'band {n}'}"
        for info, date in zip(infos, dates)
        for n, text in enumerate(info.descriptions, 1)
    )
    fields = ("dtypes", "nodata", "units", "scales", "offsets")
    many: dict[str, Any] = {field: sum((getattr(info, field) for info in infos), ()) for field in fields}
    data = tuple(int(start) + band for start, info in zip(starts, infos) for band in info.bands)
    return replace(first, path=f"{first.path} and {len(infos) - 1} more", data=data, descriptions=names, **many)
