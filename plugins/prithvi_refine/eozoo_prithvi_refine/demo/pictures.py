"""Pictures of the demonstration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.raster.read import open_reader

from eozoo_prithvi_refine.demo.landscape import landscape
from eozoo_prithvi_refine.pictures import grid, save_png

if TYPE_CHECKING:
    from eozoo_core import Run, Sample


def draw_demo(run: Run, sample: Sample, out: Path) -> list[Path]:
    """Write tiles.png (held-out tiles) and scene.png: input, refined, truth, difference."""
    refined = out / "maps" / f"{sample.source.stem}_refined.tif"
    with open_reader(sample.source) as before, open_reader(refined) as after:
        rows = [reader.thumbnail(1500) for reader in (before, after)]
    truth = landscape(3000, *rows[0].shape[1:], 6, 4)
    truth = np.where(np.isfinite(rows[0]), truth, np.nan)
    scene = save_png(grid([(*rows, truth)]), out / "scene.png")
    tiles = out / "tiles.png"
    shutil.copyfile(run.path / "eval_test" / "panels.png", tiles)
    return [tiles, scene]
