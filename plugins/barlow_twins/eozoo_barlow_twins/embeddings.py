"""What a pre-trained encoder says of pixels, for other tasks: a registered dataset, and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from eozoo_core import Run, ZooError
from eozoo_core.run.writing import make_folder_of, write_atomic
from eozoo_core.task.predict import open_draws

from eozoo_barlow_twins.evaluation import encode
from eozoo_barlow_twins.pixels import PixelIndex, split_number
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.settings import BarlowSettings, PixelData
from eozoo_barlow_twins.splits import block_numbers
from eozoo_barlow_twins.tiles import open_tiles

_TOGETHER = 4096  # pixels that are encoded at once


class EmbeddingsDataset:
    """Embeddings of the usable pixels of tile folders: "features" (D,) float32, "target" () the code, NaN = no label.

    run: of barlow_twins; pixels are usable and dates chosen as its maps do. folder: holds the tiles, of any place with
    the run's bands. tiles: names, None = all. labels: file of the codes in a tile; pixels of tiles without it have 0.
    split: "train", "val" or "test" by blocks, None = all pixels. Raises ZooError as opening run and tiles does.
    """

    def __init__(
        self,
        run: str,
        folder: str,
        tiles: Sequence[str] | None = None,
        labels: str = "labels.npy",
        split: str | None = None,
        registry: Any = None,
    ):
        opened = Run.open(Path(run), BarlowSettings, "barlow_twins")
        self._task = BarlowTwinsTask(opened.settings, registry)
        self._task.remember(opened)
        self._draws, self._labels = open_draws(self._task, opened, "infer"), labels
        survey, kind = self._draws.survey, None if split is None else split_number(split)
        data = PixelData(min_valid=survey.min_valid, sample_size=survey.sample_size)
        self.index = PixelIndex(open_tiles(Path(folder), None if tiles is None else tuple(tiles)), data, kind)
        self._kept: tuple[int, np.ndarray] = (-1, np.empty(0))
        length = int(self._task.ports(survey).outputs[0].axes.split()[1])
        self.bands, self.units = tuple(f"e{i}" for i in range(length)), ("1",) * length
        if not len(self.index):
            raise ZooError(f"{folder}: no pixel has more than {survey.min_valid} clear dates, as {run} needs")

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        part, place = divmod(number, _TOGETHER)
        if self._kept[0] != part:
            self._kept = part, self.encoded(self._numbers(part))
        code = self.codes[number]
        return {"features": self._kept[1][place], "target": np.float32(code or np.nan)}

    @cached_property
    def codes(self) -> np.ndarray:
        """Code of every pixel (n,), 0 = no label."""
        codes = np.zeros(len(self), np.int64)
        for tile, places, pixels in self.index.groups(np.arange(len(self))):
            if self.index.tiles[tile].has(self._labels):
                codes[places] = self.index.tiles[tile].layer(self._labels).reshape(-1)[pixels]
        return codes

    def encoded(self, numbers: np.ndarray) -> np.ndarray:
        """Embeddings (n, D) float32 of the pixels ``numbers``."""
        (system,), draws = self._draws.systems.values(), self._draws
        return encode(system, draws.device, self.index, numbers, draws.survey, self._task.settings.infer)

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield numbers of some pixels and their embeddings, all in order."""
        for part in range(-(-len(self) // _TOGETHER)):
            yield self._numbers(part), self.encoded(self._numbers(part))

    def write(self, file: Path, block: int, legend: dict[int, str]) -> Path:
        """Write them as a table; see `write_embeddings`."""
        return write_embeddings(self, file, block, legend)

    def _numbers(self, part: int) -> np.ndarray:
        return np.arange(part * _TOGETHER, min(len(self), (part + 1) * _TOGETHER))


def write_embeddings(dataset: EmbeddingsDataset, file: Path, block: int, legend: dict[int, str]) -> Path:
    """Write a CSV table, a pixel a row: e0, e1, ... [1], x and y (the tile's CRS), block, code and class; return it.

    x, y: centres of pixels, empty where a tile has no place. block: "TILE-NUMBER", for `data.group`. class: by
    ``legend``, empty where it does not name the code.
    """
    index = dataset.index
    blocks = [block_numbers(tile, block).reshape(-1) for tile in index.tiles]

    def write(raw: Any) -> None:
        for number, (numbers, values) in enumerate(dataset.parts()):
            text = io.StringIO(newline="")
            rows = csv.writer(text, lineterminator="\n")
            if not number:
                rows.writerow([*(f"e{i} [1]" for i in range(values.shape[1])), "x", "y", "block", "code", "class"])
            for tile, places, pixels in index.groups(numbers):
                names = [f"{index.tiles[tile].name}-{one}" for one in blocks[tile][pixels]]
                codes = dataset.codes[numbers[places]].tolist()
                told = zip(_places(index.tiles[tile], pixels), names, codes, strict=True)
                rows.writerows(
                    [*(f"{v:.6g}" for v in values[place]), *xy, name, code, legend.get(code, "")]
                    for place, (xy, name, code) in zip(places, told, strict=True)
                )
            raw.write(text.getvalue().encode())

    make_folder_of(file)
    write_atomic(file, write)
    return file


def _places(tile: Any, pixels: np.ndarray) -> list[tuple[Any, Any]]:
    """Coordinates of the centres of pixels, empty where the tile has none."""
    transform = tile.info.get("transform")
    if not transform:
        return [("", "")] * len(pixels)
    rows, cols = np.divmod(pixels, tile.shape[2])
    a, b, c, d, e, f = transform[:6]
    x, y = (m * (cols + 0.5) + n * (rows + 0.5) + o for m, n, o in ((a, b, c), (d, e, f)))
    return list(zip(x.tolist(), y.tolist(), strict=True))
