"""Whether tiles share ground: each is divided for itself, so a place in two of them is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eozoo_core.checking import Findings, Place, Separation, Split, judge_splits, place_of
from eozoo_core.checking.findings import listed

from eozoo_barlow_twins.tiles import Tile

if TYPE_CHECKING:
    from eozoo_barlow_twins.settings import PixelData

_SEPARATION = Separation(
    remedy="add CRS and transform to tile.json: then overlapping tiles can be found",
    repair="put both into data.test_tiles, or leave one out of data.tiles",
)


def describe_tiles(tiles: Sequence[Tile], data: PixelData) -> tuple[list[Split], Separation]:
    """Return what no place, and no content of a tile, may be in two of; see ``Task.describe_splits``."""
    return _splits(tiles, data), _SEPARATION


def judge_tiles(tiles: Sequence[Tile], data: PixelData, findings: Findings) -> None:
    """Say the same to ``check``, and whether pixels of two splits touch within a tile."""
    lost = {tile.name for tile in tiles}
    for tile in tiles:
        with findings.guard(tile.name):
            if place_of(tile.name, tile.grid) is not None:
                lost.remove(tile.name)
    judge_splits(findings, _splits(tiles, data), _SEPARATION)
    if 0 < len(lost) < len(tiles):
        findings.unknown("CRS", f"{listed(sorted(lost))}: tile.json gives no CRS and transform", _SEPARATION.remedy)
    if data.buffer == 0 and data.val_share + data.test_share > 0:
        findings.warning("leakage: blocks", "training pixels touch test pixels (data.buffer=0)",
                         "neighbours are alike: set data.buffer to 1 or more, or keep whole tiles apart")  # fmt: skip
    elif data.val_share + data.test_share > 0:
        how = "fields of blocks.npy" if any(t.has("blocks.npy") for t in tiles) else f"squares of {data.block} px"
        findings.ok("leakage: blocks", f"split by {how}, {data.buffer} px left out of training around the others")


def _splits(tiles: Sequence[Tile], data: PixelData) -> list[Split]:
    """Tiles that are wholly in validation or test, and the others, which are divided by blocks where shares say so."""
    groups: dict[str, list[Tile]] = {"tiles": [], "val tiles": [], "test tiles": []}
    for tile in tiles:
        name = "val tiles" if tile.name in data.val_tiles else "test tiles" if tile.name in data.test_tiles else "tiles"
        groups[name].append(tile)
    divided = data.val_share + data.test_share > 0
    return [_split(name, many, divided and name == "tiles") for name, many in groups.items()]


def _split(name: str, tiles: list[Tile], divided: bool) -> Split:
    def place(i: int) -> Place | None:
        return place_of(str(tiles[i].path), tiles[i].grid)

    files = [tile.path / "bands.npy" for tile in tiles]
    return Split(name, [t.name for t in tiles], None, files, place, what="tiles", divided=divided)
