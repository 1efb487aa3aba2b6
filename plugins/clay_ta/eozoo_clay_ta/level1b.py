"""One level-1B file of GK-2A AMI on the KO grid: counts with quality bits, calibrated and brought to 2 km."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.packed import missing, open_hdf5, stored
from eozoo_core.raster.trust import require_own_variable

from eozoo_clay_ta.calibration import Calibration, calibration_of
from eozoo_clay_ta.channels import QUALITY_SHIFT, Channel
from eozoo_clay_ta.grid import KoGrid

VARIABLE, NETCDF = "image_pixel_values", "NetCDF4"
_PACKED = {"scale_factor": 1.0, "add_offset": 0.0}
_CORNER = ("upper_left_easting", "upper_left_northing", "pixel_size")


@dataclass(frozen=True)
class Reading:
    """How level-1B files are read. conditional: also take pixels flagged "conditionally usable"; calibration: file,
    table, or None = the file's where it states one that is not absurd."""

    conditional: bool = False
    calibration: str | None = None


DEFAULT = Reading()


def l1b_name(channel: Channel, stamp: str) -> str:
    """Return KMA's file name for a channel of the KO area at ``YYYYMMDDHHMM`` (UTC)."""
    return f"gk2a_ami_le1b_{channel.name}_ko{channel.metres // 100:03d}lc_{stamp}.nc"


def channel_file(pattern: str, channel: Channel) -> Path:
    """Return the file of a channel of the scene ``pattern``. Raises ZooError where it is not there."""
    folder, name = Path(pattern).parent, Path(pattern).name
    file = folder / l1b_name(channel, name[-15:-3])
    if not file.exists():
        raise ZooError(f"{folder}: channel {channel.name} is missing, no {file.name}; add it or leave the scene out")
    return file


def read_channel(path: Path, channel: Channel, grid: KoGrid, how: Reading = DEFAULT) -> tuple[np.ndarray, Calibration]:
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


def _raw(path: Path, grid: KoGrid, channel: Channel) -> tuple[np.ndarray, dict]:
    """Counts with their quality bits as stored, uint16, and the attributes of the file and the variable."""
    with open_hdf5(path, what=NETCDF) as file:
        if VARIABLE not in file:
            raise ZooError(f"{path}: has no variable {VARIABLE!r}, only {', '.join(file)}; is it level 1B?")
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
