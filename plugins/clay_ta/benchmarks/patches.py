"""Rows per second of build_patches on full 900 x 900 scenes (three simulated ones), and where the time goes.

Seconds are CPU time: those of a process that has a core to itself.

python plugins/clay_ta/benchmarks/patches.py [--stations 95]
"""

import argparse
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
from eozoo_clay_ta.demo.atmosphere import World
from eozoo_clay_ta.demo.products import write_scene
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.prepare.cut import Job, cut_job
from eozoo_clay_ta.prepare.index import Row
from eozoo_clay_ta.scenes import find_scenes, read_scene, stamp_time
from eozoo_clay_ta.static import Static, static_file, write_static


def main():
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stations", type=int, default=95)
    options = parser.parse_args()
    grid, world, random = KoGrid(), World(), np.random.default_rng(0)
    ground = world.grid(grid)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for hour in (0, 3, 6):
            write_scene(folder, datetime(2022, 7, 1, hour), world, ground, grid)
        fields = (ground.dem, ground.land, ground.landcover)
        write_static(Static(*(f.astype(np.float32) for f in fields)), static_file(folder, 2022), grid)
        seconds, reading, kept = [], [], 0
        for stamp, paths in find_scenes(folder).items():
            start = time.process_time()
            read_scene(paths, stamp_time(stamp), grid)
            reading.append(time.process_time() - start)
            places = random.integers(4, 896, (options.stations, 2))
            when = stamp_time(stamp).strftime("%Y-%m-%dT%H:%M")
            rows = [
                Row(when, i, 37.0, 127.0, int(x), int(y), 2022, 1.0, paths.bt, paths.rf, "")
                for i, (x, y) in enumerate(places)
            ]
            start = time.process_time()
            kept += len(cut_job(Job(rows, grid, static_file(folder, 2022), False, False)).rows)
            seconds.append(time.process_time() - start)
    print(f"one process, {options.stations} stations a scene of 900 x 900 pixels, 16 channels ({kept} rows kept)")
    print(f"{min(seconds):.2f} s a scene, of which reading and calibrating {min(reading):.2f} s: "
          f"{options.stations / min(seconds):.0f} rows/s")  # fmt: skip


if __name__ == "__main__":
    main()
