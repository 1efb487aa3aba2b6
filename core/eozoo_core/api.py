"""The version of the contract between core and tasks. What it promises stands in docs/write_a_plugin.md, "Versions"."""

from __future__ import annotations

from typing import Any

API = 1  # what this core is written for
OLDEST = 1  # the oldest that it still speaks; from OLDEST to API - 1 with a notice


def speaks() -> str:
    """Return the versions that this core speaks, in words."""
    return str(API) if OLDEST == API else f"{OLDEST} to {API}"


def wrong_api(task: Any) -> str:
    """Return in one line why the ``api`` of a task's class is none that this core speaks; "" where it is."""
    api = getattr(task, "api", 1)
    if not isinstance(api, int) or isinstance(api, bool) or api < 1:
        return f"it says api = {api!r}, expected a whole number; this eozoo speaks api {speaks()}"
    if api > API:
        return f"it is written for api {api}, this eozoo speaks api {speaks()}; update eozoo"
    return f"it is written for api {api}, this eozoo speaks api {speaks()}; update its plugin" if api < OLDEST else ""


def ageing_api(task: Any) -> str:
    """Return a notice for a task of an older ``api`` that this core still speaks; "" for the present one."""
    api = getattr(task, "api", 1)
    return f"it is written for api {api}; this eozoo still speaks it, the next break does not" if api < API else ""
