"""``eozoo check prithvi_refine``: tiles, their month and biome, stage-1 outputs and weights before training."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.checking import Findings, Item, Place, Seen, Split, channel, check_splits, judge_splits, judge_times
from eozoo_core.checking.findings import listed, of_all
from eozoo_core.errors import ZooError

from eozoo_prithvi_refine.data import RefineTiles, find_tiles
from eozoo_prithvi_refine.prepare.pixels import KM_PER_DEGREE
from eozoo_prithvi_refine.settings import BANDS
from eozoo_prithvi_refine.tile_files import KEYS, read_sidecar

if TYPE_CHECKING:
    from eozoo_prithvi_refine.settings import PrithviSettings

_CHANNELS = [channel(band, "reflectance 0..1") for band in BANDS]


def check(settings: PrithviSettings, findings: Findings) -> None:
    """Describe the splits to ``eozoo_core.checking``; see ``Task.check``."""
    runtime, codes = settings.runtime, {}
    weights = settings.model.weights
    if weights is not None and not weights.exists():
        findings.error("model.weights", f"{weights}: no such file", "give the file, or null for random ones")
    splits = []
    for name in ("train", "val", "test"):
        if name == "test" and not _has_tiles(runtime.data_dir, name):
            findings.unknown("test", "there are no test tiles", "without them nothing is scored after training")
            continue
        with findings.guard(name):
            files = find_tiles(runtime.data_dir, name)
            codes[name] = Counter()
            splits.append(_split(name, _stage1(settings, files, name, findings), codes[name]))
    if not splits:
        return
    seen = check_splits(findings, splits, _CHANNELS)
    _judge_sides(settings.data.tile_size, seen, findings)
    _tell_codes(codes, findings)
    judge_splits(findings, splits, remedy="tiles made by 'prepare tiles' from GeoTIFFs say where they lie")
    _judge_places(splits, findings)
    judge_times(findings, splits, by_time=False)
    if runtime.stage1_dir is None:
        findings.ok("input", "the target, degraded: runtime.stage1_dir is not set")
    if shown := next((one for one in seen.values() if one.best), None):
        findings.picture(shown.shown, lambda: _panels(shown, settings))


def _has_tiles(data_dir: Path | None, name: str) -> bool:
    return data_dir is not None and any((Path(data_dir) / name).rglob("*.npz"))


def _stage1(settings: PrithviSettings, files: list[Path], name: str, findings: Findings) -> RefineTiles:
    """The tiles of a split; without stage 1 where some of its outputs are missing."""
    data, seed = settings.data, settings.train.seed
    with findings.guard(f"{name}: stage 1"):
        return RefineTiles(files, data, settings.runtime.stage1_dir, seed)
    return RefineTiles(files, data, None, seed)


def _split(name: str, tiles: RefineTiles, codes: Counter[str]) -> Split:
    def read(i: int) -> Item:
        sample = tiles[i]  # reads stage 1 too, and refuses what training would
        codes.update((f"month {sample['month']}", f"biome {sample['biome']}"))
        return Item(sample["target"].numpy())

    times = np.array([_time(file) for file in tiles.files], "datetime64[s]")
    places = partial(_place, tiles.files)
    return Split(name, [str(f) for f in tiles.files], read, tiles.files, places, times, "tiles")


def _place(files: list[Path], i: int) -> Place | None:
    """The ground of a tile in degrees, from its sidecar: ``spot`` is its centre, ``pixel`` the product's transform.

    None where the sidecar says neither.
    """
    meta = read_sidecar(files[i])
    try:
        lat, lon = (float(part) for part in str(meta["spot"]).split("_"))
        step = abs(float(meta["pixel"][0]))
        with np.load(files[i], allow_pickle=False) as content:
            height, width = content[KEYS[0]].shape
    except (KeyError, ValueError, TypeError, IndexError, OSError):
        return None
    up = (step if step < 0.1 else step / (1000 * KM_PER_DEGREE)) / 2  # half a pixel; products in degrees are rare
    across = up if step < 0.1 else up / np.cos(np.radians(lat))
    box = (lon - width * across, lat - height * up, lon + width * across, lat + height * up)
    return Place(str(files[i]), box, "EPSG:4326")


def _time(file: Path) -> np.datetime64:
    """The date in the sidecar, YYYYMMDD or YYYY-MM-DD; NaT where there is none."""
    try:
        digits = str(read_sidecar(file).get("date", "")).replace("-", "")[:8]
        return np.datetime64(f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}", "s")
    except (ZooError, ValueError):
        return np.datetime64("NaT", "s")


def _judge_sides(size: int, seen: dict[str, Seen], findings: Findings) -> None:
    small = [s for s in (seen["train"].shapes if "train" in seen else ()) if min(s[1:]) < size]
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


def _judge_places(splits: list[Split], findings: Findings) -> None:
    """Compare ``place`` in the sidecars, as training does; without one a tile may lie anywhere."""
    owner: dict[str, tuple[str, str]] = {}
    shared: dict[str, tuple[str, str]] = {}
    named, total, bad = 0, 0, []
    for split in splits:
        for i in findings.draw(len(split), findings.headers).tolist():
            total += 1
            try:
                place = read_sidecar(split.files[i]).get("place")
            except ZooError as error:
                bad.append(str(error))
                continue
            if place is None:
                continue
            named += 1
            first = owner.setdefault(str(place), (split.name, split.names[i]))
            if first[0] != split.name:
                shared.setdefault(str(place), (first[1], split.names[i]))
    if bad:
        findings.error("sidecars", f"{len(bad):,} of {total:,} cannot be read: {bad[0]}")
    if shared:
        place, (one, two) = next(iter(shared.items()))
        findings.error("leakage: places", f"in two splits: {listed(list(shared))}; {two} and {one} lie in {place}",
                       "split by place", {"places": list(shared)[:1000]})  # fmt: skip
    elif named == 0:
        findings.unknown("leakage: places", f"none of {total} tiles names its place",
                         "write 'place' into the JSON beside each tile; 'prepare tiles' does")  # fmt: skip
    else:
        text = f"{len(owner):,} places, none in two splits ({of_all(named, total)} tiles name theirs)"
        findings.ok("leakage: places", text)


def _panels(seen: Seen, settings: PrithviSettings) -> list[Any]:
    """Input and target in true-to-unit bands, and what is valid."""
    from eozoo_core.checking.preview import valid_panel
    from eozoo_core.score.plots import Panel

    assert seen.best is not None
    number, item = seen.best
    source = settings.runtime.stage1_dir
    tiles = RefineTiles([seen.split.files[number]], settings.data, source, settings.train.seed)
    image, panels = tiles[0]["image"].numpy(), []
    for c in (0, 2, 3):
        low, high = np.nanpercentile([image[c], item.image[c]], [2, 98])
        limits = (float(low), float(max(high, low + 1e-6)))
        for values, what in ((image, "input"), (item.image, "target")):
            panels.append(Panel(values[c], f"{what}: {BANDS[c]}", "reflectance 0..1", "viridis", limits))
    return [*panels, valid_panel(item)]
