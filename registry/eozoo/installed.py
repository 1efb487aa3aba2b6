"""The plugins that are installed, read straight from the folders of the import path.

``importlib.metadata`` answers the same, but importing it costs more than half of what ``eozoo list`` may take. It is
asked where plugins may lie in something else than folders: an archive, an egg, a finder of somebody's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any

from eozoo_core.errors import ZooError

GROUP = "eozoo"


class Plugin:
    """One entry point: ``name = module`` or ``name = module:attribute`` of a distribution.

    ``requires``: what the distribution requires, one line each as its metadata have it.
    """

    def __init__(self, name: str, value: str, distribution: str, version: str, requires: tuple[str, ...]):
        self.name, self.value = name, value
        self.distribution, self.version, self.requires = distribution, version, requires
        self.module = value.partition("[")[0].partition(":")[0].strip()

    @property
    def label(self) -> str:
        """Return "distribution version"."""
        return f"{self.distribution} {self.version}"

    @property
    def key(self) -> str:
        """Return "distribution/name": two distributions may have an entry point of one name."""
        return f"{self.distribution}/{self.name}"

    def load(self) -> Any:
        """Import and return the module, or what is named in it. Raises ZooError where the entry point names none."""
        attributes = self.value.partition("[")[0].partition(":")[2].strip()
        if not all(part.isidentifier() for part in self.module.split(".")):
            raise ZooError(f"its entry point {self.name!r} is {self.value!r}, expected 'module' or 'module:attribute'")
        found = import_module(self.module)
        for part in filter(None, attributes.split(".")):
            found = getattr(found, part)
        return found


def installed() -> list[Plugin]:
    """Return all plugins in the order of distribution names, importing none."""
    plugins = _elsewhere() if _is_unusual() else (p for folder in _folders().values() for p in _plugins(folder))
    found = {(plugin.distribution, plugin.name): plugin for plugin in plugins}
    return [plugin for _, plugin in sorted(found.items())]


def called(point: Plugin) -> str:
    """Return what to type for a plugin: the name of its entry point, or its key where several have that name."""
    return point.name if sum(other.name == point.name for other in installed()) == 1 else point.key


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution. Raises PackageNotFoundError where there is none."""
    if not _is_unusual() and (folder := _folders().get(normal(distribution))):
        return _metadata(folder)[1]
    from importlib.metadata import version

    return version(distribution)


def _is_unusual() -> bool:
    # The backport of importlib.metadata, which Dask imports, puts a finder of folders in the place of Python's.
    known = [finder is PathFinder or type(finder).__module__ == "importlib_metadata" for finder in sys.meta_path
             if hasattr(finder, "find_distributions")]  # fmt: skip
    return not (known and all(known)) or any(path.endswith(".egg") or os.path.isfile(path) for path in _path())  # noqa: PTH113 - pathlib is slow to import


def _path() -> list[str]:
    return [path for path in sys.path if isinstance(path, str)]  # imports pass over anything else too


def _folders() -> dict[str, str]:
    """Return name -> metadata folder of every distribution; the first on the path counts, as for imports."""
    found: dict[str, str] = {}
    for path in _path():
        try:
            inside = os.listdir(path or ".")  # noqa: PTH208
        except OSError:
            continue
        for entry in inside:
            if entry.lower().endswith((".dist-info", ".egg-info")):
                found.setdefault(normal(entry.rpartition(".")[0].partition("-")[0]), f"{path or '.'}/{entry}")
    return found


def normal(name: str) -> str:
    """Return the name of a distribution as it is compared: "Eozoo.X-y" is "eozoo_x_y"."""
    name = name.lower().replace(".", "_").replace("-", "_")
    while "__" in name:
        name = name.replace("__", "_")
    return name


def _plugins(folder: str) -> Iterator[Plugin]:
    section, facts = "", None
    for line in map(str.strip, _lines(folder, "entry_points.txt")):
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == GROUP and line and not line.startswith("#"):
            name, _, value = map(str.strip, line.partition("="))
            facts = facts or _metadata(folder)
            yield Plugin(name, value, *facts)


def _metadata(folder: str) -> tuple[str, str, tuple[str, ...]]:
    """Return name, version and requirements; the first two from the folder's own name where nothing says them."""
    name, _, version = os.path.basename(folder).rpartition(".")[0].partition("-")  # noqa: PTH119
    requires: list[str] = []
    for line in _unfolded(_lines(folder, "METADATA") or _lines(folder, "PKG-INFO")):
        key, colon, value = line.partition(":")
        if not line.strip():
            break  # the description follows
        if key.lower() == "name":
            name = value.strip()
        elif key.lower() == "version":
            version = value.strip()
        elif colon and key.lower() == "requires-dist":
            requires.append(value.strip())
    for line in [] if requires else _lines(folder, "requires.txt"):  # of an egg-info
        if line.startswith("["):
            break
        requires += [line.strip()] if line.strip() else []
    return name, version, tuple(requires)


def _unfolded(lines: list[str]) -> list[str]:
    """Join lines that begin with a space to those before them: long requirements are folded so."""
    whole: list[str] = []
    for line in lines:
        if line[:1] in (" ", "\t") and line.strip() and whole and whole[-1].strip():
            whole[-1] += f" {line.strip()}"
        else:
            whole.append(line)
    return whole


def _lines(folder: str, name: str) -> list[str]:
    try:
        with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _elsewhere() -> Iterator[Plugin]:
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        named = (point.dist.name, point.dist.version, tuple(point.dist.requires or ())) if point.dist else ("", "", ())
        yield Plugin(point.name, point.value, *named)
