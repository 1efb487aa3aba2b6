"""``eozoo check gedi_sparse``: patches and labels before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.checking import (
    Channel,
    Findings,
    Item,
    Place,
    Separation,
    Split,
    channel,
    check_splits,
    judge_schedule,
    judge_splits,
    place_of,
)
from eozoo_core.checking.findings import listed
from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterInfo, read_info
from eozoo_core.raster.tiles import Window

from eozoo_gedi_sparse.data import SparseTiles
from eozoo_gedi_sparse.pairs import Pair, Pairs, chosen_names, files_of, folders, make_pair, unpaired
from eozoo_gedi_sparse.patch_places import patch_grids
from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS

if TYPE_CHECKING:
    from eozoo_core.checking import Seen

    from eozoo_gedi_sparse.settings import DataSettings, GediSettings

_LARGEST = 2**24  # values of a patch that are read at once; of a larger one a window
_LABELS = {  # unit -> the label; above the tallest trees and the densest forests known
    "m": Channel("height", "m", -10, 120),
    "Mg/ha": Channel("biomass density", "Mg/ha", -50, 1500),
}
_REMEDIES = {
    "nodata": "set data.input_nodata, or data.zero_is_nodata_in",
    "label_nodata": "set data.label_nodata",
    "bands": "leave it out with data.bands",
}


def check(settings: GediSettings, findings: Findings) -> None:
    """Describe the splits to ``eozoo_core.checking``; see ``Task.check``."""
    roots = folders(settings)
    splits, channels, grids = [], None, {}
    with findings.guard("patches.csv"):
        grids = patch_grids(roots[0].parent)
    for name in ("train", "val", "test"):
        if name == "test" and not all((root / name).is_dir() for root in roots):
            findings.unknown("test", f"there is no {roots[0] / name}", "without it nothing is scored after training")
            continue
        with findings.guard(name):
            files = _Files(settings.data, *roots, name)
            _judge_pairs(files, findings)
            names = [files.inputs[n] for n in files.names]
            splits.append(_split(name, names, files.pair, settings.data, grids))
            if channels is None:
                channels = [_band(n, u) for n, u in zip(*files.bands())]
    if not splits or channels is None:
        return
    label = _LABELS[settings.data.unit]
    seen = check_splits(findings, splits, channels, label, _REMEDIES)
    patches = sum(len(split) for split in splits if split.name == "train")
    judge_schedule(findings, settings.train, patches * settings.data.crops_per_patch)
    judge_splits(findings, splits, Separation(*_gap(settings, splits, grids)))
    _judge_sizes(settings.data, seen, findings)
    if shown := next((one for one in seen.values() if one.best), None):
        findings.picture(shown.shown, lambda: _panels(shown, channels, label))


class _Files:
    """The pairs of a split by their names; a header is read when it is asked for."""

    def __init__(self, data: DataSettings, input_dir: Path, label_dir: Path, split: str):
        self.data, self.split = data, split
        self.inputs, self.labels = files_of(input_dir, split, "input_dir"), files_of(label_dir, split, "label_dir")
        self.lone = unpaired(self.inputs, self.labels, Path(input_dir) / split, Path(label_dir) / split)
        self.names = sorted(self.inputs.keys() & self.labels.keys())
        if not self.names:
            raise ZooError(f"{Path(input_dir) / split}: no input has a label in {Path(label_dir) / split}")

    def bands(self) -> tuple[tuple[str, ...], list[str]]:
        """Names of the bands that the network gets, and their units, "" where the file says none."""
        info = self._readable()
        pair = make_pair("", info, read_info(self.labels[Path(info.path).stem]), self.data)
        return chosen_names(info, self.data), [info.units[b - 1] for b in pair.bands]

    def pair(self, i: int) -> Pair:
        name = self.names[i]
        return make_pair(name, read_info(self.inputs[name]), read_info(self.labels[name]), self.data)

    def _readable(self) -> RasterInfo:
        problem = None
        for name in self.names[:50]:
            try:
                return read_info(self.inputs[name])
            except ZooError as error:
                problem = problem or error
        raise problem or ZooError(f"{self.split}: no input can be read")


def _judge_pairs(files: _Files, findings: Findings) -> None:
    if files.lone:
        level = findings.warning if files.data.skip_unpaired else findings.error
        remedy = "add the missing files or set data.skip_unpaired=true"
        level(f"{files.split}: pairs", f"without partner: {len(files.lone)}, first {files.lone[0]}", remedy)


def _split(
    name: str, files: Sequence[Path], pair: Callable[[int], Pair], data: DataSettings, grids: dict[Any, Grid]
) -> Split:
    def read(i: int) -> Item:
        found = pair(i)
        image, target = SparseTiles(Pairs(name, (found,), (), ()), data).read(found, _window(found))
        return Item(image, target)

    def place(i: int) -> Place | None:
        grid = read_info(files[i]).grid
        return place_of(str(files[i]), grid if grid.crs else grids.get((name, files[i].stem), grid))

    return Split(name, [str(file) for file in files], read, files, place, what="patches")


def _window(pair: Pair) -> Window:
    """All of a patch, or the middle of one that is too large to be read in a moment."""
    side = int((_LARGEST / len(pair.bands)) ** 0.5)
    height, width = min(side, pair.grid.height), min(side, pair.grid.width)
    return Window((pair.grid.height - height) // 2, (pair.grid.width - width) // 2, height, width)


def _band(name: str, unit: str) -> Channel:
    """A band with the range of its unit; the documented bands have units of their own."""
    if unit or name not in DOCUMENTED_BANDS:
        return channel(name, unit)
    if name in ("VV", "VH"):
        return Channel(name, "(dB + 30) / 30", -0.5, 1.5)
    return channel(name, "reflectance 0..1")


def _gap(settings: GediSettings, splits: list[Split], grids: dict[tuple[str, str], Grid]) -> tuple[float | None, str]:
    """Metres that step ``patches`` leaves between splits, where it is set and the patches say how large a pixel is."""
    gap = settings.prepare.patches.gap
    try:
        grid = next(iter(grids.values()), None) or read_info(splits[0].names[0]).grid
    except ZooError:  # said where the patch was read
        return None, ""
    if not gap or grid.transform is None or grid.crs is None or not grid.crs.is_projected:
        return None, ""
    metres = gap * abs(grid.transform.a) * grid.crs.linear_units_factor[1]
    return metres, f"prepare.patches.gap={gap} px"


def _judge_sizes(data: DataSettings, seen: dict[str, Seen], findings: Findings) -> None:
    shapes = sorted(seen["train"].shapes) if "train" in seen else []
    if data.crop is None and len(shapes) > 1:
        findings.error("train: sizes", f"patches have {len(shapes)} sizes, {listed(shapes)}", "set data.crop")
    side = max((max(s[1:]) for s in shapes), default=0)
    if data.crop is not None and shapes and side < data.crop:
        text = f"no patch read is as large as data.crop={data.crop} px: windows have the side of the largest, {side} px"
        findings.warning("train: sizes", text, f"set data.crop={side}")


def _panels(seen: Seen, channels: list[Channel], label: Channel) -> list[Any]:
    from eozoo_core.checking.preview import panels_of

    names = [c.name for c in channels]
    wanted = [names.index(n) for n in ("B2", "B3", "B4", "B8", "B11", "VV") if n in names]
    return panels_of(seen, channels, label, wanted or None)
