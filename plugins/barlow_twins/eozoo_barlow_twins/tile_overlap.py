"""Whether tiles share ground: each is divided for itself, so a place in two of them is in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eozoo_core.checking import Findings, Place, place_of
from eozoo_core.checking.findings import listed
from eozoo_core.checking.leakage import copies, nearest

from eozoo_barlow_twins.tiles import Tile

if TYPE_CHECKING:
    from eozoo_barlow_twins.settings import PixelData


def judge_ground(tiles: Sequence[Tile], data: PixelData, findings: Findings) -> None:
    """A place in two tiles is in two splits, because each tile is divided for itself; a copy of a tile too."""
    places: list[Place | None] = [None] * len(tiles)
    for i, tile in enumerate(tiles):
        with findings.guard(tile.name):
            places[i] = place_of(tile.name, tile.grid)
    known = [i for i, place in enumerate(places) if place is not None]
    files, clean = [tile.path / "bands.npy" for tile in tiles], True
    same = copies(files)
    for j in range(1, len(tiles)):
        if j in same and not _together(tiles[j].name, tiles[same[j]].name, data):
            clean = False
            text = f"{files[j]} holds the same bytes as {files[same[j]]}"
            findings.error("leakage: tiles", text, "keep one of the two: each is divided for itself")
            continue
        if j not in known:
            continue
        others = [i for i in known if i < j and not _together(tiles[i].name, tiles[j].name, data)]
        if others and (near := nearest([places[j]], [places[i] for i in others])).overlap[0]:
            clean = False
            other = tiles[others[int(near.index[0])]]
            text = f"{tiles[j].path} and {other.path} overlap on the ground, and each is divided for itself"
            findings.error("leakage: tiles", text, "put both into data.test_tiles, or leave one out of data.tiles")
    _tell_ground(tiles, places, data, clean, findings)


def _tell_ground(
    tiles: Sequence[Tile], places: Sequence[Place | None], data: PixelData, clean: bool, findings: Findings
) -> None:
    lost = [tile.name for tile, place in zip(tiles, places, strict=True) if place is None]
    if lost:
        findings.unknown("CRS", f"{listed(lost)}: tile.json gives no CRS and transform",
                         "add them: then overlapping tiles can be found")  # fmt: skip
    elif clean:
        findings.ok("leakage: tiles", "no two tiles overlap on the ground or are copies of one another")
    if data.buffer == 0 and data.val_share + data.test_share > 0:
        findings.warning("leakage: blocks", "training pixels touch test pixels (data.buffer=0)",
                         "neighbours are alike: set data.buffer to 1 or more, or keep whole tiles apart")  # fmt: skip
    elif data.val_share + data.test_share > 0:
        how = "fields of blocks.npy" if any(t.has("blocks.npy") for t in tiles) else f"squares of {data.block} px"
        findings.ok("leakage: blocks", f"split by {how}, {data.buffer} px left out of training around the others")


def _together(one: str, two: str, data: PixelData) -> bool:
    """Whether two tiles are wholly in the same split."""
    return any(one in names and two in names for names in (data.val_tiles, data.test_tiles))
