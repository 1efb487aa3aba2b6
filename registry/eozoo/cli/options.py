"""Options and small helpers that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eozoo.cli.complete import task_name
from eozoo.registry import Registry

if TYPE_CHECKING:
    from eozoo_core import Run, Task


PATH = click.Path(path_type=Path)
task_argument = click.argument("task", shell_complete=task_name)
run_option = click.option("--run", "run_dir", type=PATH, required=True, metavar="DIR", help="Run directory.")
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting; repeatable."
)


def settings_options(command: Callable) -> Callable:
    """Add --preset, --config and --set; see ``given_settings``."""
    config = click.option("--config", "config_file", type=PATH, metavar="FILE", help="YAML file of settings.")
    preset = click.option("--preset", metavar="NAME", help="Settings that the plugin ships: see 'eozoo show TASK'.")
    return preset(config(set_option(command)))


def runtime_options(command: Callable) -> Callable:
    """Add --device, --devices, --nodes and --quiet: short forms of ``--set runtime...``."""
    for option in (
        click.option("--quiet", is_flag=True, help="No progress bar."),
        click.option("--nodes", type=int, metavar="M", help="Machines (data parallel)."),
        click.option("--devices", type=int, metavar="N", help="Processes on this machine, one per device."),
        click.option("--device", metavar="NAME", help="auto, cpu, mps, cuda or cuda:N."),
    ):
        command = option(command)
    return command


def runtime_overrides(device: str | None, devices: int | None, nodes: int | None, quiet: bool) -> list[str]:
    """Turn the short forms into overrides."""
    given = {"device": device, "devices": devices, "nodes": nodes, "quiet": "true" if quiet else None}
    return [f"runtime.{key}={value}" for key, value in given.items() if value is not None]


def workers_options(command: Callable) -> Callable:
    """Add --workers and --dask."""
    dask = click.option(
        "--dask", metavar="ADDRESS", help="Dask scheduler whose workers share the work: tcp://HOST:PORT, or its file."
    )
    count = click.IntRange(min=1)
    return click.option("--workers", type=count, metavar="N", help="Processes that share the work.")(dask(command))


def workers_overrides(scope: str, workers: int | None, dask: str | None) -> list[str]:
    """Turn them into overrides of ``scope``."""
    given = {"workers": workers, "dask": dask}
    return [f"{scope}.{key}={value}" for key, value in given.items() if value is not None]


def open_task(registry: Registry, name: str, run_dir: Path, overrides: list[str]) -> tuple[Task, Run]:
    """Open a run and build its task with the run's settings."""
    from eozoo_core import Run

    from eozoo.trained_with import registry_of

    registry = registry_of(registry, name, run_dir)
    cls = registry.get("task", registry.own.qualified)
    run = Run.open(run_dir, cls.Settings, registry.own.spec.name, overrides)
    return cls(run.settings, registry), run


def note_parts(run: Run, registry: Registry, task: Any) -> None:
    """Record in a run which other plugins its networks, losses and datasets are from."""
    from eozoo.trained_with import parts_of

    if parts := parts_of(registry, task, run.settings):
        run.note("parts", parts)


@contextmanager
def blame(registry: Registry, name: str) -> Iterator[None]:
    """Add to any bug's traceback whose plugin it happened in."""
    from eozoo_core.errors import Interrupted, ZooError

    try:
        yield
    except (ZooError, Interrupted, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        own = registry.own or registry.find("task", name)
        error.add_note(f"in task {name!r} from {own.plugin}: a bug, please report it there")
        raise


@contextmanager
def places(run: Run) -> Iterator[None]:
    """Say of a path of the settings that leads nowhere where it was looked for; see ``settings.places``."""
    from eozoo_core.settings.places import naming_places

    history = run.info().get("history") or [{}]
    with naming_places(run.settings, str(history[-1].get("folder", ""))):
        yield


def echo(text: Any = "") -> None:
    """Print to standard output, from the first process only."""
    from eozoo_core.run.rank import is_first_process

    if is_first_process():
        click.echo(text)
