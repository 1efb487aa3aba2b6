"""Reading GK-2A scenes: level-1B NetCDF4 files of the KO area, or plain ``.npy`` / ``.npz`` stacks.

A scene is named by three paths, as the index has them: ``path_bt``, ``path_rf`` and ``path_sza``. For level 1B the
first two are one pattern with ``*`` in the place of the channel; an empty ``path_sza`` means: compute the angle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.packed import missing, stored
from eozoo_core.raster.trust import require_own_variable

from eozoo_clay_ta.calibration import Calibration, calibration_of, describe
from eozoo_clay_ta.channels import BT, QUALITY_SHIFT, RF, Channel
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.solar import zenith

if TYPE_CHECKING:
    import h5py

VARIABLE = "image_pixel_values"
_PACKED = {"scale_factor": 1.0, "add_offset": 0.0}
_CORNER = ("upper_left_easting", "upper_left_northing", "pixel_size")
_L1B = re.compile(r"gk2a_ami_le1b_([a-z]{2}\d{3})_ko\d{3}lc_(\d{12})\.nc")
_STACK = re.compile(r"(bt|rf|sza)_(\d{12})\.np[yz]")


@dataclass(frozen=True)
class ScenePaths:
    """Where one time stamp's arrays are; see the module."""

    bt: str
    rf: str
    sza: str = ""


@dataclass(frozen=True)
class Scene:
    """Calibrated arrays on the grid, NaN = missing: bt (10, H, W) K, rf (6, H, W) albedo, sza (H, W) degrees.

    synthetic: whether its files say in their title that they are SYNTHETIC. calibration: how counts became values, ""
    for arrays that hold values; differs: whether the files state another than the built-in table.
    """

    bt: np.ndarray
    rf: np.ndarray
    sza: np.ndarray
    synthetic: bool = False
    calibration: str = ""
    differs: bool = False


@dataclass(frozen=True)
class Reading:
    """How level-1B files are read. conditional: also take pixels flagged "conditionally usable"; calibration: file,
    table, or None = the file's where it states one that is not absurd."""

    conditional: bool = False
    calibration: str | None = None


def find_scenes(folder: Path) -> dict[str, ScenePaths]:
    """Return time stamp ``YYYYMMDDHHMM`` (UTC) -> paths, in order, of all scenes below ``folder``.

    Raises ZooError where there is none, and where a ``bt_`` stack lacks its ``rf_`` stack.
    """
    found: dict[str, dict[str, str]] = {}
    for file in sorted(Path(folder).rglob("*")):
        if match := _L1B.fullmatch(file.name):
            pattern = str(file.parent / f"gk2a_ami_le1b_*_{match[2]}.nc")
            found.setdefault(match[2], {}).update(bt=pattern, rf=pattern)
        elif match := _STACK.fullmatch(file.name):
            found.setdefault(match[2], {})[match[1]] = str(file)
    if not found:
        raise ZooError(
            f"{folder}: holds no scene; expected gk2a_ami_le1b_CHANNEL_koRESlc_YYYYMMDDHHMM.nc files, or "
            "bt_YYYYMMDDHHMM.npy and rf_YYYYMMDDHHMM.npy"
        )
    for stamp, paths in found.items():
        for kind in ("bt", "rf"):
            if kind not in paths:
                raise ZooError(f"{folder}: scene {stamp} has no {kind}_{stamp}.npy; add it or remove the scene")
    return {stamp: ScenePaths(**found[stamp]) for stamp in sorted(found)}


def read_scene(paths: ScenePaths, when: datetime, grid: KoGrid, how: Reading = Reading()) -> Scene:
    """Read and calibrate one scene.

    Raises ZooError naming the file for whatever is missing, damaged, of another grid or wholly flagged.
    """
    bt, found = read_stack(paths.bt, BT, grid, how)
    rf, more = read_stack(paths.rf, RF, grid, how)
    if paths.sza:
        sza = _array(Path(paths.sza), "sza")
        grid.check_shape(sza.shape, paths.sza)
        sza = sza.reshape(sza.shape[-2:]).astype(np.float32)
    else:
        sza = zenith(when, *grid.places).astype(np.float32)
    said = describe([*found, *more], how.calibration) if found or more else ("", False)
    return Scene(bt, rf, sza, is_synthetic(paths.bt), *said)


