"""What ``infer`` maps: a raster or every raster of a folder, with the bands that the network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.read import RasterInfo

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".npy")


@dataclass(frozen=True)
class Scene:
    """Something to map: a raster, and the numbers (1-based) of its bands in the network's order."""

    path: Path
    bands: tuple[int, ...]

    @property
    def name(self) -> str:
        """The beginning of its maps' names."""
        return self.path.stem


def rasters(source: Path) -> list[Path]:
    """Return ``source``, or the rasters of a folder by name."""
    if not source.is_dir():
        return [source]  # opening it says what is wrong, also where it is not there
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ZooError(f"{source}: holds no raster ({', '.join(SUFFIXES)})")
    stems = [path.stem for path in found]
    for path in found:
        if stems.count(path.stem) > 1:
            raise ZooError(f"{path}: another file in the folder has the same name but for its ending; rename one")
    return found


def choose_bands(info: RasterInfo, trained: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the bands called ``trained``; of a file without names, all of them in their order.

    Raises ZooError for a band that is missing and for another number of bands.
    """
    if any(info.descriptions) and not trained[0].startswith("band "):
        return info.select(trained)
    if len(info.bands) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return info.bands
