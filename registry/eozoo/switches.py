"""Which plugins the user has switched off: one small file, read before any plugin is imported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError

if TYPE_CHECKING:
    from eozoo.installed import Plugin


def file() -> str:
    """Return the place of the file: $XDG_CONFIG_HOME (or ~/.config) /eozoo/plugins.json."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - pathlib is slow to import
    return f"{home}/eozoo/plugins.json"


def disabled() -> frozenset[str]:
    """Return the plugins that are switched off: `Plugin.key`, or of old files the entry point's name alone.

    Raises ZooError for a damaged file.
    """
    try:
        with open(file(), encoding="utf-8") as found:  # noqa: PTH123
            import json

            names = json.load(found)["disabled"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("'disabled' is no list of names")
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{file()}: cannot be read ({error}); repair or delete it") from None
    return frozenset(names)


def is_off(point: Plugin, off: frozenset[str]) -> bool:
    """Whether ``off``, what `disabled` gives, has an entry point."""
    return point.key in off or point.name in off


def switch(key: str, on: bool) -> None:
    """Record that a plugin (`Plugin.key`) is on or off. Raises ZooError where that cannot be written."""
    import json
    from pathlib import Path

    from eozoo_core.run.written import write_text

    names = disabled() - {key, key.rpartition("/")[2]} if on else disabled() | {key}
    write_text(Path(file()), json.dumps({"disabled": sorted(names)}, indent=2) + "\n")
