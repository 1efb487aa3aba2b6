"""Pictures of the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core.raster.read import open_reader
from eozoo_core.run.written import copy_file, write_picture

from eozoo_prithvi_refine.demo.landscape import landscape
from eozoo_prithvi_refine.pictures import grid

if TYPE_CHECKING:
    from eozoo_core import Run, Sample


def draw_demo(run: Run, sample: Sample, out: Path) -> list[Path]:
    """Write tiles.png (held-out tiles) and scene.png: input, refined, truth, difference."""
    refined = out / "maps" / f"{sample.source.stem}_refined.tif"
    with open_reader(sample.source) as before, open_reader(refined) as after:
        rows = [reader.thumbnail(1500) for reader in (before, after)]
    truth = landscape(3000, *rows[0].shape[1:], 6, 4)
    truth = np.where(np.isfinite(rows[0]), truth, np.nan)
    scene = write_picture(out / "scene.png", grid([(*rows, truth)]))
    return [copy_file(run.path / "eval_test" / "panels.png", out / "tiles.png"), scene]
