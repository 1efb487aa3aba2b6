"""``eozoo check prithvi_refine``: tiles, their month and biome, stage-1 outputs and weights before training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.checking import Findings, Item, Place, Seen, Separation, Split, place_of
from eozoo_core.checking.findings import listed
from eozoo_core.checking.preview import valid_panel
from eozoo_core.errors import ZooError
from eozoo_core.raster.arrays import read_arrays
from eozoo_core.raster.georeference import Grid
from eozoo_core.run.published import find_weights
from eozoo_core.score.quicklook import Panel
from eozoo_core.task.check import check as core_check
from eozoo_core.task.splits import describe_split
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eozoo_prithvi_refine.data import RefineTiles, Tiles
from eozoo_prithvi_refine.plugin import sources_of
from eozoo_prithvi_refine.prepare.pixels import KM_PER_DEGREE
from eozoo_prithvi_refine.settings import BANDS, UNIT
from eozoo_prithvi_refine.tile_files import KEYS, read_sidecar

if TYPE_CHECKING:
    from eozoo_core.task.contract import Contract

SEPARATION = Separation(remedy="tiles made by 'prepare tiles' from GeoTIFFs say where they lie")
_DOUBT = 0.006  # of a tile's side: how far a spot, a size in metres and a degree of mean length are off together


def check(task: Contract, findings: Findings) -> None:
    """Look at weights, tiles, months and biomes; see ``Task.check``."""
    settings = task.settings
    if (weights := settings.model.weights) is not None:
        with findings.guard("model.weights"):
            find_weights(weights, settings.model.encoder, sources_of(settings.model.encoder))
    seen = core_check(task, findings)
    if not seen:
        return
    _judge_sides(settings.data.tile_size, seen["train"][1] if "train" in seen else None, findings)
    _tell_codes({name: tiles.codes for name, (tiles, _) in seen.items()}, findings)
    if settings.runtime.stage1_dir is None and settings.data.dataset is None:
        findings.ok("input", "the target, degraded: runtime.stage1_dir is not set")
    if shown := next((found for found in seen.values() if found[1].best), None):
        findings.picture(shown[1].shown, lambda: _panels(*shown))


def split_of(name: str, tiles: Tiles) -> Split:
    """Describe a split: its tiles, the places that their sidecars name, where and when they were taken."""
    # Stage 1 is read too, and what training would refuse; pixels are compared in the target.
    read = lambda i: Item(tiles.item(i)["target"])  # noqa: E731
    if not isinstance(tiles, RefineTiles):
        return replace(describe_split(name, tiles, "target"), read=read)
    keys: dict[Any, str] = {}
    for i, file in enumerate(tiles.files):
        try:
            keys.setdefault(tiles.place(i), str(file))
        except ZooError:
            if tiles.codes is None:  # `RefineTiles.problems` tells ``check``
                raise
    keys.pop("", None)
    times = np.array([_time(file) for file in tiles.files], "datetime64[s]")
    names = [str(file) for file in tiles.files]
    return Split(name, names, read, tiles.files, partial(_place, tiles.files), times, "tiles", keys)


def _place(files: list[Path], i: int) -> Place | None:
    """The ground of a tile by its sidecar: ``crs`` and ``transform``, else ``spot``, its centre, and ``pixel``, the
    transform of the product.

    The second is known to a pixel and 0.6 % of the side only: the box is made smaller by that, so that it holds nothing
    but the tile's own ground. None where the sidecar says neither.
    """
    meta = read_sidecar(files[i])
    if not ({"crs", "transform"} <= meta.keys() or {"spot", "pixel"} <= meta.keys()):
        return None
    try:
        height, width = read_arrays(files[i], only=KEYS[0])[KEYS[0]].shape
        if meta.get("crs") and meta.get("transform"):
            grid = Grid(height, width, CRS.from_user_input(meta["crs"]), Affine(*map(float, meta["transform"])))
            return place_of(str(files[i]), grid)
        lat, lon = (float(part) for part in str(meta["spot"]).split("_"))
        step = abs(float(meta["pixel"][0]))
    except (ZooError, KeyError, ValueError, TypeError, IndexError, CRSError):  # reading the tile says what is damaged
        return None
    up = step if step < 0.1 else step / (1000 * KM_PER_DEGREE)  # products in degrees are rare
    across = up if step < 0.1 else up / np.cos(np.radians(lat))
    half = [max(0.0, (side * (1 - _DOUBT) - 1) / 2) for side in (width, height)]
    box = (lon - half[0] * across, lat - half[1] * up, lon + half[0] * across, lat + half[1] * up)
    return Place(str(files[i]), box, "EPSG:4326", up)


def _time(file: Path) -> np.datetime64:
    """The date in the sidecar, YYYYMMDD or YYYY-MM-DD; NaT where there is none."""
    try:
        digits = str(read_sidecar(file).get("date", "")).replace("-", "")[:8]
        return np.datetime64(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}", "s")
    except (ZooError, ValueError):
        return np.datetime64("NaT", "s")


def _judge_sides(size: int, train: Seen | None, findings: Findings) -> None:
    small = [s for s in (train.shapes if train else ()) if min(s[1:]) < size]
    if small:
        side = min(min(s[1:]) for s in small)
        found = listed([" x ".join(map(str, s[1:])) for s in small])
        text = f"tiles of {found} px are smaller than data.tile_size={size}"
        findings.error("train: sizes", text, f"set data.tile_size={side}")


def _tell_codes(codes: dict[str, Counter[str]], findings: Findings) -> None:
    """Month and biome are inputs: what training does not show, the model guesses."""
    for kind in ("month", "biome"):
        present = {n: {c.split()[1] for c in found if c.startswith(kind)} for n, found in codes.items() if found}
        if not present:
            continue
        trained = next(iter(present.values()))
        text = "; ".join(f"{name} {_runs(sorted(map(int, found)))}" for name, found in present.items())
        new = sorted({c for found in present.values() for c in found} - trained, key=int)
        numbers = {name: {c: n for c, n in found.items() if c.startswith(kind)} for name, found in codes.items()}
        if new:
            findings.warning(kind, f"{listed(new)} is in no training tile read ({text})",
                             f"the model has not seen that {kind}: split otherwise", numbers)  # fmt: skip
        else:
            findings.ok(kind, text, numbers)


def _runs(numbers: list[int]) -> str:
    """Rising numbers as text, neighbours together: 1-12, 14."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _panels(tiles: Tiles, seen: Seen) -> list[Panel]:
    """Input and target in true-to-unit bands, and what is valid."""
    assert seen.best is not None
    number, item = seen.best
    image, panels = tiles.item(number)["opt_v1"], []
    for c in (0, 2, 3):
        low, high = np.nanpercentile([image[c], item.image[c]], [2, 98])
        limits = (float(low), float(max(high, low + 1e-6)))
        for values, what in ((image, "input"), (item.image, "target")):
            panels.append(Panel(values[c], f"{what}: {BANDS[c]}", UNIT, "viridis", limits))
    return [*panels, valid_panel(item)]
