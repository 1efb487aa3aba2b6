"""``eozoo show NAME``: what a task, model, dataset or loss is, before running it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click
from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.spec import KINDS

if TYPE_CHECKING:
    from eozoo.registry import Entry, Registry


@click.command("show")
@click.argument("name")
@click.pass_obj
def command(registry: Registry, name: str) -> None:
    """Describe NAME: purpose, inputs, outputs with units, options, licence, citation."""
    kinds = [kind for kind in KINDS if name in registry.names(kind)]
    if not kinds:
        raise ZooError(
            f"nothing is called {name!r}.{did_you_mean(name, [n for k in KINDS for n in registry.names(k)])}"
        )
    for kind in kinds:
        entry = registry.find(kind, name)
        target = registry.get(kind, name)
        click.echo(
            "\n".join(
                [*_header(entry), *(_task(target, name, registry) if kind == "task" else _factory(entry, target))]
            )
        )


def _header(entry: Entry) -> list[str]:
    spec = entry.spec
    lines = [f"{entry.kind} {spec.name}: {spec.summary}", f"  plugin    {entry.plugin} ({spec.licence})"]
    lines += [f"  takes     {port}" for port in spec.takes]
    lines += [f"  gives     {port}" for port in spec.gives]
    return lines + ([f"  source    {spec.citation}"] if spec.citation else [])


def _task(cls: Any, name: str, registry: Registry) -> list[str]:
    task = cls(cls.Settings(), registry)
    lines = [f"  gives     {output} [{unit}]" for output, unit in task.outputs().items()]
    lines += [f"  prepare   {step}: {line}" for step, line in cls.prepare_steps.items()]
    return [*lines, f"  settings  eozoo config {name}"]


def _factory(entry: Entry, target: Any) -> list[str]:
    parameters = inspect.signature(target).parameters.values()
    options = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    lines = [f"  options   {', '.join(options) or 'none'}"]
    if entry.kind == "model" and all(p.default is not p.empty for p in parameters):
        count = sum(p.numel() for p in target().parameters())
        lines.append(f"  size      {count:,} parameters at these options")
    return lines
