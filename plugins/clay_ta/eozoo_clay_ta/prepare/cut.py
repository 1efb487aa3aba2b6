"""Cutting the samples of one scene, in this process or in several."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.grid import WINDOW, KoGrid
from eozoo_clay_ta.level1b import Reading
from eozoo_clay_ta.prepare.index import Row
from eozoo_clay_ta.sample_schema import NAMES, windows
from eozoo_clay_ta.scenes import ScenePaths, read_scene
from eozoo_clay_ta.static import Static, read_static


@dataclass(frozen=True)
class Job:
    """One scene's rows and what a worker needs to cut them."""

    rows: list[Row]
    grid: KoGrid
    static: Path
    reading: Reading
    skip_bad: bool


@dataclass(frozen=True)
class Cut:
    """What became of a job: rows kept, their raw windows (n, 19, 9, 9) and classes (n,), and why others were not; how
    the scene was calibrated, and whether its files differ from the table."""

    rows: list[Row]
    x: np.ndarray
    classes: np.ndarray
    dropped: dict[str, int]
    calibration: str = ""
    differs: bool = False


def cut_job(job: Job) -> Cut:
    """Load a scene once and cut all its windows: in-bound, finite and land-cover checks, in this order."""
    dropped: Counter[str] = Counter()
    empty = np.zeros((0, len(NAMES), WINDOW, WINDOW), np.float32)
    cols, rows = (np.array([getattr(r, n) for r in job.rows]) for n in ("pixel_x", "pixel_y"))
    inside = job.grid.holds_window(cols, rows)
    dropped["window not inside the grid"] = int((~inside).sum())
    static = _static(job.static, job.grid)
    try:
        first = job.rows[0]
        when = np.datetime64(first.timestamp_utc, "s").item()
        scene = read_scene(ScenePaths(first.path_bt, first.path_rf, first.path_sza), when, job.grid, job.reading)
    except ZooError:
        if not job.skip_bad:
            raise
        return Cut([], empty, np.zeros(0, np.int16), {"scene unreadable": len(job.rows)})
    fields = (scene.bt, scene.rf, scene.sza[None], static.dem[None], static.lsmask[None])
    x = np.concatenate([windows(field, cols[inside], rows[inside]) for field in fields], axis=1)
    classes = static.classes()[rows[inside], cols[inside]]
    finite = np.isfinite(x).all(axis=(1, 2, 3))
    known = classes >= 0
    dropped["not finite"] = int((~finite).sum())
    dropped["no land-cover class"] = int((finite & ~known).sum())
    keep = finite & known
    kept = [row for row, ok in zip(np.array(job.rows, object)[inside], keep) if ok]
    return Cut(kept, x[keep], classes[keep], dict(dropped), scene.calibration, scene.differs)


@lru_cache(maxsize=4)
def _static(path: Path, grid: KoGrid) -> Static:
    return read_static(path, grid)
