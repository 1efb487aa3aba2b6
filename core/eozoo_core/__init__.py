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

_NAMES = {
    "errors": ("ZooError",),
    "hookspecs": ("hookimpl",),
    "run.directory": ("Run",),
    "settings": ("EvalSettings", "InferSettings", "RuntimeSettings", "Settings", "TaskSettings", "TrainSettings"),
    "slots": ("Slot",),
    "spec": ("KINDS", "Card", "Port", "Source", "Spec"),
    "task": ("Graph", "Network", "Plan", "Sample", "Task"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eozoo_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"eozoo_core.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
