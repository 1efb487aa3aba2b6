"""Reading GK-2A scenes: level-1B NetCDF4 files of the KO area, or plain ``.npy`` / ``.npz`` stacks.

A scene is named by three paths, as the index has them: ``path_bt``, ``path_rf`` and ``path_sza``. For level 1B the
first two are one pattern with ``*`` in the place of the channel; an empty ``path_sza`` means: compute the angle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from eozoo_core import ZooError

from eozoo_clay_ta.channels import BT, QUALITY_SHIFT, RF, Channel
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.solar import zenith

VARIABLE = "image_pixel_values"
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

    synthetic: whether its files say in their title that they are SYNTHETIC.
    """

    bt: np.ndarray
    rf: np.ndarray
    sza: np.ndarray
    synthetic: bool = False


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


def files_of(paths: ScenePaths) -> tuple[Path, ...]:
    """Return the files of a scene: its stacks, or all channels."""
    given = dict.fromkeys(Path(path) for path in (paths.bt, paths.rf, paths.sza) if path)
    found = (sorted(path.parent.glob(path.name)) if "*" in path.name else [path] for path in given)
    return tuple(file for files in found for file in files)


def read_scene(paths: ScenePaths, when: datetime, grid: KoGrid, conditional: bool = False) -> Scene:
    """Read and calibrate one scene. ``conditional``: also take pixels flagged "conditionally usable".

    Raises ZooError naming the file for whatever is missing, damaged, of another grid or wholly flagged.
    """
    bt = read_stack(paths.bt, BT, grid, conditional)
    rf = read_stack(paths.rf, RF, grid, conditional)
    if paths.sza:
        sza = _array(Path(paths.sza), "sza")
        grid.check_shape(sza.shape, paths.sza)
        sza = sza.reshape(sza.shape[-2:]).astype(np.float32)
    else:
        sza = zenith(when, *grid.places).astype(np.float32)
    return Scene(bt, rf, sza, is_synthetic(paths.bt))


def read_stack(path: str, channels: tuple[Channel, ...], grid: KoGrid, conditional: bool = False) -> np.ndarray:
    """Return ``(channels, H, W)`` float32 of a level-1B pattern or a stack file; NaN = missing."""
    if "*" not in path:
        stack = _array(Path(path), channels[0].kind)
        grid.check_shape(stack.shape, path)
        if stack.ndim != 3 or len(stack) != len(channels):
            names = ", ".join(c.name for c in channels)
            raise ZooError(f"{path}: has shape {stack.shape}, expected {len(channels)} channels in order: {names}")
        return stack.astype(np.float32)
    planes = [read_channel(_channel_file(path, c), c, grid, conditional) for c in channels]
    return np.stack(planes)


def read_channel(path: Path, channel: Channel, grid: KoGrid, conditional: bool = False) -> np.ndarray:
    """Read one level-1B file: ``(H, W)`` float32 on the 2 km grid, albedo or K; NaN = missing.

    Finer channels are averaged over the valid pixels of each block; the outer edges of all KO grids coincide.
    """
    raw = _raw(path, grid, channel)
    quality = raw >> QUALITY_SHIFT
    good = quality <= 1 if conditional else quality == 0
    if not good.any():
        raise ZooError(
            f"{path}: every pixel is flagged as bad; leave the scene out (data.accept_conditional takes flag 1 too)"
        )
    counts = raw & np.uint16(2**channel.valid_bits - 1)
    factor = _factor(channel, grid)
    if factor == 1:
        values = _table(channel)[counts]
        values[~good] = np.nan
        return values
    return _block_mean(counts, good, factor, channel)


def is_synthetic(pattern: str) -> bool:
    """Whether a level-1B file's title begins with SYNTHETIC, as ``demo.products`` writes it; plain stacks have none."""
    if "*" not in pattern:
        return False
    import h5py

    with h5py.File(_channel_file(pattern, BT[0]), "r") as file:
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


@lru_cache(maxsize=16)
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


def _raw(path: Path, grid: KoGrid, channel: Channel) -> np.ndarray:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if VARIABLE not in file:
                raise ZooError(f"{path}: has no variable {VARIABLE!r}; is it a level-1B file?")
            attributes = {key: file.attrs[key] for key in _CORNER if key in file.attrs}
            raw = file[VARIABLE][...]
    except OSError as error:
        raise ZooError(f"{path}: cannot be read as NetCDF4 ({' '.join(str(error).split())[:90]})") from None
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise ZooError(f"{path}: {VARIABLE} is {raw.dtype} {raw.shape}, expected two axes of uint16")
    grid.check_shape(raw.shape, path, _factor(channel, grid))
    _check_place(path, attributes, grid)
    return raw


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
