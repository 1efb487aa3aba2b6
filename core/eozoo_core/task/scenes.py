"""What ``infer`` maps: a raster or every raster of a folder, with the bands that the network was trained on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eozoo_core.errors import ZooError
from eozoo_core.raster.address import is_remote, shown, variable_of
from eozoo_core.raster.assembly import Assembly, Part
from eozoo_core.raster.bands import told
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.info import RasterInfo
from eozoo_core.raster.read import Openable, Reader, by_stem, open_reader, read_info
from eozoo_core.raster.stack import Stack, by_date, date_of
from eozoo_core.raster.zarr_store import is_zarr
from eozoo_core.task.assemblies import bands_of_assembly, prepared

if TYPE_CHECKING:
    from eozoo_core.settings.schema import InferSettings
    from eozoo_core.task.survey import Survey

DATED = re.compile(r"\d{8}_")  # how bands of several dates are called: see `raster.stack`
SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".npy", ".zarr")


@dataclass(frozen=True)
class Scene:
    """Something to map; a task that reads other things than rasters may extend it.

    path:   what is read, for messages and the tag SOURCE.
    grid:   of its maps.
    bands:  numbers (1-based) of a raster's bands in the network's order.
    name:   the beginning of its maps' names, with folders where they are kept ("2024/T31"); "" = the file's.
    arrays: other inputs of the network, the same for all windows, by role and without the axis B.
    tags:   text that its maps carry, beside core's own.
    reads:  the files that its maps are made from; () = ``path`` and what rasters have beside them.
    stamp:  what of the source and of the task's own settings its maps depend on, as a hash; "" = ``reads`` and all of
            ``infer``. Core adds weights, masks and versions, and maps of the same stamp are left as they are.
    values: turns values as read into those that the network takes, NaN = missing; None = as they are.
    missing: stored values that mean missing, beside what the raster declares; None = such as look so are asked about.
    notes:  what was decided while it was opened, a line each; printed once, and a tag of its maps.
    whole:  it is no raster: ``Task.write`` says what becomes of it, and core maps nothing.
    dates:  the rasters of one grid that it is made of, in their order; () = ``path`` alone.
    parts:  its bands where they are several files; or data in memory; None = ``path`` or ``dates``.
    scl:    its own classification, for ``infer.mask.scl``; None = it has none.
    """

    path: Path
    grid: Grid
    bands: tuple[int, ...] = ()
    name: str = ""
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()
    stamp: str = ""
    values: Callable[[np.ndarray], np.ndarray] | None = None
    missing: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    whole: bool = False
    dates: tuple[Path | Assembly, ...] = ()
    parts: Openable | None = None
    scl: Part | None = None

    def open(self) -> Reader:
        """Open what is read window by window."""
        if self.dates:
            return Stack(self.dates, self.missing or ())
        return open_reader(self.parts or self.path, self.missing or ())

    def file(self, layer: str) -> str:
        """Return the name of the file of a layer, without its ending."""
        return f"{self.name or self.path.stem}_{layer}"


@dataclass(frozen=True)
class _Keyed(Openable):
    """A URL with a query, which may hold a key: what is made of it knows the name without."""

    path: Path
    date: str = ""

    @property
    def name(self) -> str:
        return shown(self.path)

    def open(self, missing: Sequence[float] = ()) -> Reader:
        return open_reader(self.path, missing)


@dataclass(frozen=True)
class Block:
    """Whole rows of a map, from ``row`` on.

    values: quantity (an output's mean, its variances, probabilities; see `spread.combine`) -> (..., n, W) float32,
            NaN = missing. Extra names are handed to the layers as they are. {} = there is nothing yet: the scene is
            read, and waits for a forward pass that it shares with others (where `Drawn.shares`).
    """

    row: int
    values: Mapping[str, np.ndarray]


def rasters(source: Path) -> list[Path]:
    """Return ``source``, or the rasters of a folder by name."""
    if not source.is_dir() or is_zarr(source):
        return [source]  # opening it says what is wrong, also where it is not there
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ZooError(f"{source}: holds no raster ({', '.join(SUFFIXES)})")
    return list(by_stem(found).values())


def open_raster(
    path: Path | Openable, choose: Callable[[RasterInfo], tuple[int, ...]], trained: tuple[str, ...], how: InferSettings
) -> Scene:
    """Read the header of a raster or of what is in memory; default of ``Task.open_scene``.

    The bands ``trained`` are chosen as ``how`` says;
    ``choose`` gives the numbers of the bands where nothing is set. Raises ZooError for bands that are not there.
    """
    wanted, names = getattr(how, "bands", None), getattr(how, "band_names", None)
    info = read_info(path)
    info = info if names is None else info.named(names, "infer.band_names")
    try:
        bands = choose(info) if wanted is None else info.select(wanted)
    except ZooError as error:
        if info.count < len(trained) or wanted is not None:
            raise
        hint = "--set infer.bands=[...] chooses them, infer.band_names=[...] says what they are"
        raise ZooError(f"{str(error).rstrip('.')}; {hint}") from None
    if wanted is not None and len(bands) != len(trained):
        raise ZooError(f"infer.bands: chooses {len(bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    notes = list(info.notes)
    if info.grid.transform is None:
        notes.append("is not georeferenced, so its map is not either")
    if wanted is None and len(bands) == len(trained):
        others = told(info.descriptions, trained, [band - 1 for band in bands])
        notes += [f"bands found under other names: {others}"] if others else []
    held = path if isinstance(path, Openable) else _Keyed(path) if is_remote(path) and "?" in str(path) else None
    path = Path(held.name) if held is not None else path
    return Scene(
        path, info.grid, bands, variable_of(path), missing=getattr(how, "nodata", None), notes=tuple(notes),
        parts=held, values=scaled_by(getattr(how, "factor", 1.0)),
    )  # fmt: skip


def open_assembly(
    found: Assembly, choose: Callable[[RasterInfo], tuple[int, ...]], trained: tuple[str, ...], how: InferSettings
) -> Scene:
    """Choose the bands of a scene of several files as `open_raster` does; only their headers are read.

    Raises ZooError for a band that is not there, and as `Assembly.as_reflectance`.
    """
    chosen, notes = bands_of_assembly(found, choose, trained, how), []
    missing = getattr(how, "nodata", None)
    chosen, note = prepared(chosen, how)
    with chosen.open(missing or ()) as reader:
        grid = reader.info.grid
    others = told(reader.info.descriptions, trained, range(len(trained)))
    notes += [note] if note else []
    notes += [f"bands found under other names: {others}"] if others else []
    bands = tuple(range(1, len(chosen.parts) + 1))
    return Scene(
        Path(found.source), grid, bands, found.name, tags=dict(found.tags), missing=missing, notes=tuple(notes),
        parts=chosen, values=scaled_by(getattr(how, "factor", 1.0)),
        scl=scl_of(found),
    )  # fmt: skip


def scl_of(found: Assembly) -> Part | None:
    """Return the part that holds a scene's own classification, None without one."""
    return next((part for part in found.parts if part.names[0].upper() == "SCL"), None)


def scaled_by(factor: float) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return what multiplies values by ``infer.factor``; None for 1."""
    return None if factor == 1 else lambda values: values * np.float32(factor)


def by_dates(found: Sequence[Any], trained: tuple[str, ...]) -> list[Any]:
    """Return ``found``, or as one scene the rasters of as many dates as the bands ``trained`` are of.

    Raises ZooError where there are other rasters than one for each date.
    """
    dates = sorted({name[:8] for name in trained if DATED.match(name)})
    if len(dates) < 2 or len(found) < 2 or not all(isinstance(one, Path | Assembly) for one in found):
        return list(found)
    if len(found) != len(dates):
        raise ZooError(
            f"{_folder_of(found[0])}: holds {len(found)} rasters, and the run was trained on {len(dates)} dates "
            f"({', '.join(dates)}); give a folder with one for each"
        )
    return [tuple(by_date(found))]


def open_dates(files: tuple[Path | Assembly, ...], trained: tuple[str, ...], how: InferSettings) -> Scene:
    """Open rasters of one grid as one scene: each stands for the training date of its rank, bands are found by name.

    Raises ZooError as `Stack`, and where a band is missing.
    """
    first, known = files[0], sorted({name[:8] for name in trained})
    files = tuple(_of_date(file, date, trained, how) for file, date in zip(files, known, strict=True))
    with Stack(files) as stack:
        grid, starts, bands = stack.info.grid, 0, []
        dates = sorted({name[:8] for name in trained})
        for file, date in zip(files, dates, strict=True):
            info = read_info(file)
            wanted = tuple(name[9:] for name in trained if name.startswith(date))
            bands += [starts + band for band in choose_bands(info, wanted)]
            starts += info.count
    order = np.argsort([dates.index(name[:8]) for name in trained], kind="stable")
    numbers = np.empty(len(bands), int)
    numbers[order] = bands
    notes = [f"{date_of(file)} stands for {date}" for file, date in zip(files, dates) if date_of(file) != date]
    whole = isinstance(first, Assembly)
    return Scene(_folder_of(first), grid, tuple(numbers.tolist()),
                 first.name if whole else "", missing=getattr(how, "nodata", None), reads=() if whole else files,
                 notes=tuple(notes), dates=files, values=scaled_by(getattr(how, "factor", 1.0)))  # fmt: skip


def _folder_of(found: Path | Assembly) -> Path:
    return Path(found.source) if isinstance(found, Assembly) else found.parent


def _of_date(file: Path | Assembly, date: str, trained: tuple[str, ...], how: InferSettings) -> Path | Assembly:
    if not isinstance(file, Assembly):
        return file
    wanted = tuple(name[9:] for name in trained if name.startswith(date))
    chosen = bands_of_assembly(file, lambda info: choose_bands(info, wanted), wanted, how)
    named = [replace(part, names=(name,)) for part, name in zip(chosen.parts, wanted, strict=True)]
    return prepared(replace(chosen, parts=tuple(named)), how)[0]


def choose_bands(info: RasterInfo, trained: tuple[str, ...]) -> tuple[int, ...]:
    """Return the numbers of the bands called ``trained``; of a file without names, all of them in their order.

    Bands chosen by number from files without names, "band 3", keep their numbers. Raises ZooError for a band that is
    missing and for another number of bands.
    """
    if any(info.descriptions) and not trained[0].startswith("band "):
        return info.select(trained)
    if trained != tuple(f"band {n}" for n in range(1, len(trained) + 1)) and trained[0].startswith("band "):
        return info.select([int(name.removeprefix("band ")) for name in trained])
    if len(info.bands) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return info.bands


def require_no_fillers(reader: Reader, survey: Survey) -> None:
    """Raise ZooError where a raster holds what people write for "missing" and declares no such value.

    What training saw is a value: a number within its range, and 0 where no band was always above 0. ``Scene.missing``
    answers the question.
    """
    bands = [(band.low, band.high) for band in survey.bands if band.low is not None and band.high is not None]
    if not reader.fillers or not bands:
        return
    low, high = min(low for low, _ in bands), max(high for _, high in bands)
    for value in reader.fillers:
        if value == 0 and (all(low <= 0 for low, _ in bands)):
            continue
        if value == 0 or not low <= value <= high:
            where = "0 in most bands of some pixels" if value == 0 else f"{value:g}"
            raise ZooError(
                f"{reader.info.path}: holds {where} and does not declare it as nodata; if it means missing, add "
                f"--set infer.nodata=[{value:g}], if it is a value, --set infer.nodata=[]"
            )
