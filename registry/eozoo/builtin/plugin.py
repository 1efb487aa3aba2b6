"""What eozoo itself offers, as names and places only: ``eozoo list`` imports this module."""

from eozoo_core import Spec, hookimpl

from eozoo.builtin import from_run, image_cards, table_cards


@hookimpl
def eozoo_tasks() -> list[Spec]:
    """Tasks for anybody's data."""
    return [*image_cards.TASKS, *table_cards.TASKS]


@hookimpl
def eozoo_models() -> list[Spec]:
    """Networks for them, and for every slot that they fit."""
    return [*image_cards.MODELS, *table_cards.MODELS, *from_run.MODELS]


@hookimpl
def eozoo_losses() -> list[Spec]:
    """Losses over labelled values only: NaN in the target = no label."""
    return [*image_cards.LOSSES]
