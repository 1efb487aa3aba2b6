"""Settings of a run through time: read as they were written, compared when it goes on, what changed written down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run import checkpoint, manifest
from eozoo_core.run.parsed import read_object
from eozoo_core.run.rank import is_first_process
from eozoo_core.run.writing import append
from eozoo_core.settings import TaskSettings, config
from eozoo_core.settings.fixed import by_content, fixed_key, fixed_part

S = TypeVar("S", bound=TaskSettings)
FORMAT = 2  # of run.json; 1 had settings under other names, which are read as aliases
READS = (1, FORMAT)
CHANGES = "changed_settings.jsonl"
_MAY_GROW = ("train.epochs", "train.steps")


def now() -> str:
    """The time as runs write it: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def task_of(path: Path) -> str:
    """Return the name of the task that made the run at ``path``. Raises ZooError where there is none."""
    info = run_info(path)
    try:
        task, found = str(info["task"]), info["format"]
    except (KeyError, TypeError):
        _require_readable(Path(path))
        raise ZooError(
            f"{path}: holds no run (no run.json){link_of(path)}; train one with 'eozoo train TASK --run'"
        ) from None
    if found not in READS:
        raise ZooError(f"{path}: is a run of format {found!r}, this eozoo reads {FORMAT}; update eozoo")
    return task


def read_settings(path: Path, cls: type[S], overrides: Iterable[str] = ()) -> S:
    """Return the settings of the run at ``path``, with free ones changed by ``overrides`` (``key=value``).

    Raises ZooError where an override names a fixed setting, and where config.yaml does not fit this version: then it
    names the one that wrote it.
    """
    written, overrides = written_settings(path, cls), list(overrides)
    for key, value in config.parse_overrides(cls, overrides):
        if (fixed := fixed_key(cls, key, value)) is not None:
            raise ZooError(f"--set {key}: {fixed} was fixed by training; train a new run instead")
    return config.load_settings(cls, None, overrides, config.to_dict(written))


def written_settings(path: Path, cls: type[S]) -> S:
    """Return what config.yaml says, or best.pt where that is alone.

    Raises ZooError naming the version that wrote it where this one cannot read it.
    """
    file, best = Path(path) / "config.yaml", Path(path) / "best.pt"
    if best.exists() and not file.exists():
        return checkpoint_settings(best, checkpoint.load_checkpoint(best), cls)
    return _build(cls, config.read_yaml(file), str(file), run_info(path))


def checkpoint_settings(file: Path, content: dict[str, Any], cls: type[S]) -> S:
    """Return the settings inside a checkpoint, whatever config.yaml beside it says; raises as ``written_settings``."""
    return _build(cls, content["config"], str(file), run_info(Path(file).parent))


def fixed_changes(old: TaskSettings, new: TaskSettings) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, old value, new value) of every setting that a run fixes and that differs."""
    one, two = (fixed_part(type(new), config.to_dict(settings)) for settings in (old, new))
    return list(config.differences(one, two))


def check_continues(path: Path, settings: TaskSettings) -> None:
    """Raise ZooError where the run at ``path``, which has learned something, cannot go on with ``settings``."""
    known, written = run_info(path).get("contents", {}), written_settings(path, type(settings))
    paths = by_content(type(settings))
    for key, was, now_ in fixed_changes(written, settings):
        grows = key in _MAY_GROW and was is not None and (now_ is None or now_ >= was)
        if not grows and key not in paths:
            raise _changed(path, f"{key}={was!r}, now {now_!r}")
    for key in paths:
        was, now_ = (config.leaf(config.to_dict(s), key) for s in (written, settings))
        recorded, found = known.get(key) or _content(was), _content(now_)
        same = found == recorded if found and recorded else was == now_
        if not same:
            hashes = f" (sha256 {recorded[:16]}..., now {found[:16]}...)" if found and recorded else ""
            raise _changed(path, f"{key}={was!r}, now {now_!r}{hashes}")


def check_trained(file: Path, content: dict[str, Any], settings: S) -> S:
    """Return the settings inside a checkpoint. Raises ZooError where ``settings``, the run's, fix something else."""
    learned, paths = checkpoint_settings(file, content, type(settings)), by_content(type(settings))
    for key, was, now_ in fixed_changes(learned, settings):
        if key not in _MAY_GROW and key not in paths:
            raise ZooError(
                f"{file}: was trained with {key}={was!r}, {Path(file).parent / 'config.yaml'} says {now_!r}; set it "
                "back there: what was learned does not change with the file"
            )
    return learned


