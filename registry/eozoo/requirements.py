"""What a plugin's package requires, and which of it is not installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement


def unmet(required: Iterable[str], extra: str = "") -> list[tuple[str, str]]:
    """Return (requirement, why) of all that is missing or of another version, in order, each once.

    What a requirement asks with an extra ("dask[array]>=2024.1") is looked up in the installed package's own
    requirements. The package ``eozoo`` is left out: `compat` judges it. ``extra``: only what this extra asks for.
    """
    found: dict[str, str] = {}
    for text in required:
        for requirement, why in _judge(text, extra, frozenset()):
            found.setdefault(requirement, why)
    return list(found.items())


def _judge(text: str, extra: str, seen: frozenset[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        yield text, f"which cannot be read ({str(error).splitlines()[0]})"
        return
    always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    applies = not always and wanted.marker.evaluate({"extra": extra}) if extra else always
    if not applies or wanted.name.lower() == "eozoo":
        return
    plain = f"{wanted.name}{''.join(sorted(f'[{e}]' for e in wanted.extras))}{wanted.specifier}"
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        yield plain, "which is not installed"
        return
    if not wanted.specifier.contains(installed, prereleases=True):
        yield plain, f"installed is {installed}"
        return
    for name in sorted(wanted.extras):
        if (wanted.name, name) not in seen:
            for line in requires(wanted.name) or ():
                yield from _judge(line, name, seen | {(wanted.name, name)})
