"""Which plugins the user has switched off: one small file, read before any plugin is imported."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eozoo_core.errors import ZooError


def file() -> Path:
    """Return the place of the file: $XDG_CONFIG_HOME (or ~/.config) /eozoo/plugins.json."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "eozoo" / "plugins.json"


def disabled() -> frozenset[str]:
    """Return the entry-point names of the plugins that are switched off. Raises ZooError for a damaged file."""
    try:
        names = json.loads(file().read_text(encoding="utf-8"))["disabled"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("'disabled' is no list of names")
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{file()}: cannot be read ({error}); repair or delete it") from None
    return frozenset(names)


def switch(name: str, on: bool) -> None:
    """Record that the plugin ``name`` (its entry point) is on or off. Raises ZooError where that cannot be written."""
    from eozoo_core.run.written import write_text

    names = disabled() - {name} if on else disabled() | {name}
    write_text(file(), json.dumps({"disabled": sorted(names)}, indent=2) + "\n")
