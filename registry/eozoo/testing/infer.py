"""Checks of the files that ``infer`` writes."""

from __future__ import annotations

import csv
import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from eozoo_core.errors import ZooError

from eozoo.testing.equality import tree
from eozoo.testing.forks import at_once, killed
from eozoo.testing.shared_runs import Bench

if TYPE_CHECKING:
    from rasterio import DatasetReader

_WRITER = "write with eozoo_core.run.written or raster.cog"
_RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class Mapped:
    """What one ``infer`` took, returned, and left: in the folder of its output, and in the temporary folder.

    at_once: exit codes and words of two processes that did it before, both at once, into the same folder, in which a
    third one had been killed.
    again: the maps of theirs that were made again.
    run, source: what was mapped, and with which run.
    """

    run: Path
    source: Path
    at_once: list[tuple[int, str]]
    again: list[str]
    sources: list[Path]
    tables: list[Path]
    returned: list[Path]
    left: set[Path]
    scratch: set[str]
    touched: set[str]
    units: dict[str, str]


def maps_are_real_maps(bench: Bench, folder: Path) -> None:
    """Maps have the CRS and bounds of their source, nodata and a unit in every band; a hole in the source stays one.

    A table comes back with all its rows and columns as they were, and predictions behind them.
    """
    mapped = mapped_sample(bench)
    rasters = [file for file in mapped.returned if file.suffix.lower() in _RASTERS]
    assert rasters or not mapped.sources, (
        "infer() was given rasters and returned no .tif: write maps with eozoo_core.raster.cog"
    )
    for file in rasters:
        _check_raster(file, mapped)
    for file in mapped.tables:
        _check_table(file, mapped)


def infer_leaves_nothing_else(bench: Bench, folder: Path) -> None:
    """``infer`` returns every file that it leaves: none temporary, also of one that was killed, none beside the source
    or in the run."""
    mapped = mapped_sample(bench)
    missing = [str(f) for f in mapped.returned if not f.is_file() or not f.stat().st_size]
    assert mapped.returned and not missing, f"infer() returned {missing or 'nothing'}, expected files that are there"
    more = sorted(f.name for f in mapped.left - {f.resolve() for f in mapped.returned})
    assert not more, f"infer() left {', '.join(more)} beside the files it returned: rename or remove temporary files"
    assert not mapped.scratch, f"infer() left {sorted(mapped.scratch)} in the temporary folder: remove it"
    assert not mapped.touched, f"infer() changed {sorted(mapped.touched)} in its source or run: write to dest only"


def infer_on_a_full_disk(bench: Bench, folder: Path) -> None:
    """On a full disk ``infer`` ends with a ZooError of one line and leaves no file: it writes with core's writer."""
    source, (task, run) = bench.source(folder / "source"), bench.open(bench.copy(bench.finished.path, folder))
    asked = []

    def full(handle: int) -> None:
        asked.append(handle)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch("os.fsync", full):
        try:
            task.infer(run, source, folder / "out")
        except ZooError as error:
            assert "\n" not in str(error), f"infer() on a full disk says more than one line: {error}"
        except Exception as error:
            raise AssertionError(f"infer() on a full disk raised {type(error).__name__}: {error}; {_WRITER}") from error
    assert asked, f"infer() synced no file to disk, so a full one leaves half a file: {_WRITER}"
    left = [file.name for file in (folder / "out").rglob("*") if file.is_file()]
    assert not left, f"infer() on a full disk left {', '.join(sorted(left))}: {_WRITER}"


def mapped_sample(bench: Bench) -> Mapped:
    """Map the sample's source, once: one process is killed at it, two do it at the same time, then this one again."""
    return bench.once("mapped", lambda: _infer(bench, bench.home / "mapped"))


