"""Scenes of several files, of products and catalogues: their bands by name, and how they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import Assembly
from eozoo_core.raster.info import RasterInfo
from eozoo_core.settings.maps import SourceSettings

if TYPE_CHECKING:
    from eozoo_core.settings.schema import InferSettings


def prepared(found: Assembly, how: InferSettings) -> tuple[Assembly, str]:
    """Return a scene of several files as ``infer.source`` says, and how its numbers become reflectance ("" = not)."""
    source = getattr(how, "source", None) or SourceSettings()
    found = replace(found, pixel=source.pixel, how=source.resampling)
    return found.as_reflectance(source.s2_offset, "infer.source.s2_offset")


def bands_of_assembly(
    found: Assembly, choose: Callable[[RasterInfo], tuple[int, ...]], trained: tuple[str, ...], how: InferSettings
) -> Assembly:
    """Return the scene with the network's bands; files whose bands are not told are opened where they must be.

    Raises ZooError for bands that are not there.
    """
    wanted = getattr(how, "bands", None)
    for known in (found, None):
        known, problem = known or found.listed(), None
        for info in known.infos():
            try:
                bands = choose(info) if wanted is None else info.select(wanted)
            except ZooError as error:
                problem = problem or error
                continue
            if len(bands) != len(trained):
                raise ZooError(
                    f"{found.source}: {len(bands)} bands are chosen, the run needs {len(trained)}: {', '.join(trained)}"
                )
            return known.only(bands).listed()
        if all(part.band for part in found.parts):
            break
    said = str(problem).rstrip(".")
    raise ZooError(f"{said}{' ' if said.endswith('?') else '; '}--set infer.bands=[...] chooses them by name or number")
