"""``eozoo doctor``: versions, devices, and every plugin that could not be used, with the reason."""

from __future__ import annotations

import platform
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import click
from eozoo_core.errors import ZooError
from eozoo_core.spec import KINDS

if TYPE_CHECKING:
    from eozoo.registry import Registry

_PACKAGES = ("eozoo", "torch", "lightning-fabric", "numpy", "rasterio", "timm", "peft", "bitsandbytes", "h5py")


@click.command("doctor")
@click.pass_obj
def command(registry: Registry) -> None:
    """Explain what is installed and every plugin that cannot be used; exit code 1 if there is one."""
    click.echo(f"python {platform.python_version()} on {platform.platform()}")
    click.echo("  ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    click.echo(_devices())
    plugins = sorted({entry.plugin for kind in KINDS for entry in registry.entries(kind)})
    for plugin in plugins:
        names = [e.spec.name for kind in KINDS for e in registry.entries(kind) if e.plugin == plugin]
        click.echo(f"ok      {plugin}: {', '.join(names)}")
    for problem in registry.problems:
        click.secho(f"broken  {problem.plugin}: {problem.reason}", fg="red")
        if not isinstance(problem.error, ZooError):
            click.echo("".join(traceback.format_exception(problem.error)).rstrip())
        click.echo(f"        repair it, or: pip uninstall {problem.plugin.split()[0]}")
    sys.exit(1 if registry.problems else 0)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def _devices() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    names = ["cpu", *(f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return f"devices: {', '.join(names)}; torch uses {torch.get_num_threads()} CPU thread(s)"