def calibration_in(paths: ScenePaths, wanted: str | None) -> tuple[str, bool]:
    """Say how a scene's counts become values, and whether its files differ from the table; opens the files alone."""
    import h5py

    found = []
    for pattern, channels in ((paths.bt, BT), (paths.rf, RF)):
        for channel in channels if "*" in pattern else ():
            file = _channel_file(pattern, channel)
            with _opened(file) as h5:
                held = isinstance(h5.get(VARIABLE), h5py.Dataset)
                attributes = {**(h5[VARIABLE].attrs if held else {}), **h5.attrs}
            found.append(calibration_of(file, channel, attributes, wanted))
    return describe(found, wanted) if found else ("", False)


def read_stack(
    path: str, channels: tuple[Channel, ...], grid: KoGrid, how: Reading = Reading()
) -> tuple[np.ndarray, list[Calibration]]:
    """Return ``(channels, H, W)`` float32 of a level-1B pattern or a stack file, NaN = missing; and how it was
    calibrated, nothing for a stack."""
    if "*" not in path:
        stack = _array(Path(path), channels[0].kind)
        grid.check_shape(stack.shape, path)
        if stack.ndim != 3 or len(stack) != len(channels):
            names = ", ".join(c.name for c in channels)
            raise ZooError(f"{path}: has shape {stack.shape}, expected {len(channels)} channels in order: {names}")
        return stack.astype(np.float32), []
    read = [read_channel(_channel_file(path, c), c, grid, how) for c in channels]
    return np.stack([values for values, _ in read]), [calibration for _, calibration in read]


def read_channel(
    path: Path, channel: Channel, grid: KoGrid, how: Reading = Reading()
) -> tuple[np.ndarray, Calibration]:
    """Read one level-1B file: ``(H, W)`` float32 on the 2 km grid, albedo or K, NaN = missing; and its calibration.

    Finer channels are averaged over the valid pixels of each block; the outer edges of all KO grids coincide.
    """
    raw, attributes = _raw(path, grid, channel)
    calibration = calibration_of(path, channel, attributes, how.calibration)
    quality = raw >> QUALITY_SHIFT
    good = quality <= 1 if how.conditional else quality == 0
    if not good.any():
        raise ZooError(
            f"{path}: every pixel is flagged as bad; leave the scene out (data.accept_conditional takes flag 1 too)"
        )
    counts = raw & np.uint16(2**channel.valid_bits - 1)
    factor = _factor(channel, grid)
    if factor == 1:
        values = _table(calibration.channel)[counts]
        values[~good] = np.nan
        return values, calibration
    return _block_mean(counts, good, factor, calibration.channel), calibration


def is_synthetic(pattern: str) -> bool:
    """Whether a level-1B file's title begins with SYNTHETIC, as ``demo.products`` writes it; plain stacks have none."""
    if "*" not in pattern:
        return False
    with _opened(_channel_file(pattern, BT[0])) as file:
        title = file.attrs.get("title", b"")
    return bytes(title if isinstance(title, bytes) else str(title).encode()).startswith(b"SYNTHETIC")


def l1b_name(channel: Channel, stamp: str) -> str:
    """Return KMA's file name for a channel of the KO area at ``YYYYMMDDHHMM`` (UTC)."""
    return f"gk2a_ami_le1b_{channel.name}_ko{channel.metres // 100:03d}lc_{stamp}.nc"


def stamp_time(stamp: str) -> datetime:
    """``YYYYMMDDHHMM`` -> naive UTC datetime. Raises ZooError for anything else."""
    try:
        return datetime.strptime(stamp, "%Y%m%d%H%M")
    except ValueError:
        raise ZooError(f"time stamp {stamp!r}: expected YYYYMMDDHHMM in UTC") from None


