"""A look at one plugin from outside: what importing it costs, and whether what it declares is there.

Importing happens in a process of its own, so that a plugin that hangs, crashes or takes ten seconds harms nothing.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eozoo_core.spec import Spec

from eozoo.installed import Plugin

PATIENCE = 60.0  # seconds that an import may take before it counts as hanging
SLOW = 0.3  # CPU seconds; a light module takes a hundredth

# Modules that the plugin's own import brought in, the costly ones first to be named.
_SCRIPT = """
import json, sys, time
from eozoo_core import Port, Spec, hookimpl
from eozoo_core.hookspecs import pluggy
before, start = set(sys.modules), time.process_time()
__import__(sys.argv[1])
seconds = time.process_time() - start
brought = {name.split(".")[0] for name in set(sys.modules) - before}
print(json.dumps([seconds, sorted(brought & set(sys.argv[2:]))]))
"""
_COSTLY = ("torch", "numpy", "scipy", "pandas", "xarray", "rasterio", "timm", "peft", "transformers", "lightning",
           "lightning_fabric", "matplotlib", "sklearn", "h5py", "pydantic")  # fmt: skip


# Imports every target and resolves what is named in it; a line for each on the real standard output.
_TARGETS = """
import faulthandler, importlib, json, os, sys
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the modules print
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
for target in asked["targets"]:
    faulthandler.dump_traceback_later(asked["patience"], exit=True)
    module, _, attribute = target.partition(":")
    said = None
    try:
        found = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        api = getattr(found, "api", 1)
        said = {"api": api if isinstance(api, int) else repr(api)}
    except BaseException as error:
        said = {"failure": " ".join(f"{type(error).__name__}: {error}".split()), "lacks": getattr(error, "name", "")}
    print(json.dumps(said, default=repr), file=out, flush=True)
"""


@dataclass(frozen=True)
class Target:
    """What importing a target gave: its ``api``, or a ``failure`` in one line, of a missing module its name.

    api: as `eozoo_core.api` has it.
    """

    api: Any = 1
    failure: str = ""
    lacks: str = ""


@dataclass(frozen=True)
class Import:
    """What importing a plugin's module took: CPU seconds and costly modules; ``failure`` where it never came back."""

    seconds: float | None
    costly: tuple[str, ...] = ()
    failure: str = ""

    @property
    def slow(self) -> bool:
        """Whether it makes every ``eozoo`` command noticeably slower."""
        return self.seconds is not None and self.seconds > SLOW


def time_import(point: Plugin) -> Import:
    """Import the module of an entry point in a fresh interpreter. An exception there is no failure here."""
    command = [sys.executable, "-P", "-c", _SCRIPT, point.module, *_COSTLY]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Import(None, failure=f"importing it does not end within {PATIENCE:g} s")
    if done.returncode < 0:
        return Import(None, failure=f"importing it kills the process (signal {-done.returncode})")
    try:
        seconds, costly = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        return Import(None)  # it raised: the registry tells why
    return Import(seconds, tuple(costly))


def import_targets(targets: Sequence[str]) -> list[Target]:
    """Import every "module:attribute" in a process of its own; one that ends or hangs it is that target's failure."""
    found: list[Target] = []
    while len(found) < len(targets):
        asked = {"path": [p for p in sys.path if isinstance(p, str)], "targets": targets[len(found) :]}
        command, words = [sys.executable, "-P", "-c", _TARGETS], json.dumps({**asked, "patience": PATIENCE})
        done = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
        found += [Target(**json.loads(line)) for line in done.stdout.splitlines()]
        if len(found) < len(targets):
            hung, how = "Timeout (" in done.stderr, f"ends the process (exit code {done.returncode})"
            found.append(Target(failure=f"does not end within {PATIENCE:g} s" if hung else how))
    return found


def wrong_target(spec: Spec) -> str | None:
    """Return why the target of ``spec`` cannot be there, None where it seems to be; imports only its package."""
    if lacking := spec.lacking():
        return f"it needs {lacking}"
    module, _, attribute = spec.target.partition(":")
    found = _find(module)
    if found is None:
        return f"its module {module!r} does not exist"
    if not (found.origin or "").endswith(".py"):
        return None
    names = _top_level(Path(found.origin))
    if names is not None and attribute.split(".")[0] not in names:
        return f"its module {module!r} has no {attribute!r}"
    return None


def _find(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None


def _top_level(file: Path) -> set[str] | None:
    """Names that a module defines, without running it; None where only running it would tell."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add("*" if node.name == "__getattr__" else node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    dynamic = "*" in names or "globals" in file.read_text(encoding="utf-8")
    return None if dynamic else names
