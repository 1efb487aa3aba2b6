"""What ``infer`` maps: a raster or every raster of a folder, with the bands that the network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterInfo, by_stem, open_reader

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".npy")


@dataclass(frozen=True)
class Scene:
    """Something to map; a task that reads other things than rasters may extend it.

    path:   what is read, for messages and the tag SOURCE.
    grid:   of its maps.
    bands:  numbers (1-based) of a raster's bands in the network's order.
    name:   the beginning of its maps' names, with folders where they are kept ("2024/T31"); "" = the file's.
    arrays: other inputs of the network, the same for all windows, by role and without the axis B.
    scale, offset: a band's value = (stored + offset) * scale, in the unit that the network takes.
    tags:   text that its maps carry, beside core's own.
    stamp:  what of the source and of the task's own settings its maps depend on, as a hash; core adds weights and
            masks, and maps of the same stamp are left as they are. "" = always made again.
    whole:  it is no raster: ``Task.write`` says what becomes of it, and core maps nothing.
    """

    path: Path
    grid: Grid
    bands: tuple[int, ...] = ()
    name: str = ""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    scale: float = 1.0
    offset: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""
    whole: bool = False

    def file(self, layer: str) -> str:
        """Return the name of the file of a layer, without its ending."""
        return f"{self.name or self.path.stem}_{layer}"


@dataclass(frozen=True)
class Block:
    """Whole rows of a map, from ``row`` on.

    values: quantity (an output's mean, its variances, probabilities; see `spread.combine`) -> (..., n, W) float32,
            NaN = missing. Extra names are handed to the layers as they are.
    """

    row: int
    values: Mapping[str, np.ndarray]


def rasters(source: Path) -> list[Path]:
    """Return ``source``, or the rasters of a folder by name."""
    if not source.is_dir():
        return [source]  # opening it says what is wrong, also where it is not there
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ZooError(f"{source}: holds no raster ({', '.join(SUFFIXES)})")
    return list(by_stem(found).values())


def open_raster(path: Path, choose: Callable[[RasterInfo], tuple[int, ...]]) -> Scene:
    """Read the header of a raster; ``choose`` gives the numbers of its bands. The default of ``Task.open_scene``."""
    with open_reader(path) as reader:
        return Scene(path, reader.info.grid, choose(reader.info))


def choose_bands(info: RasterInfo, trained: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the bands called ``trained``; of a file without names, all of them in their order.

    Raises ZooError for a band that is missing and for another number of bands.
    """
    if any(info.descriptions) and not trained[0].startswith("band "):
        return info.select(trained)
    if len(info.bands) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return info.bands