def _block_mean(counts: np.ndarray, good: np.ndarray, factor: int, channel: Channel) -> np.ndarray:
    """Mean of the valid counts of each block, then calibrated: albedo is linear in counts, so the order is free."""
    valid = counts * good
    shape = (counts.shape[0] // factor, counts.shape[1] // factor)
    total, number = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    for i in range(factor):  # strided sums: several times as fast as a reduction over axes of length 2 or 4
        for j in range(factor):
            total += valid[i::factor, j::factor]
            number += good[i::factor, j::factor]
    mean = total / np.maximum(number, 1)
    return np.where(number > 0, channel.calibrate(mean), np.nan).astype(np.float32)


@lru_cache(maxsize=32)
def _table(channel: Channel) -> np.ndarray:
    """Every count's value, float32: calibration of a whole map is then one look-up."""
    return channel.calibrate(np.arange(2**channel.valid_bits)).astype(np.float32)


def _factor(channel: Channel, grid: KoGrid) -> int:
    return 1 if channel.kind == "bt" else max(1, round(grid.metres / channel.metres))


def _channel_file(pattern: str, channel: Channel) -> Path:
    folder, name = Path(pattern).parent, Path(pattern).name
    file = folder / l1b_name(channel, name[-15:-3])
    if not file.exists():
        raise ZooError(f"{folder}: channel {channel.name} is missing, no {file.name}; add it or leave the scene out")
    return file


def _raw(path: Path, grid: KoGrid, channel: Channel) -> tuple[np.ndarray, dict]:
    """Counts with their quality bits as stored, uint16, and the attributes of the file and the variable."""
    with _opened(path) as file:
        if VARIABLE not in file:
            raise ZooError(f"{path}: has no variable {VARIABLE!r}; is it a level-1B file?")
        variable = require_own_variable(file, VARIABLE)
        attributes = {**variable.attrs, **file.attrs}
        raw = stored(variable)
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise ZooError(f"{path}: {VARIABLE} is {raw.dtype} {raw.shape}, expected two axes of uint16")
        if any(float(np.ravel(attributes.get(name, same))[0]) != same for name, same in _PACKED.items()):
            raise ZooError(
                f"{path}: {VARIABLE} is packed (scale_factor, add_offset), expected counts as KMA gives them"
            )
        hidden = missing(variable, raw)
    if hidden.any():
        raw[hidden] = 0xFFFF  # as the flag "error"
    grid.check_shape(raw.shape, path, _factor(channel, grid))
    _check_place(path, attributes, grid)
    return raw, attributes


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise ZooError(f"{path}: cannot be read as NetCDF4 ({' '.join(str(error).split())[:90]})") from None


def _check_place(path: Path, attributes: dict, grid: KoGrid) -> None:
    """Compare the outer corner that the file states, where it states one, with the grid's."""
    try:
        east, north, pixel = (float(np.ravel(attributes[key])[0]) for key in _CORNER)
    except (KeyError, ValueError):
        return
    corner = (east - pixel / 2, north + pixel / 2)
    if max(abs(corner[0] - grid.left), abs(corner[1] - grid.top)) > 1:
        raise ZooError(
            f"{path}: its upper left corner is at {corner[0]:.0f}, {corner[1]:.0f} m, that of data.grid at "
            f"{grid.left:.0f}, {grid.top:.0f} m; set data.grid.left and data.grid.top, or give files of that area"
        )


def _array(path: Path, key: str) -> np.ndarray:
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ZooError(f"{path}: cannot be read as an array ({' '.join(str(error).split())[:90]})") from None
    if isinstance(content, np.ndarray):
        return content
    with content:
        if key not in content:
            raise ZooError(f"{path}: has no array {key!r}; it holds {', '.join(content.files) or 'nothing'}")
        return content[key]
