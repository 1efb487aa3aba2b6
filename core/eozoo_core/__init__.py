"""What a plugin author imports: ``from eozoo_core import Spec, Task, hookimpl``.

Importing this package imports neither torch nor numpy nor pydantic: every name is fetched from its module on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eozoo_core.errors import ZooError
    from eozoo_core.hookspecs import hookimpl
    from eozoo_core.run.directory import Run
    from eozoo_core.settings import (
        EvalSettings,
        InferSettings,
        RuntimeSettings,
        Settings,
        TaskSettings,
        TrainSettings,
    )
    from eozoo_core.slots import Slot
    from eozoo_core.spec import KINDS, Card, Port, Source, Spec
    from eozoo_core.task import Graph, Network, Plan, Sample, Task

_HOME = {
    "KINDS": "spec",
    "Card": "spec",
    "EvalSettings": "settings",
    "Graph": "task",
    "InferSettings": "settings",
    "Network": "task",
    "Plan": "task",
    "Port": "spec",
    "Run": "run.directory",
    "RuntimeSettings": "settings",
    "Sample": "task",
    "Settings": "settings",
    "Slot": "slots",
    "Source": "spec",
    "Spec": "spec",
    "Task": "task",
    "TaskSettings": "settings",
    "TrainSettings": "settings",
    "ZooError": "errors",
    "hookimpl": "hookspecs",
}

__all__ = [
    "KINDS",
    "Card",
    "EvalSettings",
    "Graph",
    "InferSettings",
    "Network",
    "Plan",
    "Port",
    "Run",
    "RuntimeSettings",
    "Sample",
    "Settings",
    "Slot",
    "Source",
    "Spec",
    "Task",
    "TaskSettings",
    "TrainSettings",
    "ZooError",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eozoo_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eozoo_core.{_HOME[name]}"), name)
