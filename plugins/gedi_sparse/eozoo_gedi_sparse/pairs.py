"""The input and label file of a patch: which files of a split belong together, and which of their bands are used."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eozoo_core.errors import ZooError, no_split
from eozoo_core.raster.georeference import Grid, misfit, part_of
from eozoo_core.raster.read import RasterInfo, by_stem
from eozoo_core.raster.tiles import Window
from eozoo_core.run.parsed import read_json
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS, DataSettings, GediSettings

SUFFIXES = (".npy", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """One patch: its input and label file and which of their bands are used (1-based, as files count)."""

    input: Path
    label: Path
    grid: Grid
    bands: tuple[int, ...]
    target: int
    mask_band: int | None


def folders(settings: GediSettings) -> tuple[Path, Path]:
    """Return the folders of inputs and labels. Raises ZooError where the settings name none."""
    runtime = settings.runtime
    if runtime.data_dir is None and None in (runtime.input_dir, runtime.label_dir):
        raise ZooError(
            "runtime.data_dir is not set; add --set runtime.data_dir=FOLDER (it holds input/ and label/, each with "
            "train/, val/ and test/), or give runtime.input_dir and runtime.label_dir"
        )
    parent = runtime.data_dir or Path()
    return runtime.input_dir or parent / "input", runtime.label_dir or parent / "label"


def files_of(root: Path, split: str, field: str) -> dict[str, Path]:
    """The files of ``root/split`` by their names without suffix. Raises ZooError for no folder and two of a name."""
    folder = root / split
    if not folder.is_dir():
        if splits := [f.name for f in root.glob("[!.]*/")]:
            raise no_split(split, root, splits)
        raise ZooError(f"{folder}: is no folder; runtime.{field} holds train/, val/ and test/ with one file per patch")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return by_stem(file for file in files if not file.name.startswith("."))


def make_pair(image: RasterInfo, label: RasterInfo, data: DataSettings) -> Pair:
    """Put an input and its label together. Raises ZooError naming the file where grids or bands do not fit."""
    if problem := misfit(label.grid, image.grid, f"its input {image.path}"):
        raise ZooError(f"{label.path}: {problem}")
    target_names = _names(label, data.target_names, "data.target_names")
    if data.target is None and len(label.bands) > 1:
        names = f" ({', '.join(filter(None, target_names))})" if any(target_names) else ""
        raise ZooError(f"{label.path}: has {len(label.bands)} bands{names}; choose one with data.target")
    target = _number(label, target_names, 0 if data.target is None else data.target, "data.target")
    bands, mask = input_bands(image, data)[0], data.zero_is_nodata_in
    if mask is not None:
        mask = _number(image, _input_names(image, data), mask, "data.zero_is_nodata_in")
    if Path(image.path).resolve() == Path(label.path).resolve() and target in bands:
        raise ZooError(
            f"{image.path}: its band {target} is input and label at once; give another runtime.label_dir or data.bands"
        )
    return Pair(Path(image.path), Path(label.path), image.grid, bands, target, mask)


def input_bands(info: RasterInfo, data: DataSettings) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The 1-based bands of an input file that the network gets, in its order, and their names.

    The name is "band 7" (1-based) where the file and the settings give none. Raises ZooError naming the file.
    """
    names = _input_names(info, data)
    wanted = data.bands
    numbers = info.bands if wanted is None else tuple(_number(info, names, band, "data.bands") for band in wanted)
    return numbers, tuple((names[b - 1] if names else "") or f"band {b}" for b in numbers)


def trained_bands(info: RasterInfo, data: DataSettings, trained: list[str]) -> tuple[int, ...]:
    """The 1-based bands of a raster to map that are those ``trained`` on. Raises ZooError naming the file.

    A raster that names them all is read by its own names, whatever ``data.band_names`` says of the training files.
    """
    known = [name for name in info.descriptions if name]
    if set(trained) <= set(known) or (data.band_names is None and known and not trained[0].startswith("band ")):
        numbers = info.select(trained)
    else:
        numbers, names = input_bands(info, data)
        if len(numbers) == len(trained) and list(names) != trained and known:
            raise ZooError(f"{info.path}: bands are {', '.join(names)}; the run was trained on {', '.join(trained)}")
    if len(numbers) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return numbers


def patch_grids(folder: Path) -> dict[tuple[str, str], Grid]:
    """Read where patches without a CRS of their own lie: what step ``patches`` wrote, patches.csv and patches.json.

    Returns (split, name) -> grid, CRS None where the stack had none; {} where the files are not there. Raises ZooError
    naming the file where they cannot be read.
    """
    table, about = folder / "patches.csv", folder / "patches.json"
    if not (table.exists() and about.exists()):
        return {}
    known = read_json(about, remedy="run 'prepare patches' again")
    try:
        crs = None if known["crs"] in (None, "None") else CRS.from_user_input(known["crs"])
        base = Affine(*known["transform"])
        with table.open(newline="", encoding="utf-8") as file:
            rows = [
                (r["split"], r["name"], *(int(r[key]) for key in ("row", "col", "size"))) for r in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, CRSError) as error:
        raise ZooError(f"{table}: cannot be read with {about.name} ({error}); run 'prepare patches' again") from None
    return {
        (split, name): part_of(Grid(0, 0, crs, base), Window(top, left, size, size))
        for split, name, top, left, size in rows
    }


def _input_names(info: RasterInfo, data: DataSettings) -> tuple[str, ...]:
    names = _names(info, data.band_names, "data.band_names")
    return DOCUMENTED_BANDS if not names and len(info.dtypes) == len(DOCUMENTED_BANDS) else names


def _names(info: RasterInfo, given: tuple[str, ...] | None, field: str) -> tuple[str, ...]:
    """Names of all bands of the file in order, from the settings or the file; () where neither knows."""
    if given is None:
        return info.descriptions if any(info.descriptions) else ()
    return info.named(given, field).descriptions


def _number(info: RasterInfo, names: Sequence[str], band: int | str, field: str) -> int:
    if isinstance(band, int):
        if not 0 <= band < info.count:
            raise ZooError(f"{info.path}: has {info.count} bands, {field} asks for index {band} (0 is the first)")
        return band + 1
    if not any(names):
        raise ZooError(f"{info.path}: has no band {band!r}, which {field} asks for. It has no names: choose by index.")
    try:
        return replace(info, descriptions=tuple(names)).select([band])[0]
    except ZooError as error:
        raise ZooError(f"{error} ({field} asks for it)") from None
