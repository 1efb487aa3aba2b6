"""Shell completion of registered names; a Tab imports plugins' light modules only."""

from __future__ import annotations

from collections.abc import Callable

import click
from eozoo_core.spec import KINDS

from eozoo.installed import called, installed
from eozoo.registry import Registry


def _named(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a completion by the registered names of ``kinds``."""

    def complete(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
        registry = ctx.find_object(Registry) or Registry.discover()
        return sorted({name for kind in kinds for name in registry.names(kind) if name.startswith(typed)})

    return complete


task_name, any_name = _named("task"), _named(*KINDS)


def plugin_name(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """Return the installed plugins, on or off, that begin with what is typed."""
    return [called(point) for point in installed() if called(point).startswith(typed)]
