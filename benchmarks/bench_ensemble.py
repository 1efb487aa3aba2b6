"""Maps of an ensemble of five in one pass over the data, against five single passes; memory at two heights."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tools import in_process

WIDTH, HEIGHTS, BANDS, MEMBERS = 1024, (1_000, 4_000), 14, 5


def main() -> None:
    """Print pixels per second of both ways, and the peak memory at both heights."""
    results = [json.loads(in_process("benchmarks.bench_ensemble", str(height)).splitlines()[-1]) for height in HEIGHTS]
    first = results[0]
    print(
        f"{HEIGHTS[0]:,} rows x {WIDTH:,}: one pass {first['together']:.1f} s, {MEMBERS} single passes "
        f"{first['apart']:.1f} s: {first['apart'] / first['together']:.2f} times as long"
    )
    for height, r in zip(HEIGHTS, results, strict=True):
        print(
            f"{height:6,} rows: peak {r['memory'] / 1e6:.0f} MB above interpreter and torch, {r['covered']:.2%} covered"
        )
    print(f"peak memory, {HEIGHTS[1]:,} / {HEIGHTS[0]:,} rows: {results[1]['memory'] / results[0]['memory']:.2f}")


def measure(height: int) -> dict[str, float]:
    """Make a run of untrained members, map a raster in one pass and, for the lower height, member by member."""
    import numpy as np
    import rasterio
    from eozoo.registry import Registry
    from eozoo_core import Run
    from eozoo_core.raster.cog import Band, CogWriter
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.settings.config import load_settings
    from eozoo_gedi_sparse.settings import GediSettings

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder, registry = Path(name), Registry.discover()
        sets = ["model.options.width=8", f"train.members={MEMBERS}", "runtime.device=cpu", "infer.picture=false"]
        run = Run.create(folder / "run", "gedi_sparse", load_settings(GediSettings, None, sets))
        _write_members(run, registry)
        place = rasterio.Affine(10, 0, 5e5, 0, -10, 2e6)
        grid = Grid(height, WIDTH, rasterio.CRS.from_epsg(32647), place)
        with CogWriter(folder / "in.tif", grid, [Band(f"b{i}") for i in range(BANDS)]) as out:
            for row in range(0, height, 500):
                out.write_rows(row, rng.random((BANDS, 500, WIDTH), np.float32))

        def infer(dest: str, *overrides: str) -> list[Path]:
            again = Run.open(run.path, GediSettings, "gedi_sparse", overrides)
            return registry.get("task", "gedi_sparse")(again.settings, registry).infer(
                again, folder / "in.tif", folder / dest
            )

        base, began = _peak(), time.process_time()
        files = infer("all")
        together, memory = time.process_time() - began, _peak() - base
        began = time.process_time()
        for i in range(MEMBERS if height == HEIGHTS[0] else 0):
            infer(str(i), f"infer.draws.members=[{i}]")
        apart = time.process_time() - began
        with rasterio.open(files[-1]) as out:
            covered = float(np.mean([np.isfinite(out.read(1, window=w)).mean() for _, w in out.block_windows(1)]))
    return {"together": together, "apart": apart, "memory": memory, "covered": covered}


def _write_members(run, registry) -> None:
    from eozoo_core.task.ensemble import member_settings
    from eozoo_gedi_sparse.survey import GediSurvey
    from eozoo_gedi_sparse.task import GediSparse

    bands = [{"name": f"band {i + 1}", "mean": 0.5, "std": 0.3, "count": 1} for i in range(BANDS)]
    survey = GediSurvey(bands=bands)
    for i in range(MEMBERS):
        child = run.child(f"member_{i}", member_settings(run.settings, i))
        system = GediSparse(run.settings, registry).system(survey, fresh=True)
        child.save("best", {"model": system.state_dict(), "survey": survey.model_dump()})


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
