"""What ``infer`` maps: what products, catalogues and searches hold, else what the task finds itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_url, restored
from eozoo_core.raster.assembly import Assembly
from eozoo_core.raster.zarr_store import is_zarr
from eozoo_core.settings.maps import SourceSettings
from eozoo_core.sources.find import find_assemblies
from eozoo_core.sources.names import expand
from eozoo_core.sources.search import Search

if TYPE_CHECKING:
    from eozoo_core.task.contract import Contract


def scenes_at(task: Contract, source: Path | Search) -> list[Any]:
    """Return what ``infer`` maps at ``source``, unopened: scenes of several files, else ``Task.find_scenes``.

    Raises ZooError as `expand`, and where the task reads something else than rasters.
    """
    how = getattr(task.settings.infer, "source", None) or SourceSettings()
    scenes: list[Any] = []
    for one in [source] if isinstance(source, Search) else expand(Path(source)):
        if isinstance(one, Assembly):
            if not task.reads_assemblies:
                raise ZooError(f"{one.source}: another file has its name, and so would its map; map them one by one")
            scenes.append(one)
            continue
        if isinstance(one, Path) and is_zarr(one):
            scenes += task.find_scenes(one)
            continue
        found = find_assemblies(restored(one) if isinstance(one, Path) and is_url(one) else one, how.trust)
        if found is not None and not task.reads_assemblies:
            raise ZooError(f"{one}: is read by tasks that map rasters, not by this one; give what its README names")
        scenes += task.find_scenes(Path(one)) if found is None else found
    return scenes
