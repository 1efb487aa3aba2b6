"""Whether something is a product, a catalogue or a search, and its scenes."""

from __future__ import annotations

from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import restored
from eozoo_core.raster.assembly import Assembly
from eozoo_core.raster.mosaic import SUFFIXES
from eozoo_core.sources.catalogue import is_catalogue, open_catalogue
from eozoo_core.sources.safe import is_safe, open_safe
from eozoo_core.sources.search import Search


def find_assemblies(source: str | Path | Search, trusted: tuple[str, ...] = ()) -> list[Assembly] | None:
    """Return the scenes of a SAFE product or a folder of them, a STAC file or URL, or a search; None = it is none.

    Nothing is opened but metadata. ``trusted``: hosts, buckets and folders that a catalogue may refer to, beside its
    own. Raises ZooError as `open_safe`, `open_catalogue` and `Search.find`.
    """
    if isinstance(source, Search):
        return source.find(trusted)
    path = Path(source)
    if is_safe(path):
        return open_safe(path)
    if is_catalogue(typed := restored(source)):
        return open_catalogue(typed, trusted)
    if path.is_dir():
        products = [one for one in sorted(path.iterdir()) if is_safe(one)]
        scenes = [scene for product in products for scene in open_safe(product)]
        names = [scene.name for scene in scenes]
        if scenes and any(one.suffix.lower() in SUFFIXES for one in path.iterdir() if one.is_file()):
            raise ZooError(f"{path}: holds Sentinel-2 products and rasters beside them; put them into two folders")
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ZooError(f"{path}: holds the product {twice} twice; keep the folder or the zip")
        return scenes or None
    return None
