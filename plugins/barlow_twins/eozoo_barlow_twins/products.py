"""The maps of both tasks, written strip by strip from the encoded pixels of a tile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError

from eozoo_barlow_twins.colours import COLOURS, Colours, fit_colours, load_colours, save_colours
from eozoo_barlow_twins.effective_rank import effective_rank
from eozoo_barlow_twins.encoders import SeriesEncoder
from eozoo_barlow_twins.files import publish
from eozoo_barlow_twins.labels import class_colours, class_names, class_values
from eozoo_barlow_twins.maps import encoded, stamp_of
from eozoo_barlow_twins.tiles import Tile

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run

    from eozoo_barlow_twins.settings import Labels

_STRIP = 64  # rows
_STAMP = "EOZOO_STAMP"
CLASS_UNIT = "class code"


def quantise(embedding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-bit form of ``embedding (..., D)``: integers -127..127 (float32, NaN = missing) and scale ``(...)`` float32.

    embedding = integer x scale with scale = max |embedding| / 127 of the pixel; the error is at most half a scale.
    """
    scale = np.maximum(np.abs(embedding).max(axis=-1), 1e-12) / 127
    return np.rint(embedding / scale[..., None]).astype(np.float32), scale.astype(np.float32)


def embedding_maps(run: Run, encoder: SeriesEncoder, tiles: Sequence[Tile], dest: Path) -> list[Path]:
    """Write TILE_embedding.tif, TILE_embedding_int8.tif with TILE_embedding_scale.tif, TILE_false_colour.tif and .png,
    and TILE_embedding.json with statistics, for each tile. Tiles whose maps are there already are left as they are.
    """
    wanted, written = run.settings.infer.products, []
    colours = _colours(run, encoder) if "false_colour" in wanted else None
    for tile in tiles:
        stamp = stamp_of(run, tile)
        files = _embedding_files(tile, dest, wanted)
        if not _are_there(files, stamp):
            with encoded(run, encoder, tile, dest) as values:
                if "false_colour" in wanted and colours is None:
                    colours = _own_colours(values, dest)
                _write_embedding(tile, values, dest, wanted, colours, stamp)
                _statistics(values, dest / f"{tile.name}_embedding.json")
                if colours is not None:
                    _colour_picture(tile, values, colours, dest)
        written += files
    return written


def class_maps(run: Run, encoder: SeriesEncoder, tiles: Sequence[Tile], dest: Path, data: Labels) -> list[Path]:
    """Write TILE_classes.tif (with class names and colours) and its picture, and TILE_probabilities.tif."""
    from eozoo_core.raster.cog import Band, Category, CogWriter

    names, values_of, wanted, written = class_names(data), class_values(data), run.settings.infer.products, []
    table = {v: Category(n, c) for v, n, c in zip(values_of, names, class_colours(names), strict=True)}
    for tile in tiles:
        stamp, grid = stamp_of(run, tile), tile.grid
        files = [dest / f"{tile.name}_{name}.tif" for name in wanted]
        if not _are_there(files, stamp):
            with encoded(run, encoder, tile, dest) as values, ExitStack() as stack:
                tags, out = {_STAMP: stamp}, {}
                for name, file in zip(wanted, files, strict=True):
                    if name == "classes":
                        writer = CogWriter(file, grid, [Band("class", CLASS_UNIT, classes=table)], "uint8", 0, tags)
                    else:
                        writer = CogWriter(file, grid, [Band(n, "1") for n in names], tags=tags)
                    out[name] = stack.enter_context(writer)
                for row, strip in _strips(values):
                    if "classes" in out:
                        out["classes"].write_rows(row, _classes(strip, values_of)[None])
                    if "probabilities" in out:
                        out["probabilities"].write_rows(row, np.moveaxis(strip, 2, 0))
            if "classes" in wanted:
                from eozoo_barlow_twins.pictures import map_picture

                map_picture(files[wanted.index("classes")])
        written += files + ([files[wanted.index("classes")].with_suffix(".png")] if "classes" in wanted else [])
    return written


