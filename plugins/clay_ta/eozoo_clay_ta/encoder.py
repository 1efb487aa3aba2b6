"""The encoder that training begins with, and what results say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eozoo_core.run.progress import print_message
from eozoo_core.run.published import find_weights
from eozoo_core.task.ensemble import member_runs

from eozoo_clay_ta.plugin import SOURCES

if TYPE_CHECKING:
    from eozoo_core import Run

    from eozoo_clay_ta.clay import ClayEncoder
    from eozoo_clay_ta.settings import ClayModel, ClaySettings

RANDOM = "random encoder"  # stands on every result that was made without published weights


def take_weights(encoder: ClayEncoder, options: ClayModel, quiet: bool) -> str:
    """Load ``model.weights`` where they are given; return the receipt, "" for random weights (and say so)."""
    from eozoo_clay_ta.clay_weights import load_clay

    if options.weights:
        return f"{options.encoder}: {load_clay(encoder, options.weights, options.encoder)}"
    if not quiet:
        print_message(f"{options.encoder}: {RANDOM}")
    return ""


def require_weights(options: ClayModel) -> None:
    """Raise ZooError where ``model.weights`` names a file that is not there, or another than the published one."""
    if options.weights:
        find_weights(options.weights, options.encoder, SOURCES.get(options.encoder, ()))


def encoder_label(run: Run, settings: ClaySettings) -> str:
    """Return what stands on results: the encoder's name and where its weights come from."""
    if settings.model.type != "clay_transfer":
        return "no encoder"
    published = member_runs(run, settings)[0].info().get("weights")
    return f"{settings.model.encoder}, {'published weights' if published else RANDOM}"
