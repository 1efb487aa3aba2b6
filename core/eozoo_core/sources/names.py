"""The names that ``--input`` stands for: a file, folder or address itself, the files of a pattern or of a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from glob import glob
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_address, named, shown, variable_of
from eozoo_core.raster.assembly import Assembly, Part
from eozoo_core.raster.mosaic import SUFFIXES
from eozoo_core.raster.stack import date_of

LIST = ".txt"
_WILD = "*?["
_MOST = 2**26  # bytes of a list


def expand(source: Path) -> list[Path | Assembly]:
    """Return the names that ``source`` stands for; of files of one name, scenes that are called by their folders too.

    ``scenes/**/*.tif`` is every file that fits, by name. A ``.txt`` holds one name a line: a file, folder or address;
    relative ones lie beside the list, empty lines and those that begin with # are passed over. What the user lists is
    read as if it was typed. Raises ZooError where nothing is there, and for two names of which maps would be called
    alike.
    """
    if is_address(source):
        if shown(source).lower().endswith(LIST):
            raise ZooError(f"{shown(source)}: lists are read from files; fetch it first")
        return [source]
    if source.suffix.lower() == LIST and source.is_file():
        return _apart(source, _listed(source))
    if source.exists():
        return [source]
    if any(character in str(source) for character in _WILD):
        found = sorted(path for path in map(Path, glob(str(source), recursive=True)) if not path.name.startswith("."))  # noqa: PTH207 - of any root
        if not found:
            raise ZooError(f"{source}: no file fits this pattern")
        return _apart(source, found)
    raise ZooError(f"{source}: no such file or folder")


def _listed(file: Path) -> list[Path]:
    if file.stat().st_size > _MOST:
        raise ZooError(f"{file}: has more than {_MOST // 2**20} MiB; a list has one name a line")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ZooError(f"{file}: is no text; a list has one name a line") from None
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        path = named(text)
        path = path if is_address(path) else file.parent / path.expanduser()
        if not is_address(path) and not path.exists():
            raise ZooError(f"{file}: line {number}: {path}: no such file or folder")
        found.append(path)
    if not found:
        raise ZooError(f"{file}: lists nothing; a list has one name a line")
    return found


def _apart(source: Path, found: Iterable[Path]) -> list[Path | Assembly]:
    """Each name once; rasters of which maps would be called alike are called by their folders too: ``2024_image``.

    Raises ZooError for those that folders do not tell apart. Maps of products and catalogues have names of their own.
    """
    found = list(dict.fromkeys(found))
    of_name: dict[str, list[Path]] = {}
    for path in found:
        if path.suffix.lower() in SUFFIXES or variable_of(path):
            of_name.setdefault(_stem(path), []).append(path)
    names: dict[str, Path] = {}
    for stem, paths in of_name.items():
        for name, path in zip(_with_folders(stem, paths), paths, strict=True):
            if name in names or (name != stem and name in of_name):
                raise ZooError(
                    f"{source}: {shown(paths[0])} and {shown(paths[-1])} share a name, and so would their maps; map "
                    "them into two outputs"
                )
            names[name] = path
    scenes = {path: _called(name, path) for name, path in names.items() if name != _stem(path)}
    return [scenes.get(path, path) for path in found]


def _called(name: str, path: Path) -> Assembly:
    day = date_of(path)
    return Assembly(name, shown(path), (Part((_stem(path),), str(path), 0),), day if day.isdigit() else "")


def _with_folders(stem: str, paths: list[Path]) -> list[str]:
    """Return ``stem`` for one path; for several, names with as few folders before it as tell them apart."""
    folders = [[part for part in shown(path).split("/")[:-1] if part] for path in paths]
    for count in range(max(map(len, folders)) + 1):
        names = [re.sub(r"[^\w.\-]", "-", "_".join([*parts[len(parts) - count :], stem])) for parts in folders]
        if len(set(names)) == len(names):
            break
    return names if len(paths) > 1 else [stem]


def _stem(path: Path) -> str:
    return variable_of(path) or path.stem
