"""``eozoo list``: what the installed plugins offer. Instant: imports neither torch nor numpy."""

from __future__ import annotations

import click
from eozoo_core.spec import KINDS

from eozoo.cli.table import json_option, table
from eozoo.names import PLURAL
from eozoo.registry import Registry


@click.command("list")
@click.argument("kind", type=click.Choice(list(PLURAL.values())), required=False)
@json_option
@click.pass_obj
def command(registry: Registry, kind: str | None, as_json: bool) -> None:
    """List tasks, models, datasets and losses by name."""
    entries = [e for k in KINDS if kind in (None, PLURAL[k]) for e in registry.entries(k)]
    if as_json:
        import json

        records = [
            {"kind": e.kind, "name": registry.typed(e), "plugin": e.plugin, "summary": e.spec.summary} for e in entries
        ]
        problems = [{"plugin": p.plugin, "reason": p.reason} for p in registry.problems]
        content = {"entries": records, "problems": problems, "claims": registry.claims(), "disabled": registry.disabled}
        click.echo(json.dumps(content, indent=2))
        return
    if entries:
        rows = [[e.kind, registry.typed(e), e.plugin, e.spec.summary] for e in entries]
        click.echo(table(["kind", "name", "plugin", "summary"], rows))
    else:
        click.echo("nothing installed: pip install one of the plugins/ folders")
    for claim in registry.claims():
        click.secho(f"twice: {claim}", fg="yellow", err=True)
    for problem in registry.problems:
        click.secho(f"broken: {problem.plugin}: {problem.reason}; see 'eozoo doctor'", fg="red", err=True)
    for name in registry.disabled:
        click.echo(f"off: {name}; 'eozoo plugins enable {name}'", err=True)
