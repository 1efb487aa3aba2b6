"""Stage-1 outputs from any generator: a callable from radar to optical bands, run over the tiles of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError

from eozoo_prithvi_refine.tile_files import check_reflectance, read_tile, write_npz

Generator = Callable[[np.ndarray], np.ndarray]


def write_stage1_outputs(generator: Generator, data_dir: Path, stage1_dir: Path) -> list[Path]:
    """Run ``generator(radar (2, H, W) as stored) -> opt_v1 (4, H, W) reflectance`` on every tile; return the files.

    They go to STAGE1/SPLIT/NAME.npz, where ``runtime.stage1_dir`` finds them. NaN stays missing. Raises ZooError for a
    tile without s1_vv and s1_vh and for an output that is no reflectance of the tile's shape.
    """
    written = []
    for file in sorted(Path(data_dir).glob("*/*.npz")):
        tile = read_tile(file)
        if tile.radar is None:
            raise ZooError(f"{file}: has no s1_vv and s1_vh for a stage-1 generator to start from")
        made = np.asarray(generator(tile.radar), np.float32)
        if made.shape != tile.image.shape:
            raise ZooError(f"{file}: the generator returned {made.shape}, expected {tile.image.shape}")
        check_reflectance(file, made)
        arrays = {"opt_v1": made, "source_tile": np.array(file.name)}
        written.append(write_npz(Path(stage1_dir) / file.parent.name / file.name, arrays))
    if not written:
        raise ZooError(f"{data_dir}: holds no tile in train/, val/ or test/")
    return written
