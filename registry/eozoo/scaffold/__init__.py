"""Writes a plugin of one's own from the templates beside this file: ``common``, with those of one kind over it.

The templates are a plugin called ``my_task``, checked like all other code; writing one means renaming.
"""

from __future__ import annotations

import keyword
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.writing import new_folder
from eozoo_core.run.written import write_text

if TYPE_CHECKING:
    from eozoo.registry import Registry

_HERE = Path(__file__).parent
_LAYERS = {  # of each kind; "network" of images or of tables
    **{kind: ("common", "image", kind) for kind in ("regression", "segmentation", "ssl")},
    "samples": ("common", "samples"),
    "network image": ("common", "network", "network_image"),
    "network table": ("common", "network", "network_table"),
}
_BUILT_IN = {"image": "pixelwise_regression", "table": "scalar_regression"}
_SUMMARIES = {
    "network image": "A small network for images",
    "network table": "A small network for rows of tables",
    "samples": "A value of each sample, from a series and what is known of its place",
    "regression": "A value for every pixel of an image, learned from sparse labels",
    "segmentation": "The class of every pixel of an image, learned from sparse labels",
    "ssl": "Features of every pixel of an image, learned without labels",
}
_LAYOUTS = {
    "regression": "A label is one float band on the grid of its image, nodata or NaN = no label.",
    "segmentation": "A label is one band of class indices on the grid of its image, nodata or NaN = no label.",
    "ssl": "There are no labels: the `label/` folders do not exist.",
}
# Under their own names, these would be taken for those of the zoo: by pytest, by pip, by ruff.
_PLACES = {
    "checks/project.toml": "pyproject.toml",
    "checks/conformance.py": "tests/test_conformance.py",
    "checks/conftest.py": "tests/conftest.py",
}


def write_plugin(name: str, kind: str, folder: Path, registry: Registry, form: str = "image") -> Path:
    """Write the plugin NAME into FOLDER/NAME, complete or not at all.

    kind: "network", "samples", "regression", "segmentation" or "ssl". form: what a network takes, "image" or "table".
    Raises ZooError for a name that is malformed or taken, and where something is in the way.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ZooError(f"{name!r} is no name: lower-case letters, digits and single underscores, a letter first")
    taken = find_spec(name)
    if keyword.iskeyword(name) or (taken is not None and taken.origin is not None):  # without one: just a folder here
        raise ZooError(f"{name!r}: Python has a keyword or package of that name already; choose another")
    offered = [("task", name), ("model", f"{name}_net"), ("model", f"{name}_encoder"), ("loss", f"{name}_loss")]
    for what, wanted in offered:
        for entry in registry.entries(what):
            if entry.spec.name == wanted:
                raise ZooError(f"{what} {wanted!r} exists already, from {entry.plugin}; choose another name")
    if find_spec(f"eozoo_{name}") is not None:
        raise ZooError(f"a package 'eozoo_{name}' is installed already; choose another name")
    path = folder / name
    if path.exists():
        raise ZooError(f"{path}: exists already; choose another name or --in")
    with new_folder(path) as temporary:
        _write(temporary, name, f"{kind} {form}" if kind == "network" else kind)
    return path


def demo_of(name: str, kind: str, form: str) -> str:
    """Return what ``eozoo demo`` is called with to see the plugin NAME at work."""
    return f"{_BUILT_IN[form]} --set model.name={name}_net" if kind == "network" else name


def _write(path: Path, name: str, kind: str) -> None:
    for layer in _LAYERS[kind]:
        for file in sorted((_HERE / layer).rglob("*")):
            place = file.relative_to(_HERE / layer).as_posix()
            if file.is_dir() or "__pycache__" in place or place.startswith("."):
                continue
            target = path / _renamed(_PLACES.get(place, place), name)
            text = file.read_text(encoding="utf-8")
            write_text(target, text if file.name == "LICENSE" else _filled(text, name, kind))


def _filled(text: str, name: str, kind: str) -> str:
    from eozoo.compat import core_range

    low, high = core_range()
    for word, value in {
        "SUMMARY": _SUMMARIES[kind],
        "LAYOUT": _LAYOUTS.get(kind, ""),
        "BUILT_IN": _BUILT_IN.get(kind.removeprefix("network "), ""),
        "EOZOO_LOW": low,
        "EOZOO_HIGH": high,
    }.items():
        text = re.sub(rf"\b{word}\b", value, text)
    return _renamed(text, name)


def _renamed(text: str, name: str) -> str:
    camel = "".join(word.capitalize() for word in name.removesuffix("_task").split("_"))
    return text.replace("my_task", name).replace("my-task", name.replace("_", "-")).replace("MyTask", f"{camel}Task")