def _infer(bench: Bench, folder: Path) -> Mapped:
    source = bench.source(folder / "source")
    path = bench.copy(bench.finished.path, folder)
    found = [source] if source.is_file() else sorted(source.rglob("*"))
    sources = [file for file in found if file.suffix.lower() in _RASTERS]
    for file in sources:
        _plant_hole(file)
    task, run = bench.open(path)
    before = {**tree(folder / "source"), **tree(path)}
    scratch, out = folder / "scratch", folder / "out"
    scratch.mkdir()
    out.mkdir()
    with patch("tempfile.tempdir", str(scratch)):
        killed(lambda: bench.new_task(run).infer(run, source, out / "maps"))
        others = at_once(*[lambda: bench.new_task(run).infer(run, source, out / "maps")] * 2)
        there = {file: file.stat().st_mtime_ns for file in out.rglob("*.tif")}
        returned = task.infer(run, source, out / "maps")
    after = {**tree(folder / "source"), **tree(path)}
    return Mapped(
        path,
        source,
        others,
        [file.name for file, changed in there.items() if file.stat().st_mtime_ns != changed],
        sources,
        [file for file in found if file.suffix.lower() == ".csv"],
        [Path(file) for file in returned],
        {file.resolve() for file in out.rglob("*") if file.is_file()},
        set(tree(scratch)),
        {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)},
        task.outputs(),
    )


def _plant_hole(file: Path) -> None:
    """Make the pixel in the middle of a raster missing, in all bands, where the file can say so."""
    import numpy as np
    import rasterio
    from rasterio.windows import Window

    # GDAL guards the layout of a cloud-optimised file; here it does not matter.
    with rasterio.open(file) as data:
        driver_options = {"IGNORE_COG_LAYOUT_BREAK": "YES"} if data.driver == "GTiff" else {}
    with rasterio.open(file, "r+", **driver_options) as data:
        missing = data.nodata if data.nodata is not None else (np.nan if data.dtypes[0].startswith("float") else None)
        if missing is not None:
            window = Window(data.width // 2, data.height // 2, 1, 1)
            data.write(np.full((data.count, 1, 1), missing, data.dtypes[0]), window=window)


def _check_table(source: Path, mapped: Mapped) -> None:
    files = [f for f in mapped.returned if f.suffix.lower() == ".csv" and f.stem.startswith(source.stem)]
    assert files, f"infer() was given {source.name} and returned no table of that name"
    before, after = ([*csv.reader(file.read_text().splitlines())] for file in (source, files[0]))
    assert len(before) == len(after), f"{files[0].name}: {len(after) - 1} rows of {len(before) - 1}: keep every row"
    width = len(before[0])
    other = next((i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b[:width]), None)
    assert other is None, f"{files[0].name}: line {other + 1} is not what {source.name} has there, and predictions"
    assert len(after[0]) > width, f"{files[0].name}: has no column beside those of {source.name}"
    assert any(cell for row in after[1:] for cell in row[width:]), f"{files[0].name}: holds no prediction"


def _check_raster(file: Path, mapped: Mapped) -> None:
    import rasterio

    with rasterio.open(file) as data:
        known = set(mapped.units.values())
        assert set(data.units) <= known, f"{file.name}: band units {data.units}, expected those of outputs(), {known}"
        assert data.nodata is not None, f"{file.name}: has no nodata tag, so nobody sees what is missing"
        if not mapped.sources:
            return
        origin = next((o for o in map(_Origin.read, mapped.sources) if o.is_of(data)), None)
        assert origin is not None, (
            f"{file.name}: CRS {data.crs}, bounds {tuple(data.bounds)} are those of no source: keep the georeference"
        )
        if origin.hole and origin.transform == data.transform and origin.shape == data.shape:
            row, column = (side // 2 for side in data.shape)
            seen = data.read_masks()
            assert not seen[:, row, column].any(), (
                f"{file.name}: has a value at row {row}, column {column}, where the source has nodata in every band"
            )
            assert seen.any(), f"{file.name}: holds nothing but nodata"


@dataclass(frozen=True)
class _Origin:
    """Where a source raster lies, and whether a hole could be planted in it."""

    crs: Any
    bounds: tuple[float, float, float, float]
    transform: Any
    shape: tuple[int, int]
    hole: bool

    @classmethod
    def read(cls, file: Path) -> _Origin:
        import rasterio

        with rasterio.open(file) as data:
            hole = data.nodata is not None or data.dtypes[0].startswith("float")
            return cls(data.crs, tuple(data.bounds), data.transform, data.shape, hole)

    def is_of(self, data: DatasetReader) -> bool:
        """Whether ``data`` has the same CRS and the same bounds to within one of its pixels."""
        pixel = max(map(abs, data.res))
        near = all(abs(a - b) < pixel for a, b in zip(self.bounds, data.bounds))
        return self.crs == data.crs and near
