"""Files that a task leaves (checkpoints, logs, scores, maps, weights) as flat items, without times and folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pins.store import Items, Key, flat

# What differs between two identical runs: when, how fast, with which command; and a map's stamp, a hash of best.pt.
_VOLATILE = {"started", "history", "when", "examples_per_s", "EOZOO_STAMP"}
_NAMED_ONLY = {".png", ".html", ".pt2"}  # the file must be there; its bytes may name times and folders


@dataclass
class Notes:
    """Collects the items of one case.

    ``root`` is the temporary folder with a folder for each case. Its name is taken out of every text, and so are the
    hashes of checkpoints: their settings name the folder, and their content is recorded itself.
    """

    case: str
    root: Path
    items: Items = field(default_factory=dict)

    def add(self, kind: str, value: Any, name: str = "", file: str = "") -> None:
        """Note a nest of values, one item for each leaf."""
        for inner, leaf in flat(value, name):
            self.items[Key(self.case, kind, self.clean(file), self.clean(inner))] = self.clean(leaf)

    def clean(self, value: Any) -> Any:
        """Take the temporary folder out of texts."""
        return _replaced(value, {str(self.root): "<tmp>"})

    def take_hashes_out(self) -> None:
        """Put its place for the hash of every checkpoint, whole or as receipts shorten it; when all is trained."""
        places = {_sha256(file): f"<hash of {file.relative_to(self.root)}>" for file in self.root.glob("*/run/**/*.pt")}
        places.update({text[:16]: place for text, place in places.items()})
        self.items = {key: _replaced(value, places) for key, value in self.items.items()}


def read_run(notes: Notes, run: Path, prefix: str = "") -> None:
    """Note every file of a run directory, those of members too, each under ``prefix`` and its name."""
    for file in _files(run):
        name = prefix + file.relative_to(run).as_posix()
        notes.add("files", "there", name)
        if file.name == "run.json":
            notes.add("info", _without_times(json.loads(file.read_text())), file=name)
        elif file.name == "config.yaml":
            notes.add("settings", _yaml(file), file=name)
        elif file.suffix == ".pt":
            _read_checkpoint(notes, file, name)
        elif file.suffix == ".jsonl":
            for number, line in enumerate(file.read_text().splitlines()):
                notes.add("log", _without_times(json.loads(line)), f"{number:03d}", name)
        elif file.name.startswith("eval_") and file.suffix == ".json":
            content = _without_times(json.loads(file.read_text()))
            notes.add("settings", content.pop("settings", {}), "eval", name)
            notes.add("scores", content, file=name)
        else:
            _read_other(notes, file, name)


def read_maps(notes: Notes, folder: Path) -> None:
    """Note every file that ``infer`` wrote; of rasters the pixels and what says where and what they are."""
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        notes.add("files", "there", f"maps/{name}")
        _read_other(notes, file, name)


def read_weights(notes: Notes, file: Path) -> None:
    """Note tensors and header of a safetensors file."""
    from safetensors import safe_open

    with safe_open(file, "pt") as content:
        notes.add("export", content.metadata() or {}, "header")
        for name in content.keys():  # noqa: SIM118
            notes.add("export", content.get_tensor(name), name)


def hashes(folder: Path) -> dict[str, str]:
    """Return relative path -> hash of all files below ``folder``."""
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in _files(folder)}


def _read_checkpoint(notes: Notes, file: Path, name: str) -> None:
    import torch

    content = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(content, dict):
        notes.add("settings", content.pop("config", {}), file=name)
    for inner, leaf in flat(content):
        notes.add("tensors" if isinstance(leaf, np.ndarray) else "state", leaf, inner, name)


def _read_other(notes: Notes, file: Path, name: str) -> None:
    if file.suffix == ".json":
        notes.add("json", _without_times(json.loads(file.read_text())), file=name)
    elif file.suffix in (".tif", ".tiff"):
        notes.add("map", _raster(file), file=name)
    elif file.suffix == ".npy":
        notes.add("arrays", np.load(file, allow_pickle=False), "array", name)
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as content:
            notes.add("arrays", dict(content), file=name)
    elif file.suffix in (".csv", ".txt", ".yaml", ".md"):
        notes.add("text", file.read_text().splitlines(), "lines", name)
    elif file.suffix == ".safetensors":
        from safetensors.torch import load_file

        notes.add("tensors", load_file(file), file=name)
    elif file.suffix not in _NAMED_ONLY:
        notes.add("bytes", _sha256(file), "sha256", name)


def _raster(file: Path) -> dict[str, Any]:
    import rasterio

    with rasterio.open(file) as data:
        return {
            "pixels": data.read(),
            "valid": data.read_masks(),
            "crs": data.crs.to_wkt() if data.crs else None,
            "transform": list(data.transform)[:6],
            "nodata": data.nodatavals,
            "types": data.dtypes,
            "descriptions": data.descriptions,
            "units": data.units,
            "scales": data.scales,
            "offsets": data.offsets,
            "colours": [str(colour) for colour in data.colorinterp],
            "overviews": [data.overviews(band) for band in data.indexes],
            "tags": {"file": _without_times(data.tags()), **{f"band {band}": data.tags(band) for band in data.indexes}},
        }


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_replaced(part, texts) for part in value]
    if isinstance(value, str):
        for text, other in texts.items():
            value = value.replace(text, other)
    return value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if key not in _VOLATILE}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def _yaml(file: Path) -> dict:
    import yaml

    return yaml.safe_load(file.read_text(encoding="utf-8"))
