"""What eozoo itself offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Spec, hookimpl

from eozoo.builtin import from_run


@hookimpl
def eozoo_models() -> list[Spec]:
    """Networks that fit tasks of any plugin."""
    return [*from_run.MODELS]
