"""Step ``patches``: a stack and its labels cut into train/, val/ and test/ by blocks, in the document's hierarchy."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.georeference import Grid, apply, part_of
from eozoo_core.raster.read import Reader, open_reader, read_info
from eozoo_core.raster.tiles import Window
from eozoo_core.run.parsed import read_json
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.progress import progress_bar
from eozoo_core.run.written import stamp_of, write_array, write_table, write_text

from eozoo_gedi_sparse.prepare.grids import require_same_grid
from eozoo_gedi_sparse.prepare.settings import PatchesSettings
from eozoo_gedi_sparse.prepare.splits import Placed, assign_blocks, make_blocks, require_disjoint, tile_block

STRIP = 256  # rows in memory while looking for data
_AT_ONCE = 32  # patches that a worker writes before it says so


@dataclass(frozen=True)
class Look:
    """Where the rasters have data, (H, W) bool each: all bands of the stack; a label that counts."""

    usable: np.ndarray
    labelled: np.ndarray


def make_patches(settings: PatchesSettings, quiet: bool = False, pool: Pool | None = None) -> list[Path]:
    """Write DEST/input/SPLIT/NAME and DEST/label/SPLIT/NAME, and DEST/patches.csv that says where each lies.

    A second call writes only what is missing. Prints patches and labels per split. Raises ZooError for rasters on
    different grids, shares that no draw of blocks can give, patches of two splits that overlap, and a folder that
    holds patches made otherwise.
    """
    pool, grid = pool or Here(), read_info(settings.stack).grid
    require_same_grid(read_info(settings.labels).grid, grid, settings.labels, settings.stack)
    files = filter(None, (settings.stack, settings.labels, settings.mask))
    stamp = stamp_of(settings.model_dump(mode="json", exclude={"dest"}), files)
    _require_own(settings.dest, stamp)
    look = _look(grid, settings, quiet, pool)
    placed = place(look, settings)
    require_disjoint(placed, *look.usable.shape)
    _refuse_strangers(settings, placed)
    about = {"made_from": stamp, "crs": str(grid.crs), "transform": list(grid.transform)[:6]}
    write_text(settings.dest / "patches.json", json.dumps(about, indent=2) + "\n")
    written = _write_all(placed, settings, quiet, pool)
    index = _write_index(settings.dest, placed, look, grid)
    print(summary(placed, look, settings))
    return [*written, index]


def place(look: Look, settings: PatchesSettings) -> list[Placed]:
    """Choose the windows of every split."""
    size = settings.size
    blocks = make_blocks(*look.usable.shape, settings.block or size, settings.gap, size)
    inside = [[w for w in tile_block(block, size) if _good(look, w, settings)] for block in blocks]
    counts = [sum(int(look.labelled[w.slices].sum()) for w in windows) for windows in inside]
    splits = assign_blocks(counts, settings.shares, settings.seed)
    placed = []
    for split in settings.shares:
        own = [i for i, name in enumerate(splits) if name == split]
        if split == "train" and settings.train_windows is not None:
            windows = _draw([blocks[i] for i in own], look, settings)
        else:
            windows = [w for i in own for w in inside[i]]
        placed += [Placed(split, w) for w in windows]
    return placed


def summary(placed: Sequence[Placed], look: Look, settings: PatchesSettings) -> str:
    """Patches and labels per split, and the share of labels beside the asked one."""
    seen = {split: np.zeros(look.labelled.shape, bool) for split in settings.shares}
    for p in placed:
        seen[p.split][p.window.slices] = True
    labels = {split: int((look.labelled & mask).sum()) for split, mask in seen.items()}
    total, number = max(sum(labels.values()), 1), Counter(p.split for p in placed)
    lines = [
        f"{split:<5}  {number[split]:>6,} patches  {labels[split]:>8,} labels  {labels[split] / total:6.1%} "
        f"(asked {share:.1%})"
        for split, share in settings.shares.items()
    ]
    unused = int(look.labelled.sum()) - sum(labels.values())
    return "\n".join([*lines, f"{unused:,} labels lie in no patch (gaps, edges, patches with too much missing)"])


def _look(grid: Grid, settings: PatchesSettings, quiet: bool, pool: Pool) -> Look:
    usable = np.zeros((grid.height, grid.width), bool)
    labelled = np.zeros_like(usable)
    strips = [Window(row, 0, min(STRIP, grid.height - row), grid.width) for row in range(0, grid.height, STRIP)]
    with progress_bar("looking for data", grid.height, "rows", quiet) as bar:
        for window, found in zip(strips, pool.map(partial(_look_at, settings=settings), strips), strict=True):
            usable[window.slices], labelled[window.slices] = found
            bar.update(window.row + window.height)
    if not labelled.any():
        raise ZooError(f"{settings.labels}: has no label where {settings.stack} has data; check place and mask")
    return Look(usable, labelled)


def _look_at(window: Window, settings: PatchesSettings) -> tuple[np.ndarray, np.ndarray]:
    """Where all bands of a window have data, and where it has labels too, (h, w) bool each."""
    with open_reader(settings.stack) as stack, open_reader(settings.labels) as labels:
        usable = np.isfinite(stack.read(window)).all(axis=0)
        return usable, usable & np.isfinite(_labels(labels, window, settings)[0])


def _labels(labels: Reader, window: Window, settings: PatchesSettings) -> np.ndarray:
    """Labels of a window (1, h, w) without those on masked classes, the same for every split."""
    values = labels.read(window, labels.info.bands[:1])
    if settings.label_nodata is not None:
        values[values == np.float32(settings.label_nodata)] = np.nan
    if settings.mask is not None:
        with open_reader(settings.mask) as mask:
            require_same_grid(mask.info.grid, labels.info.grid, settings.mask, settings.labels)
            classes = mask.read(window, mask.info.bands[:1])
        values[np.isin(classes, settings.mask_classes)] = np.nan
    return values


def _good(look: Look, window: Window, settings: PatchesSettings) -> bool:
    missing = 1 - look.usable[window.slices].mean()
    return missing <= settings.max_missing and bool(look.labelled[window.slices].any())


def _draw(blocks: Sequence[Window], look: Look, settings: PatchesSettings) -> list[Window]:
    """Random windows within the training blocks, blocks chosen by area, each window with a label; none twice."""
    rng = np.random.default_rng((settings.seed, 1))
    areas = np.array([b.height * b.width for b in blocks], float)
    wanted, found = settings.train_windows or 0, {}
    for _ in range(100 * wanted):
        block = blocks[rng.choice(len(blocks), p=areas / areas.sum())]
        row = block.row + int(rng.integers(block.height - settings.size + 1))
        col = block.col + int(rng.integers(block.width - settings.size + 1))
        window = Window(row, col, settings.size, settings.size)
        if _good(look, window, settings):
            found[window] = None
        if len(found) == wanted:
            return list(found)
    raise ZooError(
        f"prepare.patches.train_windows: only {len(found)} of {wanted} windows found with a label and at most "
        f"{settings.max_missing:.0%} missing; ask for fewer, or set a larger prepare.patches.block"
    )


def _write_all(placed: Sequence[Placed], settings: PatchesSettings, quiet: bool, pool: Pool) -> list[Path]:
    folders = list(dict.fromkeys(file.parent for p in placed for file in _files(p, settings)))
    missing = [p for p in placed if not all(file.exists() for file in _files(p, settings))]
    done = len(placed) - len(missing)
    with progress_bar("patches", len(placed), "patches", quiet) as bar:
        parts = [missing[i : i + _AT_ONCE] for i in range(0, len(missing), _AT_ONCE)]
        for part, _ in zip(parts, pool.map(partial(_write_some, settings=settings), parts), strict=True):
            done += len(part)
            bar.update(done, part[-1].split)
    return folders


def _files(placed: Placed, settings: PatchesSettings) -> list[Path]:
    name = f"{placed.name}.{settings.suffix}"
    return [settings.dest / kind / placed.split / name for kind in ("input", "label")]


def _write_some(placed: Sequence[Placed], settings: PatchesSettings) -> None:
    with open_reader(settings.stack) as stack, open_reader(settings.labels) as labels:
        for p in placed:
            image, target = stack.read(p.window), _labels(labels, p.window, settings)
            target[:, ~np.isfinite(image).all(axis=0)] = np.nan
            for file, values, source in zip(_files(p, settings), (image, target), (stack, labels), strict=True):
                _write(file, values, source, p.window)


def _write(file: Path, values: np.ndarray, source: Reader, window: Window) -> None:
    if file.suffix == ".npy":
        write_array(file, np.ascontiguousarray(values, np.float32))
        return
    bands = [Band(source.info.descriptions[b - 1], source.info.units[b - 1]) for b in source.info.bands[: len(values)]]
    with CogWriter(file, part_of(source.info.grid, window), bands) as writer:
        writer.write_rows(0, values)


def _write_index(dest: Path, placed: Sequence[Placed], look: Look, grid: Grid) -> Path:
    rows = []
    for p in placed:
        w = p.window
        x, y = apply(grid.transform, w.col + w.width / 2, w.row + w.height / 2)
        labels = int(look.labelled[w.slices].sum())
        rows.append([p.split, p.name, w.row, w.col, w.height, f"{x:.3f}", f"{y:.3f}", labels])
    columns = ["split", "name", "row", "col", "size", "x", "y", "labels"]
    return write_table(dest / "patches.csv", columns, rows)


def _require_own(dest: Path, stamp: str) -> None:
    about = dest / "patches.json"
    made = read_json(about, remedy="delete it with the patches beside it") if about.exists() else None
    if about.exists() and not (isinstance(made, dict) and made.get("made_from") == stamp):
        raise ZooError(
            f"{dest}: holds patches made from other rasters or settings; choose another prepare.patches.dest"
        )


def _refuse_strangers(settings: PatchesSettings, placed: Sequence[Placed]) -> None:
    expected = {(p.split, p.name) for p in placed}
    for file in _existing(settings.dest):
        if (file.parent.name, file.stem) not in expected:
            raise ZooError(f"{file}: is not of this preparation; delete it or choose another prepare.patches.dest")


def _existing(dest: Path) -> Iterator[Path]:
    for kind in ("input", "label"):
        yield from sorted(p for p in (dest / kind).glob("*/*") if p.suffix in (".npy", ".tif"))
