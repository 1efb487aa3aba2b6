"""The files of both tasks' maps, and what lies beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import Port, ZooError
from eozoo_core.raster.cog import Band, Category
from eozoo_core.raster.files import Layer, Strip
from eozoo_core.raster.read import RasterReader
from eozoo_core.raster.tiles import Window
from eozoo_core.run.written import is_current, write_text

from eozoo_barlow_twins.colours import COLOURS, Colours, fit_colours, load_colours, save_colours
from eozoo_barlow_twins.effective_rank import effective_rank
from eozoo_barlow_twins.labels import class_colours
from eozoo_barlow_twins.maps import TileScene, part_of
from eozoo_barlow_twins.pictures import map_picture

if TYPE_CHECKING:
    from eozoo_barlow_twins.survey import ClassSurvey

_SOME = 20_000  # pixels that statistics and colours of one tile are measured on


def embedding_layers(products: Sequence[str], length: int, colours: Callable[[], Colours]) -> list[Layer]:
    """TILE_embedding, the same as TILE_embedding_int8, and TILE_false_colour, as ``products`` say.

    ``colours`` is asked for when the first rows are written.
    """
    bands = tuple(Band(f"e{i + 1:02d}", "1") for i in range(length))
    rgb = tuple(Band(name, "1") for name in ("red", "green", "blue"))
    layers = {
        "embedding": [Layer("embedding", bands)],
        "int8": [Layer("embedding_int8", bands, values=lambda strip: strip["embedding"], packed=True)],
        "false_colour": [
            Layer("false_colour", rgb, "uint8", 0, lambda strip: np.moveaxis(colours()(_last(strip)), 2, 0))
        ],
    }
    return [layer for product in products for layer in layers[product]]


def class_layers(products: Sequence[str], survey: ClassSurvey, outputs: Sequence[Port]) -> list[Layer]:
    """TILE_classes with names and colours, TILE_probabilities, and of several members how far they disagree."""
    names = tuple(name for _, name in survey.legend)
    table = {code: Category(n, c) for (code, n), c in zip(survey.legend, class_colours(names), strict=True)}
    coded = (Band("class", "class code", classes=table),)
    per_class = tuple(Band(name, "1") for name in names)
    layers = {
        "classes": [Layer("classes", coded, "uint8", 0, lambda strip: strip["class"][None])],
        "probabilities": [
            Layer(port.role, per_class) for port in outputs if port.spread in ("probabilities", "deviation")
        ],
    }
    return [layer for product in products for layer in layers[product]]


def colours_of_maps(scene: TileScene, dest: Path) -> Colours:
    """Colours kept beside the maps, or fitted to the tile that is being mapped and kept there."""
    file = dest / COLOURS
    values = np.load(part_of(scene, dest) / "values.npy", mmap_mode="r", allow_pickle=False)
    if file.exists():
        return load_colours(file, values.shape[2])
    step = _step(*values.shape[:2])
    colours = fit_colours(np.array(values[::step, ::step]).reshape(-1, values.shape[2]))
    save_colours(file, colours)
    return colours


def beside_embedding(files: Mapping[str, Path], picture: bool) -> list[Path]:
    """Write TILE_embedding.json and TILE_false_colour.png where they are missing or older than their maps."""
    made = []
    if (file := files.get("embedding")) is not None:
        made.append((file, file.with_suffix(".json"), _statistics))
    if picture and (file := files.get("false_colour")) is not None:
        made.append((file, file.with_suffix(".png"), map_picture))
    return drawn_beside(made)


def drawn_beside(made: Sequence[tuple[Path, Path, Callable[[Path, Path], object]]]) -> list[Path]:
    """Make each (map, file, function) whose file is missing or older than the map; return all files."""
    for source, file, make in made:
        if not is_current(file, source):
            make(source, file)
    return [file for _, file, _ in made]


def _last(strip: Strip) -> np.ndarray:
    return np.moveaxis(strip["embedding"], 0, 2)


def _step(height: int, width: int) -> int:
    return max(1, int(np.sqrt(height * width / _SOME)))


def _statistics(source: Path, file: Path) -> None:
    """Write what the embeddings of a tile look like: valid pixels, mean and deviation per dimension, ranks."""
    with RasterReader(source) as reader:
        grid = reader.info.grid
        step = _step(grid.height, grid.width)
        rows = [reader.read(Window(row, 0, 1, grid.width))[:, 0, ::step].T for row in range(0, grid.height, step)]
    some = np.concatenate(rows)
    valid = some[np.isfinite(some).all(axis=1)]
    if len(valid) == 0:
        raise ZooError(f"{file.name}: no pixel of the tile has enough clear dates; lower data.min_valid in a new run")
    content = {
        "valid_share": len(valid) / len(some),
        "pixels_looked_at": len(some),
        "mean": valid.mean(axis=0).tolist(),
        "std": valid.std(axis=0).tolist(),
        **effective_rank(valid),
    }
    write_text(file, json.dumps(content, indent=1))
