"""Step build_patches: index -> chunks of normalised samples, scene by scene, able to go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.trust import lies_below
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.parsed import read_object
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.writing import make_folder
from eozoo_core.score.statistics import ChannelStatistics

from eozoo_clay_ta import chunks
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.level1b import Reading
from eozoo_clay_ta.prepare.cut import Cut, Job, cut_job
from eozoo_clay_ta.prepare.index import SPLITS, Row, read_rows
from eozoo_clay_ta.sample_schema import (
    BUILD,
    LSMASK,
    NAMES,
    SZA,
    Normalisation,
    one_hot,
    read_statistics,
    time7,
    write_json,
    write_statistics,
)
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.static import build_static, static_file, write_static

Key = tuple[str, str, str, int]


@dataclass(frozen=True)
class Survey:
    """What one pass over an index tells: its years, all temperatures (degC) and how many scenes it needs."""

    years: list[int]
    ta: np.ndarray
    scenes: int


class PatchBuilder:
    """The whole step; ``build`` runs it."""

    def __init__(self, settings: ClaySettings, pool: Pool | None = None):
        self.settings, self.options = settings, settings.prepare.build_patches
        self.pool = pool or Here()
        runtime = settings.runtime
        self.index_dir, self.folder = Path(runtime.index_dir), Path(runtime.data_dir)
        self.statistics_dir = Path(runtime.statistics_dir)
        self.grid = KoGrid(**settings.data.grid.model_dump())

    def build(self) -> tuple[list[Path], dict[str, dict[str, int]]]:
        """Return the files written and, per split, how many samples were kept and dropped by each check."""
        make_folder(self.folder)
        index = {split: self.index_dir / f"index_{split}.csv" for split in SPLITS}
        surveys = {split: self._survey(path) for split, path in index.items()}
        years = sorted({year for survey in surveys.values() for year in survey.years})
        files = [self._static(year) for year in years]
        norm, written = self._normalisation(index["train"], surveys["train"])
        files += [*written, norm.write(self.folder / "normalisation.json")]
        report, said, told = {}, set(), []
        for split in SPLITS:
            of_split = _Split(self, split, index[split], norm)
            written, report[split] = of_split.build(surveys[split].scenes)
            files += written
            said |= of_split.calibrations
            told += of_split.told
        tell_once(told, self.settings.runtime.quiet)
        files.append(write_json(self.folder / "calibration.json", sorted(said)))
        return [*files, write_json(self.folder / "build_report.json", report)], report

    def jobs(self, index: Path) -> Iterator[Job]:
        """Yield the rows of an index, read in chunks, grouped by path_bt, path_rf, path_sza and year."""
        reading = Reading(self.settings.data.accept_conditional, self.settings.data.calibration)
        for part in self._parts(index):
            part.sort(key=_key)
            for key, rows in groupby(part, key=_key):
                self._require_own(index, key[:3])
                static = static_file(self.folder, key[3])
                skip = self.options.on_unreadable == "skip"
                yield Job(list(rows), self.grid, static, reading, skip)

    def _require_own(self, index: Path, paths: Iterable[str]) -> None:
        """Raise ZooError where an index refers to files elsewhere than beside it, or where the settings say."""
        scenes = Path(self.settings.prepare.build_index.scenes_dir)
        for path in filter(None, paths):
            if not any(lies_below(path, folder) for folder in (index.parent, scenes)):
                raise ZooError(
                    f"{index}: refers to {os.path.normpath(path)}, which is neither below its folder nor below "
                    f"prepare.build_index.scenes_dir, {scenes}; set that to the folder of the scenes, and where they "
                    "were moved run build_index again"
                )

    def _parts(self, index: Path) -> Iterator[list[Row]]:
        return read_rows(index, self.options.index_chunk_rows)

    def _survey(self, index: Path) -> Survey:
        years: set[int] = set()
        ta: list[float] = []
        scenes = 0
        for part in self._parts(index):
            years.update(r.year for r in part)
            ta.extend(r.ta for r in part)
            scenes += len({_key(r) for r in part})
        if not ta:
            raise ZooError(f"{index}: has no row; run 'eozoo prepare clay_ta build_index'")
        return Survey(sorted(years), np.array(ta), scenes)

    def _static(self, year: int) -> Path:
        given, base = self.options, self.settings.data.landcover_base
        landcover = Path(given.landcover.replace("{year}", str(year)))
        mask = Path(given.lsmask) if given.lsmask else None
        static = build_static(Path(given.dem), mask, landcover, base, self.grid)
        return write_static(static, static_file(self.folder, year), self.grid)

    def _normalisation(self, index: Path, survey: Survey) -> tuple[Normalisation, list[Path]]:
        given = (self.options.input_statistics, self.options.ta_statistics)
        if all(given):
            return read_statistics(*map(Path, given)), []
        if any(given):
            raise ZooError("prepare.build_patches: give both input_statistics and ta_statistics, or neither")
        ta, years = survey.ta, survey.years
        of_inputs, ta_std = self._input_statistics(index, survey.scenes), float(ta.std())
        if not ta_std > 0:
            raise ZooError(f"{index}: all temperatures are {ta[0]:g}; a model cannot be trained on them")
        mean, std = of_inputs.mean.astype(np.float32), of_inputs.std.astype(np.float32)
        mean[LSMASK], std[LSMASK] = 0, 1
        norm = Normalisation(mean, std, float(ta.mean()), ta_std)
        label = "-".join(map(str, dict.fromkeys((years[0], years[-1]))))
        names = (f"input_statistics_{label}.json", f"statistics_{label}.json")
        files = [self.statistics_dir / name for name in names]
        return norm, write_statistics(norm, *files, int(of_inputs.count[0]), len(ta))

    def _input_statistics(self, index: Path, scenes: int) -> ChannelStatistics:
        """Mean and spread of all pixels of the valid windows of some training scenes, evenly spread."""
        step = max(1, scenes // self.options.statistics_scenes)
        found = ChannelStatistics(NAMES)
        for cut in self.pool.map(cut_job, islice(self.jobs(index), 0, None, step)):
            if len(cut.rows):
                found.update(cut.x.swapaxes(0, 1))
        if not found.count.all():
            raise ZooError(
                f"{index}: no sample of the training split passes the checks; look at the scenes with inspect"
            )
        constant = [n for n, s in zip(NAMES[:LSMASK], found.std) if not s > 0]
        if constant:
            raise ZooError(f"{index}: channel {constant[0]} is the same in all training samples; its std would be 0")
        return found


class _Split:
    """One split's chunks and the record of how far they are."""

    def __init__(self, builder: PatchBuilder, split: str, index: Path, norm: Normalisation):
        self.builder, self.split, self.index, self.norm = builder, split, index, norm
        self.record = builder.folder / f"{split}_progress.json"
        self.calibrations: set[str] = set()  # how scenes were calibrated, a line each
        self.told: list[str] = []  # and where their files differ from the table
        settings = builder.settings
        what = {
            "data": settings.data.model_dump(mode="json", exclude={"samples"}),
            "norm": norm.state(),
            "rows": builder.options.patch_chunk_rows,
        }
        what["static"] = fingerprint(builder.folder.glob("static_*.tif"), builder.folder)
        text = json.dumps(what, sort_keys=True) + fingerprint([index], index.parent)
        self.key = hashlib.sha256(text.encode()).hexdigest()

    def build(self, total: int) -> tuple[list[Path], dict[str, int]]:
        """Go on after the last finished chunk; return the chunk files and the counts."""
        done = self._resume()
        counts: Counter[str] = Counter(done["counts"])
        scenes, number, payload = done["scenes"], done["chunks"], []
        self.calibrations = set(done.get("calibrations", ()))
        quiet = self.builder.settings.runtime.quiet
        with progress_bar(self.split, total, "scenes", quiet) as bar:
            for cut in self.builder.pool.map(cut_job, islice(self.builder.jobs(self.index), scenes, None)):
                scenes += 1
                counts.update(cut.dropped, kept=len(cut.rows))
                self.calibrations |= {cut.calibration} - {""}
                if cut.rows:
                    self.told += [f"{cut.rows[0].timestamp_utc}: calibration {cut.calibration}"] if cut.differs else []
                    payload.append(self._arrays(cut))
                if sum(len(meta) for _, meta in payload) >= self.builder.options.patch_chunk_rows:
                    number = self._flush(number, payload)
                    self._note(scenes, number, counts)
                bar.update(scenes, f"{counts['kept']:,} samples")
        if payload:
            number = self._flush(number, payload)
        self._note(scenes, number, counts)
        if not counts["kept"]:
            raise ZooError(f"{self.index}: no sample passes the checks ({dict(counts)})")
        return [chunks.chunk_path(self.builder.folder, self.split, i) for i in range(number)], dict(counts)

    def _resume(self) -> dict:
        """The record of the same work, or a fresh one; chunks of other work are an error, not overwritten."""
        if (
            self.record.exists()
            and (record := read_object(self.record, f"delete it, and run {BUILD}")).get("key") == self.key
        ):
            return record
        if any(self.builder.folder.glob(f"{self.split}_chunk_*.pt")) and self.record.exists():
            raise ZooError(
                f"{self.builder.folder}: holds {self.split} chunks of another index or other settings; delete them or "
                "set runtime.data_dir"
            )
        return {"scenes": 0, "chunks": 0, "counts": {}}

    def _note(self, scenes: int, number: int, counts: Counter[str]) -> None:
        done = {"key": self.key, "scenes": scenes, "chunks": number, "counts": dict(counts)}
        write_json(self.record, done | {"calibrations": sorted(self.calibrations)})

    def _arrays(self, cut: Cut) -> tuple[dict[str, np.ndarray], list[tuple]]:
        """Normalise a scene's windows and add time, place, class and target."""
        x = self.norm.inputs(cut.x)
        times = np.array([r.timestamp_utc for r in cut.rows], "datetime64[m]")
        loc = np.array([(r.lat, r.lon, self.builder.grid.metres) for r in cut.rows], np.float32)
        ta = np.array([r.ta for r in cut.rows])
        arrays = {
            "x": x,
            "y": ((ta - self.norm.ta_mean) / self.norm.ta_std).astype(np.float32),
            "time7": time7(times, x[:, SZA, x.shape[2] // 2, x.shape[3] // 2]),
            "loc": loc,
            "landcover_onehot": one_hot(cut.classes),
        }
        return arrays, [(r.timestamp_utc, r.stn, r.pixel_x, r.pixel_y) for r in cut.rows]

    def _flush(self, number: int, payload: list) -> int:
        arrays = {name: np.concatenate([a[name] for a, _ in payload]) for name in chunks.SCHEMA}
        meta = [entry for _, part in payload for entry in part]
        chunks.write_chunk(chunks.chunk_path(self.builder.folder, self.split, number), arrays, meta)
        payload.clear()
        return number + 1


def _key(row: Row) -> Key:
    return (row.path_bt, row.path_rf, row.path_sza, row.year)
