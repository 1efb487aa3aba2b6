"""Finds installed plugins and runs their tasks by name: the Python side of the ``eozoo`` command.

    import eozoo
    eozoo.list_tasks()
    model = eozoo.create_model("gedi_unet", in_channels=14)
    eozoo.load_run("runs/chm").predict({"image": array})

Importing it imports neither torch nor numpy.
"""

import os
import sys

# Under ``python -m eozoo`` the current folder stands first on the path: data lie there, not what eozoo imports.
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - light
    del sys.path[0]

TYPE_CHECKING = False  # as typing's own, which takes longer to import than all of this: Ctrl-C would be told by Python
if TYPE_CHECKING:
    from eozoo.api import (
        LoadedRun,
        create_dataset,
        create_loss,
        create_model,
        list_datasets,
        list_losses,
        list_models,
        list_tasks,
        load_run,
    )
    from eozoo.registry import Problem, Registry

__all__ = [
    "LoadedRun",
    "Problem",
    "Registry",
    "create_dataset",
    "create_loss",
    "create_model",
    "list_datasets",
    "list_losses",
    "list_models",
    "list_tasks",
    "load_run",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'eozoo' has no attribute {name!r}")
    import importlib

    home = "registry" if name in ("Problem", "Registry") else "api"
    return getattr(importlib.import_module(f"eozoo.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