def require_written(path: Path, settings: TaskSettings) -> None:
    """Raise ZooError where config.yaml is not what training wrote, first for what best.pt says of what was learned."""
    best = Path(path) / "best.pt"
    try:
        manifest.require_settings(run_info(path), Path(path))
    except ZooError:
        if best.exists():
            check_trained(best, checkpoint.load_checkpoint(best), settings)
        raise


def contents(settings: TaskSettings) -> dict[str, str]:
    """Return the hash of every file of which only the content counts, by the dotted key of its setting."""
    values = config.to_dict(settings)
    hashes = {key: _content(config.leaf(values, key)) for key in by_content(type(settings))}
    return {key: digest for key, digest in hashes.items() if digest is not None}


def note_changes(path: Path, settings: TaskSettings) -> None:
    """Write down which settings this command changes: a line of changed_settings.jsonl with when, argv and changes.

    A run on a read-only disk is used without.
    """
    with suppress(ZooError):
        written = written_settings(path, type(settings))
        changed = list(config.differences(config.to_dict(written), config.to_dict(settings)))
        if changed and is_first_process():
            record = {"when": now(), "argv": sys.argv, "changes": [list(change) for change in changed]}
            append(Path(path) / CHANGES, json.dumps(record) + "\n")


def _build(cls: type[S], values: dict, source: str, info: dict) -> S:
    try:
        return config.build_settings(cls, _as_then(cls, values), source)
    except ZooError as error:
        wrote = (info.get("history") or [{}])[-1].get("eozoo")
        there, here = (wrote, info.get("format")), (version("eozoo"), FORMAT)
        if wrote is None or there == here:
            raise
        raise ZooError(
            f"{str(error).rstrip('.')}. It was written by eozoo {wrote} (run format {there[1]}), this is {here[0]} "
            f"(format {FORMAT}): open it with that version, or train again"
        ) from None


def _as_then(cls: type[S], values: dict) -> dict:
    """Fill in what ``cls.earlier`` says of settings that a run does not name."""
    for key, value in cls.earlier.items():
        scope, name = key.split(".")
        group = values.get(scope) or {}
        values = values if name in group else {**values, scope: {**group, name: value}}
    return values


def run_info(path: Path) -> dict[str, Any]:
    """Return the content of run.json, or what best.pt tells of it where that is alone; {} where nothing can be read."""
    try:
        content = json.loads((Path(path) / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _told_by_best(Path(path) / "best.pt")
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _require_readable(path: Path) -> None:
    """Raise ZooError for a run.json, or a best.pt without one, that is there and cannot be read."""
    file, best = path / "run.json", path / "best.pt"
    if not file.exists():
        if best.exists():
            checkpoint.load_checkpoint(best)
        return
    alone = f"; to use {best.name} alone (eval, infer), delete {file.name}" if best.exists() else ""
    remedy = f"copy it back from where the run was made{alone}"
    read_object(file, remedy)
    raise ZooError(f"{file}: is damaged (it names no task, or no format); {remedy}")


def _told_by_best(file: Path) -> dict[str, Any]:
    """What a checkpoint says of its run: task, survey, and the hashes of the files that it needs."""
    if not file.exists():
        return {}
    try:
        content = checkpoint.load_checkpoint(file)
    except ZooError:
        return {}
    told = {"task": content.get("task"), "format": FORMAT, **{key: content.get(key) for key in ("survey", "beside")}}
    told["base"] = content.get("base", {}).get("sha256")
    return {key: value for key, value in told.items() if value is not None}


def _content(path: str | None) -> str | None:
    """The hash of a file, or of a run's best.pt; None where there is none."""
    if path is None:
        return None
    file = Path(path) / "best.pt" if Path(path).is_dir() else Path(path)
    return checkpoint.sha256(file) if file.is_file() else None


def _changed(path: Path, what: str) -> ZooError:
    return ZooError(
        f"{path}: was trained with {what}; use a new --run (with --resume or --init-from to start from this one)"
    )
