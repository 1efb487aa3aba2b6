"""``eozoo check barlow_twins`` and ``barlow_landcover``: tiles before training, a window of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.checking import Channel, Classes, Findings, Item, Split, channel, check_splits
from eozoo_core.checking.findings import listed, percent
from eozoo_core.checking.shares import judge_number
from eozoo_core.raster.tiles import Window

from eozoo_barlow_twins.labels import class_layer, class_names, class_values
from eozoo_barlow_twins.splits import SPLITS, division_of, split_map
from eozoo_barlow_twins.tile_overlap import judge_tiles
from eozoo_barlow_twins.tiles import Tile, processed

if TYPE_CHECKING:
    from eozoo_core.score.quicklook import Panel

    from eozoo_barlow_twins.pixel_task import PixelTask
    from eozoo_barlow_twins.settings import Labels, PixelData

_READ = 2**24  # values of a tile that are looked at
_COMPARED = 2**31  # bytes of arrays that are held against their checksums
_OFFSET = 950  # digital numbers that no dark surface in a whole tile reaches, unless 1000 was added to all
_RANGE = channel("", "reflectance x 10000")


def check_tiles(
    base: str, data: PixelData, bands: tuple[str, ...] | None, labels: Labels | None, findings: Findings
) -> int | None:
    """Describe the tiles to ``eozoo_core.checking``; see ``Task.check``. ``labels`` None: training needs none.

    Returns the number of training pixels, None where not all pixels were read.
    """
    tiles = _open(processed(base, data.dataset), data, findings)
    if not tiles:
        return 0
    _compare_checksums(tiles, findings)
    names = bands or data.bands or tiles[0].band_names
    parts = []
    for tile in tiles[:: max(1, len(tiles) // findings.samples) if findings.samples else 1]:
        with findings.guard(tile.name):
            part = _Part(tile, data, tile.select(names), labels)
            part.split, part.clear  # noqa: B018 - raise for what training would
            parts.append(part)
    if not parts:
        return 0
    splits = [s for s in (_split(name, parts) for name in SPLITS) if len(s)]
    label = None if labels is None else Classes(dict(zip(class_values(labels), class_names(labels), strict=True)))
    remedies = {
        "bands": "leave it out with data.bands",
        "nodata": "set masks.npy to 0 there",
        "units": "before they are stored as whole numbers: make the tile again",
    }
    check_splits(findings, splits, _channels(parts, names, findings), label, remedies)
    _judge_pixels(parts, data, findings)
    if (division := division_of([part.tile for part in parts], data)) is not None:
        division.judge(findings)
    _judge_statistics(parts, findings)
    _judge_offset(parts, names, findings)
    judge_tiles(tiles, data, findings)
    bars = division.panels if division is not None else list
    findings.picture(str(parts[0].tile.path), lambda: [*_panels(parts[0], names, label), *bars()])
    if len(parts) < len(tiles) or any(part.seen != "whole" for part in parts):
        return None
    try:
        return sum(part.training for part in parts)
    except ZooError:  # said where the labels were read
        return 0


def tell_probes(task: PixelTask, findings: Findings) -> None:
    """Say whether 'eozoo eval barlow_twins' will have labels for its probes, and what it would stop at."""
    from eozoo_barlow_twins.evaluation import probe_labels
    from eozoo_barlow_twins.pixels import PixelIndex, split_number

    labels, where = task.settings.data.probed, "labels of probes"
    try:
        tiles = task.tiles
        layers = probe_labels(tiles, labels)
    except ZooError as error:
        said, _, remedy = str(error).partition("; ")
        findings.warning(where, f"'eozoo eval' would stop: {said}", remedy or "correct it before 'eozoo eval'")
        return
    if layers is None:
        text = f"no tile has {labels.labels}: pre-training needs none, the probes of 'eozoo eval' do"
        findings.unknown("labels", text, "'eozoo prepare barlow_twins labels' makes them from a classified raster")
        return
    have, names = sum(tile.has(labels.labels) for tile in tiles), class_names(labels)
    findings.ok("labels", f"{have} of {len(tiles)} tiles have {labels.labels} for the probes of 'eozoo eval'")
    for split in ("train", "test"):
        with findings.guard(where):
            if not len(PixelIndex(tiles, task.usable, split_number(split))):
                continue  # told with the splits
            counts = PixelIndex(tiles, task.usable, split_number(split), layers).class_counts(len(names))
            held = [f"{name} {count:,}" for name, count in zip(names, counts.tolist(), strict=True) if count]
            text = f"{split}: {int(counts.sum()):,} labelled pixels ({listed(held) if held else 'none'})"
            if counts.sum() < (2 if split == "train" else 1):
                findings.warning(where, f"'eozoo eval' would stop: {text}", "label more, or change data.test_share")
            elif len(held) == 1:
                findings.warning(where, f"{text}: nothing to tell apart", "label other classes, or see data.legend")
            else:
                findings.ok(f"{where}, {split}", text)


@dataclass(frozen=True)
class _Part:
    """The middle of a tile: all dates, at most about 16 million values."""

    tile: Tile
    data: PixelData
    bands: np.ndarray
    labels: Labels | None

    @cached_property
    def window(self) -> Window:
        t, h, w, c = self.tile.shape
        side = max(32, int((_READ / (t * c)) ** 0.5))
        height, width = min(h, side), min(w, side)
        return Window((h - height) // 2, (w - width) // 2, height, width)

    @cached_property
    def split(self) -> np.ndarray:
        return split_map(self.tile, self.data, self.window)

    @cached_property
    def clear(self) -> np.ndarray:
        """Clear or not (T, h, w) bool. Raises ZooError for a mask of other values."""
        mask = np.asarray(self.tile.masks[(slice(None), *self.window.slices)])
        if mask.max(initial=0) > 1:
            raise ZooError(f"{self.tile.path / 'masks.npy'}: holds {mask.max()}; 1 = clear and 0 = not are allowed")
        return mask > 0

    @cached_property
    def usable(self) -> np.ndarray:
        """Pixels with enough clear dates (h, w) bool."""
        return self.clear.sum(axis=0) > self.data.min_valid

    def values(self) -> np.ndarray:
        """Digital numbers (T, h, w, C) float32, NaN = not clear."""
        values = self.tile.bands[(slice(None), *self.window.slices)][..., self.bands].astype(np.float32)
        values[~self.clear] = np.nan
        return values

    def layer(self) -> np.ndarray | None:
        """Class codes (h, w) float32, NaN = no label or not usable."""
        if self.labels is None:
            return None
        layer = class_layer(self.tile, self.labels, self.window)
        codes = np.array([*class_values(self.labels), np.nan], np.float32)  # the last one for -1
        return np.where(self.usable, codes[layer], np.float32(np.nan))

    @property
    def training(self) -> int:
        """How many pixels of it are trained on; with labels those that have one."""
        found = (self.split == SPLITS["train"]) & self.usable
        return int((found if self.labels is None else found & np.isfinite(self.layer())).sum())

    @property
    def seen(self) -> str:
        h, w = self.tile.shape[1:3]
        whole = (self.window.height, self.window.width) == (h, w)
        return "whole" if whole else f"{self.window.height} x {self.window.width} of {h} x {w} px"


def _open(folder: Path, data: PixelData, findings: Findings) -> list[Tile]:
    """Open what can be opened; a tile that cannot be used is an error finding."""
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder; check runtime.data_dir and data.dataset")
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    wanted = list(dict.fromkeys(data.tiles)) if data.tiles is not None else found
    tiles = []
    for name in [*wanted, *data.val_tiles, *data.test_tiles]:
        if name not in wanted or name not in found:
            findings.error("tiles", f"{folder}: has no tile {name!r}, which the settings name",
                           "correct data.tiles, data.val_tiles or data.test_tiles")  # fmt: skip
            continue
        if any(tile.name == name for tile in tiles):
            continue
        with findings.guard(name):
            tile = Tile(folder / name)
            tile.doys, tile.band_names  # noqa: B018 - both are checked when they are read
            tiles.append(tile)
    if not tiles:
        findings.error("tiles", f"{folder}: holds no tile that can be used", "make one with 'eozoo prepare'")
        return []
    named = sum("bands" in tile.info for tile in tiles)
    days = [int(d) for tile in tiles for d in (tile.doys.min(), tile.doys.max())]
    dates = sorted({tile.shape[0] for tile in tiles})
    findings.ok("tiles", f"{len(tiles)} in {folder}: {listed([t.name for t in tiles])}", {"tiles": len(tiles)})
    findings.ok("dates", f"{listed(dates)} a tile, days of year {min(days)} to {max(days)}", {"dates": dates})
    if named < len(tiles):
        findings.warning("bands", f"{len(tiles) - named} of {len(tiles)} tiles do not name their bands: a wrong order "
                         "cannot be seen", 'write tile.json with {"bands": [...]} beside bands.npy')  # fmt: skip
    return tiles


def _compare_checksums(tiles: Sequence[Tile], findings: Findings) -> None:
    """Hold the arrays of tiles against the sha256 in their tile.json: of all with --samples 0, else of some GiB."""
    read, same, without, left = 0, 0, 0, 0
    for tile in tiles:
        size = sum(file.stat().st_size for file in tile.files if file.exists())
        if findings.samples and read and read + size > _COMPARED:
            left += 1
            continue
        read += size
        with findings.guard(tile.name):
            same, without = (same + 1, without) if tile.require_whole() else (same, without + 1)
    parts = [f"{same} of {len(tiles)} tiles are as they were written"]
    parts += [f"{without} have none (older, or not made by 'eozoo prepare')"] if without else []
    parts += [f"{left} were left out (--samples 0 reads all)"] if left else []
    findings.ok("checksums", "; ".join(parts), {"same": same, "without": without, "left": left})


def _split(name: str, parts: Sequence[_Part]) -> Split:
    """The pixels of one split, a sample for each tile that has some: image (C, dates x pixels)."""
    mine = [part for part in parts if (part.split == SPLITS[name]).any()]

    def read(i: int) -> Item:
        inside = mine[i].split == SPLITS[name]
        values, layer = mine[i].values()[:, inside], mine[i].layer()
        image = np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1)
        return Item(image, None if layer is None else layer[inside])

    return Split(name, [f"{part.tile.path} ({part.seen})" for part in mine], read, what="tiles")


def _channels(parts: Sequence[_Part], names: tuple[str, ...], findings: Findings) -> list[Channel]:
    """Bands with the statistics of the tiles, pooled by clear pixels read."""
    means, squares, weights = [], [], []
    for part in parts:
        with findings.guard(part.tile.name):
            mean, std = (values[part.bands] for values in part.tile.statistics())
            weights.append(float(part.clear.sum()) + 1e-9)
            means.append(mean)
            squares.append(std**2 + mean**2)
    if not means:
        return [Channel(n, _RANGE.unit, _RANGE.low, _RANGE.high, _RANGE.least) for n in names]
    mean, square = (np.average(values, axis=0, weights=weights) for values in (means, squares))
    std = np.sqrt(np.maximum(square - mean**2, 1e-12))
    return [
        Channel(n, _RANGE.unit, _RANGE.low, _RANGE.high, _RANGE.least, float(m), float(s))
        for n, m, s in zip(names, mean, std, strict=True)
    ]


def _judge_pixels(parts: Sequence[_Part], data: PixelData, findings: Findings) -> None:
    """Count the pixels of each split that have enough clear dates."""
    whole = all(part.seen == "whole" for part in parts)
    counts = {n: sum(int(((p.split == k) & p.usable).sum()) for p in parts) for n, k in SPLITS.items()}
    total = sum(part.usable.size for part in parts)
    text = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    text = f"{text} of {total:,} read have more than {data.min_valid} clear dates"
    for name, n in counts.items():
        if n < (2 if name == "train" else 1):
            level = findings.error if whole and name == "train" else findings.warning
            level(f"{name}: pixels", f"{n} are usable ({text})", "lower data.min_valid, or look at masks.npy")
        elif name != "train" and whole and parts[0].labels is None:
            judge_number(findings, name, n, "pixels")
    if counts["train"] > 1:
        share = counts["train"] + counts["val"] + counts["test"]
        findings.ok("usable pixels", f"{text} ({percent(share / total)}; the rest: too few dates, or buffer)", counts)


def _judge_statistics(parts: Sequence[_Part], findings: Findings) -> None:
    """Compare band_mean.npy and band_std.npy of each tile with what was read of it: are they of these arrays?"""
    for part in parts:
        if not part.clear.any():
            continue
        with findings.guard(part.tile.name):
            mean, std = (values[part.bands] for values in part.tile.statistics())
            found = np.nanmean(part.values().astype(np.float64), axis=(0, 1, 2))
            off = np.abs(found - mean) / std
            if (worst := int(off.argmax())) is not None and off[worst] > (0.1 if part.seen == "whole" else 1.5):
                text = f"a band has a mean of {found[worst]:.4g}, band_mean.npy says {mean[worst]:.4g}"
                findings.warning(f"{part.tile.name}: statistics", f"{part.tile.path}: {text}",
                                 "make them anew with 'eozoo prepare barlow_twins statistics'")  # fmt: skip


def _judge_offset(parts: Sequence[_Part], names: tuple[str, ...], findings: Findings) -> None:
    """Products from baseline 04.00 on hold 1000 more; dark pixels show whether it was taken off."""
    odd = []
    for part in parts:
        if not part.clear.any():
            continue
        lowest = np.nanpercentile(part.values()[:: max(1, len(part.clear) // 8)].reshape(-1, len(names)), 1, axis=0)
        if np.nanmin(lowest) > _OFFSET:
            odd.append((part.tile.name, float(np.nanmin(lowest))))
    if odd:
        text = f"{listed([n for n, _ in odd])}: 99 % of the clear values are above {odd[0][1]:.0f} in every band"
        findings.warning("values: offset", f"{text}: that looks like products of baseline 04.00 and later as they are",
                         "make the tiles again with prepare.scenes.offset=-1000 (or of the step that made them); "
                         "tile.json says how they were scaled")  # fmt: skip


def _panels(part: _Part, names: tuple[str, ...], label: Classes | None) -> list[Panel]:
    """Bands of the clearest date, how often a pixel is clear, its split and its label."""
    from eozoo_core.checking.preview import label_panel, spread
    from eozoo_core.score.quicklook import Panel

    date = int(part.clear.mean(axis=(1, 2)).argmax())
    values, day = part.values()[date], int(part.tile.doys[date])
    wanted = [names.index(n) for n in ("B04", "B08", "B11") if n in names]
    chosen = wanted if len(wanted) == 3 else spread(len(names), 3)
    panels = [Panel(values[..., c], f"{names[c]}, day {day}", _RANGE.unit) for c in chosen]
    panels.append(
        Panel(part.clear.sum(axis=0).astype(np.float32), "clear dates", f"dates of {len(part.clear)}", "cividis")
    )
    split = part.split.astype(np.float32)
    panels.append(Panel(split, "split", classes=("train", "val", "test", "buffer")))
    usable = np.where(part.usable, np.float32(1), np.float32(np.nan))
    panels.append(
        Panel(usable, f"more than {part.data.min_valid} clear dates", "1 = used, grey = not", "cividis", (0, 1))
    )
    layer = part.layer()
    return panels if layer is None or label is None else [*panels, label_panel(layer, label)]
