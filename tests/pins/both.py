"""Two commits recorded in one sitting: a worktree each, imported in a process of its own, driven by one script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

GROUP = "eozoo"


def both(commits: tuple[str, str], out: Path | None, only: list[str], most: int) -> int:
    """Record both commits with the script of the newer one and compare them; return the exit code."""
    repo = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory(prefix="pins-both-") as folder:
        root = Path(folder).resolve()
        out = root if out is None else out
        trees = {side: root / f"tree-{side}" for side in ("old", "new")}
        try:
            for (side, tree), commit in zip(trees.items(), commits):
                _git(repo, "worktree", "add", "--detach", str(tree), commit)
                print(f"{side}: {_git(tree, 'log', '-1', '--format=%h %s')}", flush=True)
            script = trees["new"] / "tests" / "pins.py"
            if not script.is_file():
                raise SystemExit(f"{commits[1]}: has no tests/pins.py, which drives both sides")
            chosen = [word for name in only for word in ("--only", name)]
            for side, tree in trees.items():
                words = ["record", str(out / side), "--side", side, "--tree", str(tree), *chosen]
                _run(script, words, environment(tree, root / f"meta-{side}"))
            return _run(script, ["compare", str(out / "old"), str(out / "new"), "--most", str(most)], None, {0, 1})
        finally:
            for tree in trees.values():
                if tree.exists():
                    _git(repo, "worktree", "remove", "--force", str(tree))


def environment(tree: Path, meta: Path) -> dict[str, str]:
    """Return an environment in which the packages of ``tree`` are imported and their entry points are found.

    ``meta`` gets the metadata that an installation would have written: plugins are found by it, not by their folder.
    """
    projects = [tree, *sorted(file.parent for file in (tree / "plugins").glob("*/pyproject.toml"))]
    declared = [tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8")) for project in projects]
    for content in declared:
        project = content["project"]
        _describe(meta, project, project.get("entry-points", {}).get(GROUP, {}))
    here = {_normal(content["project"]["name"]) for content in declared}
    for other in distributions():  # a plugin that is installed and not in this tree is hidden
        if other.name and _normal(other.name) not in here and other.entry_points.select(group=GROUP):
            _describe(meta, {"name": other.name, "version": other.version}, {})
    folders = [meta, tree / "core", tree / "registry", *projects[1:]]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"}


def _describe(meta: Path, project: dict, points: dict[str, str]) -> None:
    folder = meta / f"{_normal(project['name']).replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {need}\n" for need in project.get("dependencies", []))
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    (folder / "METADATA").write_text(head, encoding="utf-8")
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}", encoding="utf-8")


def _run(script: Path, words: list[str], env: dict[str, str] | None, fine: set[int] = frozenset({0})) -> int:
    code = subprocess.run([sys.executable, str(script), *words], env=env, check=False).returncode
    if code not in fine:
        raise SystemExit(f"pins.py {' '.join(words)}: ended with exit code {code}")
    return code


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"git {' '.join(words)}: {result.stderr.strip()}")
    return result.stdout.strip()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
