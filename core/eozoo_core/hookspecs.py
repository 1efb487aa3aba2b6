"""The four hooks of a plugin. A plugin is a module named by an entry point in the group "eozoo".

Each hook is called once, when the registry is built (at every ``eozoo`` command), with no arguments. It returns a list
of Spec and must do nothing else: no import of torch, numpy or the plugin's own heavy modules, no file access, no
registration. A plugin implements the hooks it has something for and leaves the others out. A hook that raises makes
the whole plugin a listed Problem; all other plugins go on working.
"""

from __future__ import annotations

import pluggy

from eozoo_core.spec import Spec

hookspec = pluggy.HookspecMarker("eozoo")
hookimpl = pluggy.HookimplMarker("eozoo")


@hookspec
def eozoo_tasks() -> list[Spec]:
    """Tasks. The target is a subclass of ``eozoo_core.Task``; the command line and the Python API call its verbs."""


@hookspec
def eozoo_models() -> list[Spec]:
    """Models. The target, called with keyword settings, returns a ``torch.nn.Module``; give ``takes`` and ``gives``."""


@hookspec
def eozoo_losses() -> list[Spec]:
    """Losses. The target, called with keyword settings, returns a callable that gives ``(sum, count)``.

    ``sum`` is a 0-d tensor that carries the gradient, ``count`` the number of labelled elements in it; the caller
    divides, because only it knows the counts of the other micro-batches and processes.
    """


@hookspec
def eozoo_datasets() -> list[Spec]:
    """Datasets. The target, called with keyword settings, returns a map-style ``torch.utils.data.Dataset``."""
