"""The check of a task that has none of its own: the files that its settings name, by what they say themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eozoo_core.checking.findings import Findings, listed
from eozoo_core.checking.places import Place, place_of
from eozoo_core.checking.preview import panels_of
from eozoo_core.checking.splits import judge_splits
from eozoo_core.checking.survey import Item, Split
from eozoo_core.checking.units import Channel, channel
from eozoo_core.checking.verdicts import check_splits
from eozoo_core.raster.read import RasterInfo, first_readable, open_reader, read_info
from eozoo_core.raster.tiles import Window
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.places import paths_of

SPLITS = ("train", "val", "test")
READABLE = (".tif", ".tiff", ".npy")
_LARGEST = 2**24  # values of a sample that are read at once; of a larger one a window


def check_settings(settings: TaskSettings, findings: Findings) -> None:
    """Look at every path in ``runtime``: whether it is there, and what the rasters and arrays in its splits hold."""
    places = {key.removeprefix("runtime."): path for key, path in paths_of(settings).items()}
    if not places:
        findings.unknown("data", "the task has no check of its own, and its runtime settings name no path",
                         "'eozoo train --dry-run' may say more")  # fmt: skip
        return
    for name, path in places.items():
        if not path.exists():
            findings.error(f"runtime.{name}", f"{path}: no such file or folder", f"set runtime.{name}")
    groups = [group for name, path in places.items() if path.is_dir() for group in _groups(name, path)]
    for role, splits in groups:
        with findings.guard(role):
            _check_group(role, splits, findings)
    if not groups and all(path.exists() for path in places.values()):
        findings.unknown("data", f"{listed(list(places.values()))}: no train/, val/ or test/ of GeoTIFF or .npy there",
                         "the task should bring a check of its own")  # fmt: skip
    findings.unknown("labels", "the task has no check of its own: nobody says which files are labels",
                     "read the tables below; 'eozoo train --dry-run' may say more")  # fmt: skip


def read_sample(path: Path) -> Item:
    """Read a raster or array as training would, all of it or, where it is very large, a window in its middle."""
    with open_reader(path) as reader:
        grid, bands = reader.info.grid, len(reader.info.bands)
        height, width = grid.height, grid.width
        if height * width * bands > _LARGEST:
            side = max(256, int((_LARGEST / bands) ** 0.5))
            height, width = min(side, height), min(side, width)
        return Item(reader.read(Window((grid.height - height) // 2, (grid.width - width) // 2, height, width)))


def channels_of(info: RasterInfo) -> list[Channel]:
    """Return the bands of a file by the names and units that it gives them."""
    return [channel(info.descriptions[b - 1] or f"band {b}", info.units[b - 1]) for b in info.bands]


def _check_group(role: str, splits: dict[str, list[Path]], findings: Findings) -> None:
    channels = channels_of(first_readable([file for files in splits.values() for file in files]))
    made = [_split(f"{name} {role}", files) for name, files in splits.items()]
    seen = check_splits(findings, made, channels)
    judge_splits(findings, made)
    shown = next((one for one in seen.values() if one.best is not None), None)
    if shown is not None and findings.preview is None:
        findings.picture(shown.shown, lambda: panels_of(shown, channels, None))


def _split(name: str, files: list[Path]) -> Split:
    def place(i: int) -> Place | None:
        return place_of(names[i], read_info(files[i]).grid)

    names = [str(file) for file in files]
    return Split(name, names, lambda i: read_sample(files[i]), files, place)


def _groups(name: str, root: Path) -> Iterator[tuple[str, dict[str, list[Path]]]]:
    """Files under SPLIT/ by the folder below it, and files SPLIT.npy: what lies in like places is of one kind."""
    found: dict[str, dict[str, list[Path]]] = {}
    for split in SPLITS:
        files = [root / f"{split}{suffix}" for suffix in READABLE if (root / f"{split}{suffix}").is_file()]
        files += sorted(p for p in (root / split).rglob("*") if p.suffix.lower() in READABLE and p.is_file())
        for file in files:
            below = "" if file.parent == root else str(file.parent.relative_to(root / split))
            role = "/".join(part for part in (name, below) if part not in ("", "."))
            found.setdefault(role, {}).setdefault(split, []).append(file)
    yield from found.items()
