"""Quick-looks: maps side by side, each with colour bar, unit and title, what is missing in grey.

Painted straight into one picture: a scene of 256 px costs a thirtieth of what a matplotlib figure does, and that
counts in a folder of hundreds. The colour maps (viridis, cividis, magma) are even in lightness and readable by the
colour-blind.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.run.written import write_bytes
from eozoo_core.score.plots import MISSING, limits_of

if TYPE_CHECKING:  # only who draws waits for these
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

_SMALL, _LARGE = 480, 1100  # px; a map is enlarged by whole numbers up to the first, and thinned by them to the second
_MARGIN, _GAP, _BAR, _TIP = 18, 10, 18, 8  # px
_PACKED, _RUNS = 1, 3  # zlib's level, of 9, and its strategy that looks for runs only: as small in 0.6 of the time
_ENOUGH = 2**14  # values that tell percentiles
_GREYS = np.linspace(51, 255, 19).round().astype(np.uint8)  # of text and what is around it: ink to white
_INK, _PALE, _WHITE, _MISSING = 0, 4, 18, 19  # their places in the table of colours, and that of what is missing
_FIRST = 20  # where the colours of the maps begin


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
    inks = Inks(panels)
    drawn = [draw_panel(panel, inks) for panel in panels]
    rows = [drawn[i : i + columns] for i in range(0, len(drawn), columns)]
    widths = [max(row[i].shape[1] for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    heights, top = [max(one.shape[0] for one in row) for row in rows], 46 if title else 0
    sheet = inks.blank(max(sum(widths), _width(title, 20) + 2 * _MARGIN), sum(heights) + top)
    _write(sheet, (sheet.shape[1] // 2, 14), title, 20, _INK, "ma")
    for row, height in zip(rows, heights, strict=True):
        for i, one in enumerate(row):
            _paste(sheet, one, (sum(widths[:i]), top))
        top += height
    content = io.BytesIO()
    inks.picture(sheet).save(content, "png", compress_level=_PACKED, compress_type=inks.packing)
    write_bytes(path, content.getvalue())


class Inks:
    """The colours of a picture, and its pixels as their numbers: a quarter of the work of painting in three bytes.

    Up to two scales share 256 colours, a byte for each pixel. With more of them, or classes, every scale has as many:
    a few shades more would be a step to see.
    """

    def __init__(self, panels: Sequence[Panel]):
        from PIL.ImageColor import getrgb

        keys = sorted({(panel.colours, len(panel.classes)) for panel in panels})
        few = len(keys) <= 2 and not any(classes for _, classes in keys)
        shades = np.linspace(0, 255, (256 - _FIRST) // len(keys) if few else 256).round().astype(int)
        parts = [class_colours(classes) if classes else _table(name)[shades] for name, classes in keys]
        ends = _FIRST + np.cumsum([0, *map(len, parts)])
        self._type, self.packing = (np.uint8, _RUNS) if few else (np.uint16, 0)
        self._places = {key: np.arange(*ends[i : i + 2], dtype=self._type) for i, key in enumerate(keys)}
        self._table = np.concatenate([_GREYS[:, None].repeat(3, 1), [getrgb(MISSING)], *parts]).astype(np.uint8)

    def of(self, panel: Panel) -> np.ndarray:
        """Return the numbers (n,) of a panel's colours, from low to high."""
        return self._places[panel.colours, len(panel.classes)]

    def blank(self, width: int, height: int) -> np.ndarray:
        """Return white paper (height, width)."""
        return np.full((height, width), _WHITE, self._type)

    def picture(self, sheet: np.ndarray) -> Image:
        """Return numbers of colours as an image."""
        from PIL.Image import fromarray

        if self._type is not np.uint8:
            return fromarray(self._table.take(sheet, axis=0))
        image = fromarray(sheet)
        image.putpalette(self._table.tobytes())  # makes its bytes numbers of colours
        return image


