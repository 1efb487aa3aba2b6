"""What eozoo itself offers, as names and places only: neither torch nor numpy is imported."""

from eozoo_core import Spec, hookimpl

from eozoo.builtin import table_cards


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """Tasks of anybody's data."""
    return [*table_cards.TASKS]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Networks that they begin with."""
    return [*table_cards.MODELS]
