"""Quick-looks: maps side by side, each with colour bar, unit and title, what is missing in grey.

Painted straight into one picture: a scene of 256 px costs a tenth of what a matplotlib figure does, and that counts in
a folder of hundreds. The colour maps (viridis, cividis, magma) are even in lightness and readable by the colour-blind.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.run.written import write_bytes
from eozoo_core.score.plots import INK, MISSING, limits_of

if TYPE_CHECKING:  # only who draws waits for these
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_SMALL, _LARGE = 480, 1100  # px; a map is enlarged by whole numbers up to the first, and thinned by them to the second
_MARGIN, _GAP, _BAR = 18, 10, 18  # px
_PALE = "#666666"


@dataclass(frozen=True)
class Panel:
    """One map of a quick-look: values ``(H, W)`` with NaN = missing, a title, the unit and a matplotlib colour map.

    ``limits`` of the colours in the unit; None = the 2nd to the 98th percentile of what is valid. ``shape`` is that of
    the whole map where ``values`` are already a thumbnail of it. ``classes``: names of the values 0, 1, ...
    """

    values: np.ndarray
    title: str
    unit: str = ""
    colours: str = "viridis"
    limits: tuple[float, float] | None = None
    shape: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()


def quicklook(panels: Sequence[Panel], path: str | Path, title: str = "", columns: int = 3) -> None:
    """Draw maps side by side and write a PNG; the share of missing pixels stands below each.

    A pixel of a map is a square of pixels of the picture; maps of more than 1100 pixels a side are thinned by whole
    steps. Give a map that should not be in memory as its `raster.read.Reader.thumbnail`.
    """
    if not panels:
        raise ZooError(f"{path}: a quick-look needs at least one map")
    for panel in panels:
        if np.ndim(panel.values) != 2 or np.size(panel.values) == 0:
            raise ZooError(f"map {panel.title!r}: expected one band (H, W), found shape {np.shape(panel.values)}")
    drawn = [draw_panel(panel) for panel in panels]
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    widths = [max(row[i].width for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    heights, top = [max(one.height for one in row) for row in rows], 46 if title else 0
    sheet = _blank(max(sum(widths), _width(title, 20) + 2 * _MARGIN), sum(heights) + top)
    _write(sheet, (sheet.width // 2, 14), title, 20, INK, "ma")
    for row, height in zip(rows, heights, strict=True):
        for i, one in enumerate(row):
            sheet.paste(one, (sum(widths[:i]), top))
        top += height
    content = io.BytesIO()
    with_palette(sheet, panels).save(content, "png", compress_level=3)
    write_bytes(path, content.getvalue())


def with_palette(sheet: Image, panels: Sequence[Panel]) -> Image:
    """Return the picture in 256 colours, half the bytes and a fifth of the time to pack: a hundred of every scale.

    As it is where more than two scales are shown, or classes: a few shades more would be a step to see.
    """
    from PIL.Image import Dither, new

    scales = sorted({panel.colours for panel in panels})
    if len(scales) > 2 or any(panel.classes for panel in panels):
        return sheet
    few = [_table(name)[np.linspace(0, 255, 236 // len(scales)).round().astype(int)] for name in scales]
    ink = np.linspace((51, 51, 51), (255, 255, 255), 19).round().astype(np.uint8)  # of text, and what is around it
    palette = new("P", (1, 1))
    palette.putpalette(np.concatenate([*few, ink, _grey()]).tobytes())
    return sheet.quantize(palette=palette, dither=Dither.NONE)


def draw_panel(panel: Panel) -> Image:
    """Return one map with its title above, its colour bar on the right, and size and missing share below."""
    from PIL.Image import fromarray

    values = np.asarray(panel.values)
    step = -(-max(values.shape) // _LARGE)
    shown = values[::step, ::step].astype(np.float32)
    shown[~np.isfinite(shown)] = np.nan
    valid, zoom = shown[~np.isnan(shown)], max(1, _SMALL // max(shown.shape))
    colours, (low, high) = scale_of(panel, valid)
    picture = fromarray(painted(shown, colours, low, high).repeat(zoom, axis=0).repeat(zoom, axis=1))
    beyond = (bool((valid < low).any()), bool((valid > high).any())) if not panel.classes else (False, False)
    bar = draw_bar(max(picture.height, 120), colours, (low, high), beyond, panel)
    missing = 100 * float(np.isnan(shown).mean())
    height, width = panel.shape or values.shape
    below = f"{width} x {height} pixels, " + (
        "nothing missing" if missing == 0 else f"{max(missing, 0.1):.1f} % missing (grey)"
    )
    inside = max(picture.width, _width(panel.title, 17), _width(below, 13))
    whole = _blank(2 * _MARGIN + inside + _GAP + bar.width, 74 + bar.height)
    left = _MARGIN + (inside - picture.width) // 2
    _write(whole, (left + picture.width // 2, 10), panel.title, 17, INK, "ma")
    whole.paste(picture, (left, 38))
    whole.paste(bar, (left + picture.width + _GAP, 38 - _MARGIN // 2))
    _write(whole, (left + picture.width // 2, 46 + picture.height), below, 13, _PALE, "ma")
    return whole


def scale_of(panel: Panel, valid: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the colours (n, 3) uint8 of a panel from low to high, and what the ends stand for."""
    if panel.classes:
        return class_colours(len(panel.classes)), (-0.5, len(panel.classes) - 0.5)
    return _table(panel.colours), panel.limits or limits_of(valid, 2, 98)


