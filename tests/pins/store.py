"""A recording: flat items with a name each, in one folder per case of one ``values.json`` and one ``arrays.npz``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Key(NamedTuple):
    """Names one recorded thing; its text is what reports print and what patterns match."""

    case: str
    kind: str
    file: str  # relative to the run or the folder of maps; "" = of no file
    name: str

    def __str__(self) -> str:
        return f"{self.case}/{self._inner()}"

    def _inner(self) -> str:
        return f"{self.kind}/{self.file}#{self.name}" if self.file else f"{self.kind}#{self.name}"


Items = dict[Key, Any]  # plain JSON values and numpy arrays


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, leaf) of a nest. Tensors become arrays; a list without a nest or tensor in it is one leaf."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from flat(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple, set)) and any(_is_nest(part) for part in value):
        for number, part in enumerate(value):
            yield from flat(part, f"{name}.{number}" if name else str(number))
    else:
        yield from _leaf(value, name)


def save(items: Items, folder: Path) -> None:
    """Write the items of one or more cases below ``folder``."""
    for case in dict.fromkeys(key.case for key in items):
        own = {key._inner(): value for key, value in items.items() if key.case == case}
        (folder / case).mkdir(parents=True, exist_ok=True)
        values = {name: value for name, value in own.items() if not isinstance(value, np.ndarray)}
        (folder / case / "values.json").write_text(json.dumps(values, indent=1, default=str) + "\n", encoding="utf-8")
        np.savez_compressed(
            folder / case / "arrays.npz", **{name: value for name, value in own.items() if name not in values}
        )


def load(folder: Path) -> Items:
    """Read all cases below ``folder``. Ends the program where there are none."""
    items: Items = {}
    for file in sorted(Path(folder).glob("*/values.json")):
        case, found = file.parent.name, json.loads(file.read_text(encoding="utf-8"))
        with np.load(file.with_name("arrays.npz"), allow_pickle=False) as arrays:
            found.update({name: arrays[name] for name in arrays.files})
        for text, value in found.items():
            place, _, name = text.partition("#")
            kind, _, inside = place.partition("/")
            items[Key(case, kind, inside, name)] = value
    if not items:
        raise SystemExit(f"{folder}: holds no recording; make one with 'python tests/pins.py record {folder}'")
    return items


def _is_nest(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) or hasattr(value, "detach") or isinstance(value, np.ndarray)


def _leaf(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if hasattr(value, "detach"):
        value = value.detach().cpu().contiguous()
        if str(value.dtype) == "torch.bfloat16":  # numpy has none; every bfloat16 is a float32
            yield f"{name}.dtype", "bfloat16"
            value = value.float()
        yield name, value.numpy()
    elif isinstance(value, np.generic):
        yield name, value.item()
    elif isinstance(value, (set, tuple)):
        yield name, sorted(value) if isinstance(value, set) else list(value)
    elif isinstance(value, bytes):
        yield name, value.hex()
    else:
        yield name, value
