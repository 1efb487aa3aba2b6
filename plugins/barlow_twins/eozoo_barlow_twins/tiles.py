"""The documented tile folder, opened lazily: nothing is read before it is asked for, and never a whole tile.

DATA_DIR/data/DATASET/processed/TILE/
    bands.npy      (T, H, W, C) uint16   digital numbers (reflectance x 10000)
    masks.npy      (T, H, W)    uint8    1 = clear, 0 = not
    doys.npy       (T,)         integer  day of year 1..366, in order of acquisition
    band_mean.npy, band_std.npy (C,)     over the clear pixels of this tile
optional
    labels.npy     (H, W) integer        class codes
    blocks.npy     (H, W) integer        spatial units (fields) that no split may cut; 0 = none
    pixels.npy     (H*W, T, C+1) uint16  the same data pixel by pixel, mask last: see ``pixel_store``
    tile.json      {"bands": [...], "crs": WKT, "transform": [6 numbers], "dates": [...], "source": ...}; as
                   'eozoo prepare' writes it with the sha256 of these numbers, and of each array under "files"
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import ZooError
from eozoo_core.errors import did_you_mean
from eozoo_core.raster.arrays import map_array
from eozoo_core.raster.georeference import Grid
from eozoo_core.run.parsed import read_object
from eozoo_core.run.sealed import FILES, require_file, require_sealed

TILE_JSON = "tile.json"
_REMEDY = "see the layout in the README, or make the tile with 'eozoo prepare barlow_twins'"


class Tile:
    """One tile folder. Opening checks shapes and kinds; masks and days are checked when they are read.

    ``shape`` is (T, H, W, C); ``divided`` keeps what `splits` found of its blocks. Raises ZooError naming the file for
    anything missing or mis-shaped.
    """

    def __init__(self, path: Path):
        self.path, self.name = Path(path), Path(path).name
        self.divided: dict[str, Any] = {}
        self.bands = _array(self.path / "bands.npy", 4, "(T, H, W, C)")
        if self.bands.dtype != np.uint16:
            raise ZooError(f"{self.path / 'bands.npy'}: holds {self.bands.dtype}, expected uint16 digital numbers")
        self.shape: tuple[int, int, int, int] = self.bands.shape
        self.masks = _array(self.path / "masks.npy", 3, "(T, H, W)")
        if self.masks.shape != self.shape[:3] or self.masks.dtype not in (np.uint8, np.bool_):
            raise ZooError(
                f"{self.path / 'masks.npy'}: is {self.masks.dtype} {self.masks.shape}, "
                f"expected uint8 {self.shape[:3]} as bands.npy says"
            )

    def __reduce__(self) -> tuple:
        """Pickle the path only: a worker process opens the files itself instead of receiving a copy of them."""
        return Tile, (self.path,)

    @cached_property
    def doys(self) -> np.ndarray:
        """Days of year ``(T,)`` int64, 1..366. Raises ZooError for anything else."""
        file = self.path / "doys.npy"
        doys = _array(file, 1, "(T,)")
        self._require(file)
        if doys.shape[0] != self.shape[0] or doys.dtype.kind not in "iu":
            raise ZooError(f"{file}: is {doys.dtype} {doys.shape}, expected {self.shape[0]} integers as bands.npy says")
        doys = np.asarray(doys, np.int64)
        if doys.min() < 1 or doys.max() > 366:
            raise ZooError(f"{file}: holds day {doys.min()} to {doys.max()}; a day of year is 1..366")
        return doys

    @cached_property
    def days(self) -> np.ndarray:
        """Days since the first 1 January ``(T,)`` int64: days of year, going on over the turn of a year."""
        turns = np.concatenate([[0], np.cumsum(np.diff(self.doys) < 0)])
        return self.doys + 365 * turns

    @cached_property
    def info(self) -> dict[str, Any]:
        """The content of tile.json, {} where there is none. Raises ZooError where it was changed since it was made."""
        file = self.path / TILE_JSON
        if not file.exists():
            return {}
        return require_sealed(file, read_object(file, _REMEDY), _REMEDY)

    def require_whole(self) -> bool:
        """Compare every array with the sha256 that tile.json has of it: reads them whole, so ``check`` does it.

        Returns False where tile.json has none. Raises ZooError for one that was changed since.
        """
        known = self.info.get(FILES)
        return isinstance(known, dict) and all(self._require(self.path / name) for name in known)

    def _require(self, file: Path) -> bool:
        remedy = _STATISTICS if "band_" in file.name else "copy the tile again, or make it again"
        return require_file(file, self.info, TILE_JSON, remedy)

    @property
    def grid(self) -> Grid:
        """Rows, columns and, where tile.json says so, CRS and transform. Raises ZooError where it cannot be read."""
        from rasterio import Affine
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        _, height, width, _ = self.shape
        crs, transform = self.info.get("crs"), self.info.get("transform")
        try:
            where = CRS.from_user_input(crs) if crs else None
            return Grid(height, width, where, Affine(*map(float, transform[:6])) if transform else None)
        except (CRSError, TypeError, ValueError) as error:
            file = self.path / "tile.json"
            raise ZooError(f"{file}: crs is not WKT or transform not 6 numbers ({error}); {_REMEDY}") from None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands in their order; band_1, band_2 ... where no tile.json says so."""
        names = self.info.get("bands")
        if names is None:
            return tuple(f"band_{i + 1}" for i in range(self.shape[3]))
        if len(names) != self.shape[3] or len(set(names)) != len(names):
            raise ZooError(f"{self.path / 'tile.json'}: names bands {names}, bands.npy has {self.shape[3]} bands")
        return tuple(names)

    def select(self, names: tuple[str, ...]) -> np.ndarray:
        """Positions of the bands ``names`` in this tile, so that their order is right whatever the file's order.

        Raises ZooError where a name is missing, and where the tile does not say which band is which although the
        data that the run was trained on did: a wrong order cannot be seen in the numbers.
        """
        known = self.band_names
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known)
                if "bands" not in self.info:
                    hint = ' tile.json is missing: write one with {"bands": [...]} in the order of bands.npy.'
                raise ZooError(f"{self.path}: has no band {name!r}.{hint}")
        if "bands" not in self.info and len(names) != len(known):
            raise ZooError(f"{self.path}: has {len(known)} bands without names, {len(names)} are needed; add tile.json")
        return np.array([known.index(name) for name in names])

    @cached_property
    def counts(self) -> np.ndarray:
        """Clear dates per pixel ``(H, W)`` uint16, read date by date. Raises ZooError where a mask is not 0 or 1."""
        total = np.zeros(self.shape[1:3], np.uint16)
        for date in range(self.shape[0]):
            mask = np.asarray(self.masks[date])
            if mask.max(initial=0) > 1:
                raise ZooError(
                    f"{self.path / 'masks.npy'}: holds {mask.max()} at date {date}; 1 = clear and 0 = not are allowed"
                )
            total += mask.astype(np.uint16)
        return total

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Band mean and standard deviation, each ``(C,)`` float64, of the clear pixels of this tile.

        Raises ZooError where a file is missing, mis-shaped or not finite, and for a band without spread.
        """
        values = []
        for name in ("band_mean.npy", "band_std.npy"):
            file = self.path / name
            array = np.asarray(_array(file, 1, "(C,)"), np.float64)
            self._require(file)
            if array.shape != self.shape[3:] or not np.isfinite(array).all():
                raise ZooError(
                    f"{file}: expected {self.shape[3]} finite numbers, found {array.tolist()}; {_STATISTICS}"
                )
            values.append(array)
        flat = [n for n, s in zip(self.band_names, values[1], strict=True) if s <= 0]
        if flat:
            raise ZooError(
                f"{self.path / 'band_std.npy'}: band {', '.join(flat)} has no spread; leave it out of data.bands"
            )
        return values[0], values[1]

    def layer(self, name: str) -> np.ndarray:
        """An integer layer ``(H, W)``, for example labels.npy. Raises ZooError where it is missing or mis-shaped."""
        array = _array(self.path / name, 2, "(H, W)")
        if array.shape != self.shape[1:3] or array.dtype.kind not in "iu":
            raise ZooError(f"{self.path / name}: is {array.dtype} {array.shape}, expected integers {self.shape[1:3]}")
        return np.asarray(array)

    def has(self, name: str) -> bool:
        """Whether the optional file ``name`` is there."""
        return (self.path / name).exists()

    def series(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whole series of flat pixel numbers ``(n,)``: digital numbers ``(n, T, C)`` uint16, clear ``(n, T)`` bool.

        One contiguous read per pixel where the pixel-major store is there, T reads otherwise.
        """
        if self._store is not None:
            records = self._store[pixels]
            return records[:, :, :-1], records[:, :, -1] != 0
        rows, cols = np.divmod(pixels, self.shape[2])
        return (
            np.ascontiguousarray(np.swapaxes(self.bands[:, rows, cols], 0, 1)),
            self.masks[:, rows, cols].T != 0,
        )

    def rows(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Series of all pixels of rows ``first`` to ``stop - 1``, shaped as `series` does."""
        t, _, w, c = self.shape
        if self._store is not None:
            return self.series(np.arange(first * w, stop * w))
        n = (stop - first) * w
        bands = np.asarray(self.bands[:, first:stop]).reshape(t, n, c)
        return np.swapaxes(bands, 0, 1), np.asarray(self.masks[:, first:stop]).reshape(t, n).T != 0

    @cached_property
    def _store(self) -> np.ndarray | None:
        from eozoo_barlow_twins.pixel_store import open_store

        return open_store(self.path, self.shape)

    @property
    def files(self) -> list[Path]:
        """The files that training reads."""
        names = ("bands.npy", "masks.npy", "doys.npy", "band_mean.npy", "band_std.npy")
        return [self.path / name for name in names]


_STATISTICS = "make it with 'eozoo prepare barlow_twins statistics'"


def processed(base: str | Path, dataset: str) -> Path:
    """The documented folder of tiles."""
    return Path(base) / "data" / dataset / "processed"


def open_tiles(folder: Path, names: tuple[str, ...] | None = None) -> list[Tile]:
    """Open the tiles of a folder in the order of their names (not of the file system), or just ``names``.

    Raises ZooError where there are none, or one of ``names`` is missing.
    """
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder; check runtime.data_dir and data.dataset")
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in names or ():
        if name not in found:
            raise ZooError(f"{folder}: has no tile {name!r}.{did_you_mean(name, found)}")
    wanted = found if names is None else list(dict.fromkeys(names))
    if not wanted:
        raise ZooError(f"{folder}: holds no tile folder; {_REMEDY}")
    return [Tile(folder / name) for name in wanted]


def pooled_statistics(tiles: list[Tile], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation ``(C,)`` of ``names`` over all clear pixels of all tiles, float64.

    Pooled from the tiles' own statistics by their numbers of clear pixels, n: mean = sum(n m) / N and
    variance = sum(n (s^2 + (m - mean)^2)) / N. A mean of the tiles' deviations would miss the spread between them.
    """
    weights = np.array([float(tile.counts.sum(dtype=np.int64)) for tile in tiles])
    if weights.sum() == 0:
        raise ZooError(
            f"{tiles[0].path.parent}: no pixel of any tile is clear on any date; check masks.npy (1 = clear)"
        )
    pairs = [(m[i], s[i]) for m, s, i in ((*t.statistics(), t.select(names)) for t in tiles)]
    means, stds = (np.stack(part) for part in zip(*pairs, strict=True))
    share = (weights / weights.sum())[:, None]
    mean = (share * means).sum(0)
    return mean, np.sqrt((share * (stds**2 + (means - mean) ** 2)).sum(0))


def _array(file: Path, dimensions: int, axes: str) -> np.ndarray:
    remedy = _STATISTICS if "band_" in file.name else _REMEDY
    if not file.exists():
        raise ZooError(f"{file}: is missing; {remedy}")
    array = map_array(file, remedy)
    if array.ndim != dimensions or array.size == 0:
        raise ZooError(f"{file}: has shape {array.shape}, expected {axes}")
    return array
