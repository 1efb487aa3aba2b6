"""A look at one plugin from outside: what importing it costs, and whether what it declares is there.

Importing happens in a process of its own, so that a plugin that hangs, crashes or takes ten seconds harms nothing.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

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