def painted(values: np.ndarray, colours: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values (H, W) as (H, W, 3) uint8; beyond the ends the last colours, grey for NaN."""
    place = (values - np.float32(low)) * np.float32(len(colours) / max(high - low, 1e-30))
    place = np.where(np.isnan(values), len(colours), np.clip(place, 0, len(colours) - 1))
    return np.concatenate([colours, _grey()]).take(place.astype(np.intp), axis=0)


def class_colours(count: int) -> np.ndarray:
    """Colours (count, 3) uint8 that neighbouring classes can be told apart by; they begin again after twenty."""
    from matplotlib import colormaps

    palette = np.array(colormaps["tab10" if count <= 10 else "tab20"].colors)
    return np.rint(255 * palette[np.arange(count) % len(palette)]).astype(np.uint8)


def draw_bar(
    height: int, colours: np.ndarray, limits: tuple[float, float], beyond: tuple[bool, bool], panel: Panel
) -> Image:
    """Return a colour bar of ``height`` px, half a margin above and below, and its labels; ``beyond``: pointed ends."""
    from PIL.Image import fromarray
    from PIL.ImageDraw import Draw

    low, high = limits
    names = [name if len(name) <= 20 else f"{name[:19]}…" for name in panel.classes]
    labels = dict(enumerate(names)) if names else ticks(low, high)
    size = 13 if len(labels) * 15 <= height else max(8, height // len(labels) - 1)
    across = max(_width(text, size) for text in labels.values())
    bar = _blank(_BAR + 8 + across + (26 if panel.unit else 0), height + _MARGIN)
    top = _MARGIN // 2
    shades = painted(np.linspace(high, low, height, dtype=np.float32)[:, None].repeat(_BAR, axis=1), colours, low, high)
    bar.paste(fromarray(shades), (0, top))
    pen = Draw(bar)
    for points, (edge, tip), place in zip(beyond, ((top + height, 8), (top - 1, -8)), (0, -1), strict=True):
        if points:
            pen.polygon([(0, edge), (_BAR - 1, edge), (_BAR // 2, edge + tip)], tuple(colours[place].tolist()))
    for value, text in labels.items():
        y = top + round((high - value) / (high - low) * (height - 1))
        pen.line([(_BAR, y), (_BAR + 4, y)], INK)
        _write(bar, (_BAR + 8, y), text, size, INK, "lm")
    if panel.unit:
        size = next((size for size in range(15, 9, -1) if _width(panel.unit, size) <= bar.height), 9)
        label = _blank(min(_width(panel.unit, size) + 2, bar.height), 22)
        _write(label, (0, 11), panel.unit, size, INK, "lm")
        bar.paste(label.rotate(90, expand=True), (bar.width - 22, (bar.height - label.width) // 2))
    return bar


def ticks(low: float, high: float, most: int = 6) -> dict[float, str]:
    """Return up to ``most`` round numbers from ``low`` to ``high`` and how they are written."""
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= rough * (1 - 1e-9))
    values = [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if f"{step:e}".startswith("2.5") else 0))
    if max(abs(low), abs(high)) >= 1e5 or digits > 4:
        return {value: f"{value:.4g}" for value in values}
    return {value: f"{value + 0.0:.{digits}f}" for value in values}


def _grey() -> np.ndarray:
    from PIL.ImageColor import getrgb

    return np.array([getrgb(MISSING)], np.uint8)


@lru_cache
def _table(name: str) -> np.ndarray:
    from matplotlib import colormaps

    return np.rint(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)


@lru_cache
def _font(size: int) -> FreeTypeFont:
    import matplotlib
    from PIL.ImageFont import truetype

    return truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def _width(text: str, size: int) -> int:
    return math.ceil(_font(size).getlength(text))


def _blank(width: int, height: int) -> Image:
    from PIL.Image import new

    return new("RGB", (width, height), "white")


def _write(image: Image, place: tuple[int, int], text: str, size: int, colour: str, anchor: str) -> None:
    from PIL.ImageDraw import Draw

    Draw(image).text(place, text, colour, _font(size), anchor)