def draw_panel(panel: Panel, inks: Inks) -> np.ndarray:
    """Return one map with its title above, its colour bar on the right, and size and missing share below."""
    values = np.asarray(panel.values)
    step = -(-max(values.shape) // _LARGE)
    shown = values[::step, ::step].astype(np.float32)
    shown[~np.isfinite(shown)] = np.nan
    gone = np.isnan(shown)
    valid, zoom = shown[~gone], max(1, _SMALL // max(shown.shape))
    colours, (low, high) = inks.of(panel), scale_of(panel, valid)
    picture = painted(shown, colours, low, high, _MISSING).repeat(zoom, axis=0).repeat(zoom, axis=1)
    tall, wide = picture.shape
    beyond = (bool((valid < low).any()), bool((valid > high).any())) if not panel.classes else (False, False)
    bar = draw_bar(inks.blank, max(tall, 120), colours, (low, high), beyond, panel)
    missing = 100 * float(gone.mean())
    height, width = panel.shape or values.shape
    below = f"{width} x {height} pixels, " + (
        "nothing missing" if missing == 0 else f"{max(missing, 0.1):.1f} % missing (grey)"
    )
    inside = max(wide, _width(panel.title, 17), _width(below, 13))
    whole = inks.blank(2 * _MARGIN + inside + _GAP + bar.shape[1], 74 + bar.shape[0])
    left = _MARGIN + (inside - wide) // 2
    _write(whole, (left + wide // 2, 10), panel.title, 17, _INK, "ma")
    _paste(whole, picture, (left, 38))
    _paste(whole, bar, (left + wide + _GAP, 38 - _MARGIN // 2))
    _write(whole, (left + wide // 2, 46 + tall), below, 13, _PALE, "ma")
    return whole


def scale_of(panel: Panel, valid: np.ndarray) -> tuple[float, float]:
    """Return what the ends of a panel's colours stand for."""
    if panel.classes:
        return -0.5, len(panel.classes) - 0.5
    return panel.limits or limits_of(valid[:: 1 + valid.size // _ENOUGH], 2, 98)


def painted(values: np.ndarray, colours: np.ndarray, low: float, high: float, missing: Any) -> np.ndarray:
    """Return values (H, W) in ``colours`` (n, ...); beyond the ends the last ones, ``missing`` for NaN."""
    place = (values - np.float32(low)) * np.float32(len(colours) / max(high - low, 1e-30))
    np.clip(place, 0, len(colours) - 1, out=place)
    place[np.isnan(place)] = len(colours)
    return np.concatenate([colours, np.array([missing], colours.dtype)]).take(place.astype(np.intp), axis=0)


def class_colours(count: int) -> np.ndarray:
    """Colours (count, 3) uint8 that neighbouring classes can be told apart by; they begin again after twenty."""
    from matplotlib import colormaps

    palette = np.array(colormaps["tab10" if count <= 10 else "tab20"].colors)
    return np.rint(255 * palette[np.arange(count) % len(palette)]).astype(np.uint8)


def draw_bar(
    blank: Callable[[int, int], np.ndarray],
    height: int,
    colours: np.ndarray,
    limits: tuple[float, float],
    beyond: tuple[bool, bool],
    panel: Panel,
) -> np.ndarray:
    """Return a colour bar of ``height`` px, half a margin above and below, and its labels; ``beyond``: pointed ends."""
    low, high = limits
    names = [name if len(name) <= 20 else f"{name[:19]}…" for name in panel.classes]
    labels = dict(enumerate(names)) if names else ticks(low, high)
    size = 13 if len(labels) * 15 <= height else max(8, height // len(labels) - 1)
    across = max(_width(text, size) for text in labels.values())
    bar = blank(_BAR + 8 + across + (26 if panel.unit else 0), height + _MARGIN)
    top = _MARGIN // 2
    shades = painted(np.linspace(high, low, height, dtype=np.float32), colours, low, high, _MISSING)
    bar[top : top + height, :_BAR] = shades[:, None]
    if beyond[0]:
        bar[top + height : top + height + _TIP, :_BAR][_tip()] = colours[0]
    if beyond[1]:
        bar[top - _TIP : top, :_BAR][_tip()[::-1]] = colours[-1]
    for value, text in labels.items():
        y = top + round((high - value) / (high - low) * (height - 1))
        bar[y, _BAR : _BAR + 5] = _INK
        _write(bar, (_BAR + 8, y), text, size, _INK, "lm")
    if panel.unit:
        size = next((size for size in range(15, 9, -1) if _width(panel.unit, size) <= bar.shape[0]), 9)
        label = blank(min(_width(panel.unit, size) + 2, bar.shape[0]), 22)
        _write(label, (0, 11), panel.unit, size, _INK, "lm")
        _paste(bar, np.rot90(label), (bar.shape[1] - 22, (bar.shape[0] - label.shape[1]) // 2))
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


@lru_cache
def _table(name: str) -> np.ndarray:
    from matplotlib import colormaps

    return np.rint(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)


@lru_cache
def _font(size: int) -> FreeTypeFont:
    import matplotlib
    from PIL.ImageFont import truetype

    return truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


@lru_cache(1024)
def _width(text: str, size: int) -> int:
    return math.ceil(_font(size).getlength(text))


@lru_cache
def _tip() -> np.ndarray:
    """The pointed end of a bar, downwards (_TIP, _BAR) bool."""
    half = _BAR / 2 * (1 - (np.arange(_TIP) + 0.5) / _TIP)
    return np.abs(np.arange(_BAR) - (_BAR - 1) / 2) <= half[:, None]


def _paste(sheet: np.ndarray, part: np.ndarray, place: tuple[int, int]) -> None:
    """Lay a part at ``place`` (x, y) onto the sheet."""
    x, y = place
    sheet[y : y + part.shape[0], x : x + part.shape[1]] = part


@lru_cache(1024)
def _letters(text: str, size: int, anchor: str) -> tuple[int, int, np.ndarray]:
    """Where text begins beside its anchor, x and y, and how much of each pixel it covers (h, w) uint8, read only."""
    from PIL.Image import new
    from PIL.ImageDraw import Draw

    left, top, right, bottom = (math.floor(edge) for edge in _font(size).getbbox(text, anchor=anchor))
    image = new("L", (right - left + 2, bottom - top + 2))
    Draw(image).text((-left, -top), text, 255, _font(size), anchor)
    return left, top, np.asarray(image)


def _write(sheet: np.ndarray, place: tuple[int, int], text: str, size: int, ink: int, anchor: str) -> None:
    """Write onto white paper; what lies beyond its edges is cut."""
    if not text:
        return
    left, top, covered = _letters(text, size, anchor)
    x, y = place[0] + left, place[1] + top
    covered = covered[max(0, -y) : max(0, sheet.shape[0] - y), max(0, -x) : max(0, sheet.shape[1] - x)]
    rows, columns = np.nonzero(covered)
    shade = _WHITE - np.rint(covered[rows, columns] * ((_WHITE - ink) / 255)).astype(sheet.dtype)
    sheet[rows + max(0, y), columns + max(0, x)] = shade
