"""The names that ``--input`` stands for: a file, folder or address itself, the files of a pattern or of a list."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_address, named, shown, variable_of

LIST = ".txt"
_WILD = "*?["
_MOST = 2**26  # bytes of a list


def expand(source: Path) -> list[Path]:
    """Return the names that ``source`` stands for.

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


def _apart(source: Path, found: Iterable[Path]) -> list[Path]:
    """Each name once. Raises ZooError for two of which maps would be called alike."""
    names: dict[str, Path] = {}
    for path in dict.fromkeys(found):
        other = names.setdefault(variable_of(path) or path.stem, path)
        if other != path:
            raise ZooError(
                f"{source}: {shown(other)} and {shown(path)} share a name, and so would their maps; map them into two "
                "outputs"
            )
    return list(names.values())
