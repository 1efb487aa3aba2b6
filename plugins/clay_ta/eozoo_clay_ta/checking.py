"""``eozoo check clay_ta``: chunks of samples, in physical units again, before training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.checking import (
    Channel,
    Findings,
    Item,
    Seen,
    Split,
    channel,
    check_splits,
    judge_schedule,
    judge_splits,
)
from eozoo_core.errors import ZooError
from eozoo_core.run.parsed import read_object
from eozoo_core.task.check import check as core_check

from eozoo_clay_ta.chunks import Chunk, open_chunk
from eozoo_clay_ta.encoder import require_weights
from eozoo_clay_ta.prepare.index import SPLITS
from eozoo_clay_ta.sample_schema import BUILD, CHANNELS, LSMASK, NAMES, SZA, UNITS, Normalisation
from eozoo_clay_ta.splits import chunks_of

if TYPE_CHECKING:
    from eozoo_core.task.contract import Contract

TA = Channel("air temperature", "degC", -60, 60)
_UNITS = f"in the scenes, fields, tables or statistics that they were made of, and run {BUILD} again"


def check(task: Contract, findings: Findings) -> None:
    """Describe the splits to ``eozoo_core.checking``; see ``Task.check``."""
    settings = task.settings
    folder = Path(settings.runtime.data_dir)
    with findings.guard("model.weights"):
        require_weights(settings.model)
    if not settings.data.own:
        core_check(task, findings)
        return
    scenes = {}
    for name in SPLITS:
        if name == "test" and not any(folder.glob("test_chunk_*.pt")):
            findings.unknown("test", f"there are no test chunks in {folder}", "without them nothing is scored")
            continue
        with findings.guard(name):
            scenes[name] = _scenes(folder, name, findings)
    scenes = {name: found for name, found in scenes.items() if found}
    if not scenes:
        return
    norm = Normalisation.read(folder / "normalisation.json")
    splits = [_split(name, found, norm) for name, found in scenes.items()]
    channels = [_channel(i, norm) for i in range(CHANNELS)]
    seen = check_splits(findings, splits, channels, TA, {"units": _UNITS})
    stations = {name: len({m[1] for s in found for m in s.chunk.meta}) for name, found in scenes.items()}
    findings.ok("stations", ", ".join(f"{name} {count}" for name, count in stations.items()), stations)
    chunks = {name: list({id(s.chunk): s.chunk for s in found}.values()) for name, found in scenes.items()}
    judge_splits(findings, *chunks_of(settings, chunks))
    judge_schedule(findings, settings.train, sum(len(scene.rows) for scene in scenes.get("train", ())))
    if shown := next((one for one in seen.values() if one.best), None):
        shown_scenes = scenes[shown.split.name]
        findings.picture(shown.shown, lambda: _panels(shown, channels, shown_scenes, norm))


class _Scene:
    """The samples of one time in one chunk: rows of it, in their order."""

    def __init__(self, chunk: Chunk, rows: np.ndarray):
        self.chunk, self.rows = chunk, rows
        self.time = np.datetime64(chunk.meta[rows[0]][0], "s")

    @property
    def name(self) -> str:
        return f"{self.chunk.path} at {str(self.time)[:16]}"

    def arrays(self, norm: Normalisation) -> tuple[np.ndarray, np.ndarray]:
        """Return x (n, 19, 9, 9) in physical units and the temperature (n,) in degC."""
        import torch

        rows = torch.from_numpy(self.rows)
        x, y = (self.chunk.tensors[name][rows].numpy().astype(np.float64) for name in ("x", "y"))
        return x * norm.std[:, None, None] + norm.mean[:, None, None], y * norm.ta_std + norm.ta_mean


def _scenes(folder: Path, name: str, findings: Findings) -> list[_Scene]:
    """Open the chunks of a split; a chunk that cannot be used is an error finding."""
    files = sorted(folder.glob(f"{name}_chunk_*.pt"))
    if not files:
        raise ZooError(f"{folder}: holds no {name}_chunk_00000.pt; run {BUILD} or set runtime.data_dir")
    record = folder / f"{name}_progress.json"
    made = int(read_object(record).get("chunks", 0)) if record.exists() else 0
    if made > len(files):
        findings.error(f"{name}: chunks", f"{record.name} names {made}, {len(files)} are there",
                       f"restore them, or delete {record.name} and run {BUILD}")  # fmt: skip
    found: list[_Scene] = []
    for file in files:
        with findings.guard(name):
            chunk = open_chunk(file, whole=True)
            stamps = np.array([entry[0] for entry in chunk.meta])
            order = np.argsort(stamps, kind="stable")
            edges = np.flatnonzero(np.concatenate([[True], stamps[order][1:] != stamps[order][:-1], [True]]))
            found += [_Scene(chunk, order[a:b]) for a, b in pairwise(edges) if b > a]
    return found


def _split(name: str, scenes: Sequence[_Scene], norm: Normalisation) -> Split:
    def read(i: int) -> Item:
        x, ta = scenes[i].arrays(norm)
        return Item(x.swapaxes(0, 1).astype(np.float32), ta)

    return Split(name, [s.name for s in scenes], read, what="scenes")


def _channel(i: int, norm: Normalisation) -> Channel:
    """Channel i of 19 with its unit and the statistics that the samples were normalised with."""
    mean, std = float(norm.mean[i]), float(norm.std[i])
    if i == LSMASK:
        return Channel(NAMES[i], UNITS[i], 0, 1)
    known = channel(NAMES[i], UNITS[i])
    low, high = (0, 180) if i == SZA else (known.low, known.high)
    return Channel(NAMES[i], UNITS[i], low, high, None, mean, std)


def _panels(seen: Seen, channels: Sequence[Channel], scenes: Sequence[_Scene], norm: Normalisation) -> list[Any]:
    """Windows of one scene side by side in some channels, and its stations on the grid."""
    from eozoo_core.checking.preview import enlarged
    from eozoo_core.score.quicklook import Panel

    assert seen.best is not None
    number, item = seen.best
    shown = [NAMES.index(name) for name in ("ir105", "wv063", "vi006", "sza", "dem", "lsmask")]
    count = min(16, item.image.shape[1])
    panels = [
        Panel(_sheet(item.image[c, :count]), f"{NAMES[c]}, {count} windows parted by grey", channels[c].unit)
        for c in shown
    ]
    scene = scenes[number]
    assert item.label is not None
    cols, rows = (np.array([scene.chunk.meta[r][k] for r in scene.rows]) for k in (2, 3))
    field = np.full((rows.max() + 9, cols.max() + 9), np.nan, np.float32)
    field[rows, cols] = item.label
    for _ in range(max(1, max(field.shape) // 200)):
        field = enlarged(field)
    panels.append(Panel(field, f"label: {len(rows)} stations", TA.unit, "magma"))
    valid = np.where(np.isfinite(item.image[:, :count]).all(axis=0), np.float32(1), np.float32(np.nan))
    return [*panels, Panel(_sheet(valid), "valid in all channels", "1 = valid, grey = missing", "cividis", (0, 1))]


def _sheet(windows: np.ndarray) -> np.ndarray:
    """Windows (n, 9, 9) in rows of four with a pixel between them (H, W), NaN between."""
    padded = np.pad(windows, ((0, -len(windows) % 4), (0, 1), (0, 1)), constant_values=np.nan)
    n, height, width = padded.shape
    return padded.reshape(n // 4, 4, height, width).swapaxes(1, 2).reshape(n // 4 * height, 4 * width)[:-1, :-1]
