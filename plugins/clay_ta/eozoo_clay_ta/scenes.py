"""Reading GK-2A scenes: level-1B NetCDF4 files of the KO area, or plain ``.npy`` / ``.npz`` stacks.

A scene is named by three paths, as the index has them: ``path_bt``, ``path_rf`` and ``path_sza``. For level 1B the
first two are one pattern with ``*`` in the place of the channel; an empty ``path_sza`` means: compute the angle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.raster.arrays import map_array, read_arrays
from eozoo_core.raster.packed import open_hdf5

from eozoo_clay_ta.calibration import Calibration, calibration_of, describe
from eozoo_clay_ta.channels import BT, RF, Channel
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.level1b import DEFAULT, NETCDF, VARIABLE, Reading, channel_file, read_channel
from eozoo_clay_ta.solar import zenith

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


def read_scene(paths: ScenePaths, when: datetime, grid: KoGrid, how: Reading = DEFAULT) -> Scene:
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
            file = channel_file(pattern, channel)
            with open_hdf5(file, what=NETCDF) as h5:
                held = isinstance(h5.get(VARIABLE), h5py.Dataset)
                attributes = {**(h5[VARIABLE].attrs if held else {}), **h5.attrs}
            found.append(calibration_of(file, channel, attributes, wanted))
    return describe(found, wanted) if found else ("", False)


def read_stack(
    path: str, channels: tuple[Channel, ...], grid: KoGrid, how: Reading = DEFAULT
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
    read = [read_channel(channel_file(path, c), c, grid, how) for c in channels]
    return np.stack([values for values, _ in read]), [calibration for _, calibration in read]


def is_synthetic(pattern: str) -> bool:
    """Whether a level-1B file's title begins with SYNTHETIC, as ``demo.products`` writes it; plain stacks have none."""
    if "*" not in pattern:
        return False
    with open_hdf5(channel_file(pattern, BT[0]), what=NETCDF) as file:
        title = file.attrs.get("title", b"")
    return bytes(title if isinstance(title, bytes) else str(title).encode()).startswith(b"SYNTHETIC")


def stamp_time(stamp: str) -> datetime:
    """``YYYYMMDDHHMM`` -> naive UTC datetime. Raises ZooError for anything else."""
    try:
        return datetime.strptime(stamp, "%Y%m%d%H%M")
    except ValueError:
        raise ZooError(f"time stamp {stamp!r}: expected YYYYMMDDHHMM in UTC") from None


def _array(path: Path, key: str) -> np.ndarray:
    if path.suffix != ".npz":
        return map_array(path)
    content = read_arrays(path)
    if key not in content:
        raise ZooError(f"{path}: has no array {key!r}; it holds {', '.join(content) or 'nothing'}")
    return content[key]
