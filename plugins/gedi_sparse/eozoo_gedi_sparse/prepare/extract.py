"""Step ``shots``: read and filter every granule or table, several at a time; a second call goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.read import by_stem
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.written import stamp_of, write_table, write_text

from eozoo_gedi_sparse.prepare.filters import Removed, add_tables, apply_filters, format_table, not_applied
from eozoo_gedi_sparse.prepare.granules import product_by_name, read_granule
from eozoo_gedi_sparse.prepare.grids import sample_raster
from eozoo_gedi_sparse.prepare.settings import ShotsSettings
from eozoo_gedi_sparse.prepare.shot_tables import read_table
from eozoo_gedi_sparse.prepare.shots import count, load, load_facts, once, save
from eozoo_gedi_sparse.prepare.table_files import READERS

_GRANULES = (".h5", ".hdf5", ".zip")
_TABLES = tuple(READERS)


@dataclass(frozen=True)
class Extracted:
    """What became of a file: the rows of its table, what its shots are of, and notes on how it was read."""

    rows: list[Removed]
    quantity: str
    notes: tuple[str, ...]


def extract(settings: ShotsSettings, quiet: bool = False, pool: Pool | None = None) -> list[Path]:
    """Write DEST/NAME.npz for every file of ``source`` and DEST/filters.csv over all; print that table.

    A file whose result is there, made from the same file with the same settings, is not read again. Raises ZooError
    where no shot is left, saying which filter removed most, and for the first unreadable file unless they are skipped.
    """
    files = find_files(settings.source)
    _refuse_strangers(files, settings.dest)
    _refuse_mixture([(file, product_by_name(file)) for file in files if file.suffix.lower() in _GRANULES])
    outcomes = (pool or Here()).outcomes(partial(extract_file, settings=settings), files, ordered=True)
    done, problems = {}, []
    with progress_bar("shots", len(files), "files", quiet) as bar:
        for number, (file, outcome) in enumerate(zip(files, outcomes, strict=True), 1):
            if outcome.error is not None:
                if settings.on_unreadable == "stop":
                    raise outcome.error
                problems.append(str(outcome.error))
            else:
                found = outcome.value
                _refuse_mixture([*((f, one.quantity) for f, one in list(done.items())[:1]), (file, found.quantity)])
                done[file] = found
            bar.update(number, file.name)
    if not done:
        raise ZooError(f"{settings.source}: no file could be read; first: {problems[0]}")
    rows = add_tables([outcome.rows for outcome in done.values()])
    cells = ([r.name, r.before, r.removed, r.after, r.alone] for r in rows)
    columns = ["filter", "before", "removed", "left", "removes_alone"]
    written = [_target(file, settings.dest) for file in done]
    written.append(write_table(settings.dest / "filters.csv", columns, cells))
    if problems:
        written.append(write_text(settings.dest / "skipped.txt", "\n".join(problems) + "\n"))
    tell_once([f"{file.name}: {note}" for file, outcome in done.items() for note in outcome.notes], quiet)
    print(format_table(rows))
    shared = _shared(list(done), settings.dest)
    if shared:
        print(f"{count(shared, 'shot')} in several files: step labels counts each once")
    for problem in problems:
        print(f"left out: {problem}")
    for name in not_applied(settings):
        print(f"not applied: the filter by {name} (prepare.shots.rasters.{name} is not set)")
    if rows[-1].after == 0:
        worst = max(rows, key=lambda row: row.removed)
        raise ZooError(
            f"{settings.source}: 0 of {count(rows[0].before, 'shot')} left; '{worst.name}' removed {worst.removed:,}. "
            f"Loosen prepare.shots.filters or take other granules; the table is {settings.dest / 'filters.csv'}"
        )
    return written


def find_files(source: Path | None) -> list[Path]:
    """Granules and tables at ``source``. Raises ZooError where there is none or two share a name."""
    if source is None:
        raise ZooError("prepare.shots.source is not set; add --set prepare.shots.source=FOLDER of GEDI granules")
    if not source.exists():
        raise ZooError(f"{source}: no such file or folder (prepare.shots.source)")
    known = _GRANULES + _TABLES
    files = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.suffix.lower() in known)
    if not files or any(f.suffix.lower() not in known for f in files):
        raise ZooError(f"{source}: holds no granule or table of shots ({', '.join(known)})")
    return list(by_stem(files).values())


def _refuse_mixture(kinds: Sequence[tuple[Path, str | None]]) -> None:
    """Raise ZooError where files are of two kinds (product or quantity; None = not known)."""
    first = next(((file, kind) for file, kind in kinds if kind), None)
    other = next(((file, kind) for file, kind in kinds if first and kind and kind != first[1]), None)
    if first and other:
        raise ZooError(
            f"{first[0].parent}: {first[0].name} is {first[1]}, {other[0].name} is {other[1]}; labels are of one kind: "
            "put the others into a folder of their own, or give one file as prepare.shots.source"
        )


def _shared(files: Sequence[Path], dest: Path) -> int:
    """How many shots that are kept of a file are also kept of one before it."""
    ids = [load(_target(file, dest))[0].ids for file in files] if len(files) > 1 else []
    every = np.concatenate(ids) if ids else np.empty(0, np.int64)
    return len(every) - len(np.unique(every))


def _refuse_strangers(files: Sequence[Path], dest: Path) -> None:
    """Step labels takes every file of the folder: shots of an earlier source must not slip in."""
    expected = {_target(file, dest) for file in files}
    stranger = next((p for p in sorted(dest.glob("*.npz")) if p not in expected), None) if dest.is_dir() else None
    if stranger is not None:
        raise ZooError(f"{stranger}: is not of prepare.shots.source; delete it, or choose another prepare.shots.dest")


def extract_file(file: Path, settings: ShotsSettings) -> Extracted:
    """Filter one granule or table into DEST/NAME.npz and return what became of it; see ``extract``."""
    target, stamp = _target(file, settings.dest), _stamp(file, settings)
    before = load_facts(target)
    if before is not None and before.get("stamp") == stamp:
        return Extracted([Removed(**row) for row in before["filters"]], before["quantity"], tuple(before["notes"]))
    read = read_granule if file.suffix.lower() in _GRANULES else read_table
    found = read(file, settings.quantity)
    counted, differ = once(found)
    shots, rows = apply_filters(found, settings, sample_raster, str(file), counted)
    if settings.zero_below is not None:
        if shots.unit != "m":
            raise ZooError("prepare.shots.zero_below: is for heights; biomass has no such floor, leave it null")
        shots.value[shots.value < settings.zero_below] = np.float32(0)
    notes = list(found.notes)
    if not counted.all():
        other = f", {differ:,} of them with another value" if differ else ""
        notes.append(f"{count(int((~counted).sum()), 'shot')} listed again{other}: the first one counts")
    facts = {"source": file.name, "stamp": stamp, "filters": [asdict(row) for row in rows], "notes": notes}
    save(target, shots, facts)
    return Extracted(rows, shots.quantity, tuple(notes))


def _target(file: Path, dest: Path) -> Path:
    return dest / f"{file.stem}.npz"


def _stamp(file: Path, settings: ShotsSettings) -> str:
    """Identify the file and everything that decides which of its shots are kept."""
    decides = settings.model_dump(mode="json", exclude={"source", "dest", "on_unreadable"})
    rasters = [p for p in settings.rasters.model_dump().values() if p is not None]
    return stamp_of(decides, (p for p in (file, *rasters) if p.exists()))
