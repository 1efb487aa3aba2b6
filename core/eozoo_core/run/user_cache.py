"""The folder of the user's in which anything may lie that can be fetched or found again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path:
    """Return $EOZOO_CACHE, or $XDG_CACHE_HOME (or ~/.cache) /eozoo. It need not be there, nor be writable."""
    if own := os.environ.get("EOZOO_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eozoo"