def _classes(strip: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """The value of the most probable class ``(n, W)`` float32, NaN where the probabilities are."""
    missing = np.isnan(strip[..., 0])
    best = np.array(values, np.float32)[np.where(missing[..., None], 0, strip).argmax(axis=-1)]
    return np.where(missing, np.float32(np.nan), best)


def _embedding_files(tile: Tile, dest: Path, wanted: Sequence[str]) -> list[Path]:
    names = {
        "embedding": ["embedding.tif", "embedding.json"],
        "int8": ["embedding_int8.tif", "embedding_scale.tif"],
        "false_colour": ["false_colour.tif", "false_colour.png"],
    }
    return [dest / f"{tile.name}_{name}" for product in wanted for name in names[product]]


def _write_embedding(
    tile: Tile, values: np.ndarray, dest: Path, wanted: Sequence[str], colours: Colours | None, stamp: str
) -> None:
    from eozoo_core.raster.cog import Band, CogWriter

    grid, tags = tile.grid, {_STAMP: stamp}
    bands = [Band(f"e{i + 1:02d}", "1") for i in range(values.shape[2])]
    with ExitStack() as stack:

        def writer(name: str, bands: list[Band], dtype: str = "float32", nodata: float | None = None) -> CogWriter:
            return stack.enter_context(CogWriter(dest / f"{tile.name}_{name}.tif", grid, bands, dtype, nodata, tags))

        full = writer("embedding", bands) if "embedding" in wanted else None
        if "int8" in wanted:
            small = writer("embedding_int8", bands, "int8", -128)
            scale = writer("embedding_scale", [Band("scale: embedding = int8 x scale", "1")])
        rgb = writer("false_colour", [Band(n, "1") for n in ("red", "green", "blue")], "uint8", 0) if colours else None
        for row, strip in _strips(values):
            if full is not None:
                full.write_rows(row, np.moveaxis(strip, 2, 0))
            if "int8" in wanted:
                integers, factor = quantise(strip)
                small.write_rows(row, np.moveaxis(integers, 2, 0))
                scale.write_rows(row, factor[None])
            if rgb is not None:
                rgb.write_rows(row, np.moveaxis(colours(strip), 2, 0))


def _strips(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, rows (n, W, K)) from top to bottom."""
    for row in range(0, values.shape[0], _STRIP):
        yield row, np.array(values[row : row + _STRIP])


def _colours(run: Run, encoder: SeriesEncoder) -> Colours | None:
    """The colours that the settings name, else the run's; None where the run has none (it was stopped early)."""
    named = run.settings.infer.colours
    file = Path(named) if named is not None else run.path / COLOURS
    return load_colours(file, encoder.outputs) if named is not None or file.exists() else None


def _own_colours(values: np.ndarray, dest: Path) -> Colours:
    """Colours from the first tile mapped, kept beside the maps."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / 20000)))
    colours = fit_colours(np.array(values[::step, ::step]).reshape(-1, values.shape[2]))
    save_colours(dest / COLOURS, colours)
    return colours


def _statistics(values: np.ndarray, file: Path) -> None:
    """Write what the embeddings of a tile look like: valid pixels, mean and deviation per dimension, ranks."""
    step = max(1, int(np.sqrt(values.shape[0] * values.shape[1] / 20000)))
    some = np.array(values[::step, ::step]).reshape(-1, values.shape[2])
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
    publish(file, json.dumps(content, indent=1).encode())


def _colour_picture(tile: Tile, values: np.ndarray, colours: Colours, dest: Path) -> None:
    from eozoo_barlow_twins.pictures import colour_picture

    step = -(-max(values.shape[:2]) // 1500)
    colour_picture(colours(np.array(values[::step, ::step])), dest / f"{tile.name}_false_colour.png", tile.name)


def _are_there(files: Sequence[Path], stamp: str) -> bool:
    """Whether all maps are there and were made from the same weights, input and settings."""
    import rasterio

    for file in files:
        if not file.exists():
            return False
        if file.suffix == ".tif":
            with rasterio.open(file) as data:
                if data.tags().get(_STAMP) != stamp:
                    return False
    return True
