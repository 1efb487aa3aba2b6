"""Class codes on disk, class numbers in training, and the legend between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.tiles import Window
from eozoo_core.run.written import write_array

from eozoo_barlow_twins.settings import WORLDCOVER, Labels
from eozoo_barlow_twins.tiles import Tile

# ESA WorldCover's own colours (product user manual, table of classes), for names that are its own.
_WORLDCOVER_COLOURS = {
    10: (0, 100, 0), 20: (255, 187, 34), 30: (255, 255, 76), 40: (240, 150, 255), 50: (250, 0, 0),
    60: (180, 180, 180), 70: (240, 240, 240), 80: (0, 100, 200), 90: (0, 150, 160), 95: (0, 207, 117),
    100: (250, 230, 160),
}  # fmt: skip
_OTHER = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167), (0, 114, 178), (213, 94, 0), (120, 94, 60),
    (140, 140, 140), (60, 60, 130), (170, 220, 120), (255, 170, 170), (240, 228, 66),
)  # fmt: skip


def class_names(data: Labels) -> tuple[str, ...]:
    """Classes in the order of their lowest code; codes of one name are one class."""
    return tuple(dict.fromkeys(data.legend[code] for code in sorted(data.legend)))


def class_colours(names: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """A colour per class: WorldCover's own for its names, else from a list that the colour-blind can tell apart."""
    own = {name: _WORLDCOVER_COLOURS[code] for code, name in WORLDCOVER.items()}
    return [own.get(name, _OTHER[i % len(_OTHER)]) for i, name in enumerate(names)]


def class_layer(tile: Tile, data: Labels, window: Window | None = None) -> np.ndarray:
    """Class numbers ``(H, W)`` int16 of a tile's labels, or of those in ``window``, -1 = no label.

    Raises ZooError for a code that neither the legend nor ``data.no_label`` names: it would be trained as nothing.
    """
    codes = tile.layer(data.labels)
    codes = codes if window is None else codes[window.slices]
    names = class_names(data)
    layer = np.full(codes.shape, -2, np.int16)
    for code, name in data.legend.items():
        layer[codes == code] = names.index(name)
    layer[np.isin(codes, data.no_label)] = -1
    unknown = np.unique(codes[layer == -2])
    if unknown.size:
        raise ZooError(
            f"{tile.path / data.labels}: holds code {', '.join(map(str, unknown[:5].tolist()))}, "
            "which is not in the legend; add it to data.legend, or to data.no_label"
        )
    return layer


def prepare_labels(tile: Tile, rasters: tuple[str, ...]) -> Path:
    """Write labels.npy from classified rasters, nearest pixel; 0 where none covers the tile. Returns the file.

    Raises ZooError where the tile is not georeferenced, or no raster covers any of it.
    """
    import rasterio
    from eozoo_core.raster.georeference import Grid
    from eozoo_core.raster.mosaic import Mosaic

    crs, transform = tile.info.get("crs"), tile.info.get("transform")
    if not crs or not transform:
        raise ZooError(f"{tile.path / 'tile.json'}: has no crs and transform; labels cannot be placed without them")
    if not rasters:
        raise ZooError("prepare.labels.rasters: name at least one classified GeoTIFF with --set")
    grid = Grid(*tile.shape[1:3], rasterio.CRS.from_user_input(crs), rasterio.Affine(*transform))
    mosaic = Mosaic(grid, "nearest", (0.0,))  # an earlier raster counts, a later one fills its gaps
    for file in rasters:
        mosaic.add(Path(file), (1,), lambda values: values)
    labels = np.nan_to_num(mosaic.read(grid.whole, 1)[0]).astype(np.int32)
    if not labels.any():
        raise ZooError(f"{tile.path}: none of prepare.labels.rasters covers this tile")
    small = labels.astype(np.uint8 if labels.max() < 256 else np.uint16)
    return write_array(tile.path / "labels.npy", small)


def class_values(data: Labels) -> tuple[int, ...]:
    """The value of each class in a map of bytes: its lowest code where all fit 1..255, else 1, 2, 3 ..."""
    names = class_names(data)
    lowest = [min(code for code, name in data.legend.items() if name == wanted) for wanted in names]
    return tuple(lowest) if all(1 <= code <= 255 for code in lowest) else tuple(range(1, len(names) + 1))
