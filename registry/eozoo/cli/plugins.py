"""``eozoo plugins``: which plugins are installed, and switching one off or on. Imports none of them."""

from __future__ import annotations

import json

import click
from eozoo_core.errors import ZooError, did_you_mean

from eozoo import switches
from eozoo.cli.complete import plugin_name
from eozoo.cli.table import json_option, table
from eozoo.installed import Plugin, installed


@click.group("plugins", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins, on or off, without importing any."""
    if ctx.invoked_subcommand:
        return
    off = switches.disabled()
    rows = [(point.name, point.label, "off" if point.name in off else "on") for point in installed()]
    if as_json:
        click.echo(json.dumps([{"name": n, "plugin": p, "enabled": s == "on"} for n, p, s in rows], indent=2))
    elif rows:
        click.echo(table(["name", "plugin", "state"], [list(row) for row in rows]))
    else:
        click.echo("nothing installed: pip install one of the plugins/ folders")


@command.command("disable")
@click.argument("name", shell_complete=plugin_name)
def disable(name: str) -> None:
    """Switch a plugin off: it is not imported any more, and its names are gone."""
    for point in _named(name):
        switches.switch(point.name, on=False)
        click.echo(f"{point.name} ({point.label}) is off; 'eozoo plugins enable {point.name}' brings it back")


@command.command("enable")
@click.argument("name", shell_complete=plugin_name)
def enable(name: str) -> None:
    """Switch a plugin on again."""
    if name in switches.disabled() and not any(point.name == name for point in installed()):
        switches.switch(name, on=True)  # uninstalled meanwhile
        click.echo(f"{name} is on, though not installed")
        return
    for point in _named(name):
        switches.switch(point.name, on=True)
        click.echo(f"{point.name} ({point.label}) is on")


def _named(name: str) -> list[Plugin]:
    """The entry points of that name or of the distribution of that name."""
    wanted = name.lower().replace("_", "-")
    points = installed()
    found = [p for p in points if p.name == name] or [
        p for p in points if p.distribution.lower().replace("_", "-") == wanted
    ]
    if not found:
        raise ZooError(f"no plugin {name!r} is installed.{did_you_mean(name, [point.name for point in points])}")
    return found
