"""Finds installed plugins and runs their tasks by name: the Python side of the ``eozoo`` command.

    import eozoo
    eozoo.list_tasks()
    model = eozoo.create_model("gedi_unet", in_channels=14)
    eozoo.load_run("runs/chm").predict({"image": array})

Importing it imports neither torch nor numpy.
"""

from eozoo.api import (
    LoadedRun,
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
    "create_loss",
    "create_model",
    "list_datasets",
    "list_losses",
    "list_models",
    "list_tasks",
    "load_run",
]
