"""Shell completion of registered names; a Tab imports plugins' light modules only."""

from __future__ import annotations

import click
from eozoo_core.spec import KINDS


def task_name(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Return the tasks that begin with what is typed."""
    return _names(ctx, ("task",), typed)


def any_name(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Return everything registered that begins with what is typed."""
    return _names(ctx, KINDS, typed)


def plugin_name(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Return the installed plugins, on or off, that begin with what is typed."""
    from eozoo.registry import installed

    return [point.name for point in installed() if point.name.startswith(typed)]


def _names(ctx: click.Context, kinds: tuple[str, ...], typed: str) -> list[str]:
    from eozoo.registry import Registry

    registry = ctx.find_object(Registry) or Registry.discover()
    return sorted({name for kind in kinds for name in registry.names(kind) if name.startswith(typed)})


def model_name(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Return the models that begin with what is typed."""
    return _names(ctx, ("model",), typed)
