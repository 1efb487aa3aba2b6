"""``eozoo doctor``: versions, devices, what importing each plugin costs, what cannot be used, why, and what helps."""

from __future__ import annotations

import json
import platform
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click
from eozoo_core.api import speaks
from eozoo_core.errors import ZooError

from eozoo import findings, probe, switches
from eozoo.cli.table import json_option
from eozoo.installed import Plugin, called, installed
from eozoo.registry import Problem, Registry

_PACKAGES = ("eozoo", "torch", "lightning-fabric", "numpy", "rasterio", "timm", "peft", "bitsandbytes", "h5py")


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Explain what is installed and every plugin that cannot be used; exit code 1 if there is one."""
    off = switches.disabled()
    points = [point for point in installed() if not switches.is_off(point, off)]
    imports = {point.key: (point, probe.time_import(point)) for point in points}
    hanging = {key: (point, found.failure) for key, (point, found) in imports.items() if found.failure}
    registry = ctx.obj or Registry.discover(skip=hanging)
    problems = [
        *registry.problems,
        *(Problem(point.label, ZooError(failure)) for point, failure in hanging.values()),
        *findings.unmet_requirements(points),
        *findings.broken_targets(registry),
    ]
    plugins = [_plugin(registry, point, found) for point, found in imports.values()]
    known = {plugin["plugin"] for plugin in plugins}
    others = sorted({e.plugin for e in registry.everything()} - known)
    plugins += [{"plugin": name, "offers": _offers(registry, name), "import_seconds": None} for name in others]
    content = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": _devices(),
        "task_api": speaks(),
        "plugins": [plugin for plugin in plugins if plugin["offers"]],
        "problems": [{"plugin": p.plugin, "reason": p.reason, "remedy": _remedy(p)} for p in problems],
        "warnings": findings.warnings(registry, points),
        "claims": registry.claims(),
        "disabled": [*registry.disabled, *sorted(off - {name for p in installed() for name in (p.key, p.name)})],
    }
    click.echo(json.dumps(content, indent=2)) if as_json else _print(content, problems)
    sys.exit(1 if problems else 0)


def _print(content: dict[str, Any], problems: list[Problem]) -> None:
    click.echo(f"python {content['python']} on {content['platform']}")
    click.echo("  ".join(f"{name} {found or '-'}" for name, found in content["packages"].items()))
    click.echo(f"{content['devices']}; tasks of api {content['task_api']}")
    for plugin in content["plugins"]:
        seconds, slow = plugin["import_seconds"], plugin.get("slow")
        cost = "" if seconds is None else f"  (imported in {seconds:.2f} CPU s)"
        click.secho(f"{'slow' if slow else 'ok':<8}{plugin['plugin']}: {', '.join(plugin['offers'])}{cost}",
                    fg="yellow" if slow else None)  # fmt: skip
        if slow:
            costly = ", ".join(plugin["costly"]) or "much"
            click.echo(f"        its module imports {costly}, at every eozoo command: tell its authors to import late")
            click.echo(f"        or: eozoo plugins disable {plugin['name']}")
    for claim in content["claims"]:
        click.secho(f"twice   {claim}", fg="yellow")
    for warning in content["warnings"]:
        click.secho(f"note    {warning['plugin']}: {warning['reason']}", fg="yellow")
    for problem, entry in zip(problems, content["problems"], strict=True):
        click.secho(f"broken  {problem.plugin}: {problem.reason}", fg="red")
        if not isinstance(problem.error, ZooError):
            click.echo("".join(traceback.format_exception(problem.error)).rstrip())
        click.echo(f"        {entry['remedy']}")
    for name in content["disabled"]:
        click.echo(f"off     {name}: eozoo plugins enable {name}")


def _plugin(registry: Registry, point: Plugin, found: probe.Import) -> dict[str, Any]:
    return {
        "plugin": point.label,
        "name": called(point),
        "offers": _offers(registry, point.label),
        "import_seconds": found.seconds,
        "slow": found.slow,
        "costly": list(found.costly),
    }


def _offers(registry: Registry, plugin: str) -> list[str]:
    return [registry.typed(entry) for entry in registry.everything() if entry.plugin == plugin]


def _remedy(problem: Problem) -> str:
    package = problem.plugin.split()[0]
    points = [called(p) for p in installed() if p.label == problem.plugin]
    off = f"eozoo plugins disable {points[0]}, or: " if points else ""
    text = problem.reason
    if isinstance(problem.error, ModuleNotFoundError) and problem.error.name:
        return f"pip install the package that has the module {problem.error.name!r}, or: {off}pip uninstall {package}"
    if "pip install " in text:
        return text[text.index("pip install ") :]
    if "built for" in text:
        return f"pip install --upgrade {package}, or: {off}pip uninstall {package}"
    return f"repair it, or: {off}pip uninstall {package}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    names = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return f"devices: {', '.join(names)}; torch uses {torch.get_num_threads()} CPU thread(s)"
