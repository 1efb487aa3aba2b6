"""``eozoo plugins``: which plugins are installed, and switching one off or on. Imports none of them."""

from __future__ import annotations

import json

import click
from eozoo_core.errors import ZooError, did_you_mean

from eozoo import switches
from eozoo.cli.complete import plugin_name
from eozoo.cli.table import json_option, table
from eozoo.installed import Plugin, called, installed, normal


@click.group("plugins", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins, on or off, without importing any."""
    if ctx.invoked_subcommand:
        return
    off = switches.disabled()
    rows = [(called(point), point.label, "off" if switches.is_off(point, off) else "on") for point in installed()]
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
        switches.switch(point.key, on=False)
        click.echo(f"{called(point)} ({point.label}) is off; 'eozoo plugins enable {called(point)}' brings it back")


@command.command("enable")
@click.argument("name", shell_complete=plugin_name)
def enable(name: str) -> None:
    """Switch a plugin on again."""
    gone = [key for key in switches.disabled() if name in (key, *key.split("/"))]
    if gone and not any(name in (point.name, point.key, point.distribution) for point in installed()):
        for key in gone:  # uninstalled meanwhile
            switches.switch(key, on=True)
        click.echo(f"{name} is on, though not installed")
        return
    for point in _named(name):
        switches.switch(point.key, on=True)
        click.echo(f"{called(point)} ({point.label}) is on")


def _named(name: str) -> list[Plugin]:
    """The entry point of that name or key, or all of the distribution of that name."""
    points = installed()
    found = [p for p in points if name in (p.name, p.key)] or [
        p for p in points if normal(p.distribution) == normal(name)
    ]
    if not found:
        raise ZooError(f"no plugin {name!r} is installed.{did_you_mean(name, [point.name for point in points])}")
    if len(found) > 1 and found[0].distribution != found[1].distribution:
        which = " or ".join(repr(point.key) for point in found)
        raise ZooError(f"plugin {name!r} is one of {' and '.join(p.label for p in found)}; write {which}")
    return found
