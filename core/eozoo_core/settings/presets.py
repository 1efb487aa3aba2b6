"""Settings with a name: YAML files that a plugin ships, listed in ``Task.presets``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from eozoo_core.errors import ZooError, did_you_mean
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.config import load_settings, read_yaml


class Configurable(Protocol):
    """A task, as far as its settings go."""

    Settings: type[TaskSettings]
    presets: Mapping[str, Path]


def preset_about(file: Path) -> str:
    """Return what a preset is for: the comment in the first line of its file."""
    return file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def given_settings(
    task: Configurable, preset: str | None, file: Path | None, overrides: Iterable[str] = (), base: dict | None = None
) -> TaskSettings:
    """Build the settings of ``task`` from its defaults, a preset, a file and ``key=value``; later wins.

    ``base``: plain values that take the place of a preset where none is named.

    A preset goes by the name of its file, too (``documented_landcover``). Raises ZooError for an unknown preset, for a
    ``file`` that is not there and has the name of one, and as `load_settings` does.
    """
    if preset is not None:
        shipped = next((yaml for name, yaml in task.presets.items() if preset in (name, yaml.stem)), None)
        if shipped is None:
            raise ZooError(f"no preset {preset!r}.{did_you_mean(preset, task.presets)}")
        base = read_yaml(shipped)
    if file is not None and not file.exists():
        for name, shipped in task.presets.items():
            if {file.stem, file.stem.rpartition(".")[2], file.name} & {name, shipped.stem}:  # hardware.lowvr.yaml too
                raise ZooError(f"--config {file}: no such file; the plugin's own is --preset {name}")
    return load_settings(task.Settings, file, overrides, base)
