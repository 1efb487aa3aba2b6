"""What ``infer`` maps: what products, catalogues and searches hold, else what the task finds itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.settings.maps import SourceSettings
from eozoo_core.sources.find import find_assemblies
from eozoo_core.sources.search import Search

if TYPE_CHECKING:
    from eozoo_core.task.contract import Contract


def scenes_at(task: Contract, source: Path | Search) -> list[Any]:
    """Return what ``infer`` maps at ``source``, unopened: scenes of several files, else ``Task.find_scenes``.

    Raises ZooError where the task reads something else than rasters.
    """
    how = getattr(task.settings.infer, "source", None) or SourceSettings()
    found = find_assemblies(source, how.trust)
    if found is None:
        return list(task.find_scenes(Path(source)))
    if not task.reads_assemblies:
        raise ZooError(f"{source}: is read by tasks that map rasters, not by this one; give what its README names")
    return list(found)
