"""Find the pairs of input and label files of a split, and refuse what does not fit before any training starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eozoo_core.errors import ZooError, did_you_mean, no_split
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import RasterInfo, open_reader
from eozoo_core.raster.tiles import Window
from rasterio import Affine

from eozoo_gedi_sparse.settings import DOCUMENTED_BANDS, DataSettings, GediSettings

SUFFIXES = (".npy", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """One patch: its input and label file and which of their bands are used (1-based, as files count)."""

    name: str
    input: Path
    label: Path
    grid: Grid
    bands: tuple[int, ...]
    target: int
    mask_band: int | None


@dataclass(frozen=True)
class Pairs:
    """The pairs of one split in the order of their names, and one line for every file that was left out."""

    split: str
    pairs: tuple[Pair, ...]
    band_names: tuple[str, ...]
    skipped: tuple[str, ...]


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


def find_pairs(input_dir: Path, label_dir: Path, split: str, data: DataSettings) -> Pairs:
    """Match ``input_dir/split/NAME`` (C, H, W) with ``label_dir/split/NAME`` (1 or more bands, H, W) by name.

    NAME ends in .npy, .tif or .tiff. Reads headers; rasters whole where ``data.on_unreadable`` is skip. Raises
    ZooError, one line naming the folder or file: no such folder, no pair, two files of one name, partners missing,
    unreadable, of other size, CRS, transform or band count. What ``data.skip_unpaired`` and ``data.on_unreadable``
    allow is left out instead and listed in ``skipped``.
    """
    inputs, labels = files_of(input_dir, split, "input_dir"), files_of(label_dir, split, "label_dir")
    skipped = unpaired(inputs, labels, Path(input_dir) / split, Path(label_dir) / split)
    if skipped and not data.skip_unpaired:
        more = f" (and {len(skipped) - 5} more)" if len(skipped) > 5 else ""
        raise ZooError(f"{'; '.join(skipped[:5])}{more}. Add the missing files or set data.skip_unpaired=true")
    pairs: list[Pair] = []
    names: tuple[str, ...] = ()
    for name in sorted(inputs.keys() & labels.keys()):
        try:
            infos = _info(inputs[name], data), _info(labels[name], data)
        except ZooError as error:
            if data.on_unreadable == "stop":
                raise
            skipped.append(str(error))
            continue
        pairs.append(make_pair(name, *infos, data))
        names = names or chosen_names(infos[0], data)
        if len(pairs[-1].bands) != len(pairs[0].bands):
            raise ZooError(_other_count(pairs[-1], pairs[0]))
    if not pairs:
        left = f" ({len(skipped)} left out, first: {skipped[0]})" if skipped else ""
        raise ZooError(f"{Path(input_dir) / split}: no input has a label in {Path(label_dir) / split}{left}")
    return Pairs(split, tuple(pairs), names, tuple(skipped))


def band_numbers(info: RasterInfo, data: DataSettings) -> tuple[int, ...]:
    """The 1-based bands of an input file that the network gets, in its order. Raises ZooError naming the file."""
    names = _names(info, data.band_names, "data.band_names", documented=True)
    chosen = range(len(info.bands)) if data.bands is None else data.bands
    return tuple(_number(info, names, band, "data.bands") for band in chosen)


def chosen_names(info: RasterInfo, data: DataSettings) -> tuple[str, ...]:
    """Names of the chosen bands, "band 7" (1-based) where the file and the settings give none."""
    names = _names(info, data.band_names, "data.band_names", documented=True)
    return tuple(names[b - 1] or f"band {b}" if names else f"band {b}" for b in band_numbers(info, data))


def trained_bands(info: RasterInfo, data: DataSettings, trained: list[str]) -> tuple[int, ...]:
    """The 1-based bands of a raster to map that are those ``trained`` on. Raises ZooError naming the file.

    A raster that names them all is read by its own names, whatever ``data.band_names`` says of the training files.
    """
    known = [name for name in info.descriptions if name]
    if set(trained) <= set(known) or (data.band_names is None and known and not trained[0].startswith("band ")):
        numbers = info.select(trained)
    else:
        numbers = band_numbers(info, data)
        names = list(chosen_names(info, data))
        if len(numbers) == len(trained) and names != trained and known:
            raise ZooError(f"{info.path}: bands are {', '.join(names)}; the run was trained on {', '.join(trained)}")
    if len(numbers) != len(trained):
        raise ZooError(f"{info.path}: has {len(info.bands)} bands, the run needs {len(trained)}: {', '.join(trained)}")
    return numbers


def mask_band_number(info: RasterInfo, data: DataSettings) -> int | None:
    """The 1-based band whose zeros mean no data (``data.zero_is_nodata_in``), or None."""
    if data.zero_is_nodata_in is None:
        return None
    names = _names(info, data.band_names, "data.band_names", documented=True)
    return _number(info, names, data.zero_is_nodata_in, "data.zero_is_nodata_in")


def _info(path: Path, data: DataSettings) -> RasterInfo:
    """The header; where damaged files are to be skipped, the pixels are read once, too: a raster's header can be whole
    while its pixels are cut off."""
    with open_reader(path) as reader:
        if data.on_unreadable == "skip" and path.suffix.lower() != ".npy":
            reader.read(Window(0, 0, reader.info.grid.height, reader.info.grid.width))
        return reader.info


def files_of(root: Path, split: str, field: str) -> dict[str, Path]:
    """The files of ``root/split`` by their names without suffix. Raises ZooError for no folder and two of a name."""
    folder = Path(root) / split
    if not folder.is_dir():
        if splits := [f.name for f in Path(root).glob("[!.]*/")]:
            raise ZooError(no_split(split, root, splits))
        raise ZooError(f"{folder}: is no folder; runtime.{field} holds train/, val/ and test/ with one file per patch")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ZooError(f"{folder}: {found[path.stem].name} and {path.name} share a name; keep one of them")
        found[path.stem] = path
    return found


def unpaired(inputs: dict[str, Path], labels: dict[str, Path], input_dir: Path, label_dir: Path) -> list[str]:
    """A line for every file without its partner."""
    lone = [f"{inputs[n]}: has no label in {label_dir}" for n in sorted(inputs.keys() - labels.keys())]
    return lone + [f"{labels[n]}: has no input in {input_dir}" for n in sorted(labels.keys() - inputs.keys())]


def make_pair(name: str, image: RasterInfo, label: RasterInfo, data: DataSettings) -> Pair:
    """Put an input and its label together. Raises ZooError naming the file where grids or bands do not fit."""
    _check_grids(image, label)
    target_names = _names(label, data.target_names, "data.target_names", documented=False)
    if data.target is None and len(label.bands) > 1:
        names = f" ({', '.join(filter(None, target_names))})" if any(target_names) else ""
        raise ZooError(f"{label.path}: has {len(label.bands)} bands{names}; choose one with data.target")
    target = _number(label, target_names, 0 if data.target is None else data.target, "data.target")
    bands, mask = band_numbers(image, data), mask_band_number(image, data)
    if Path(image.path).resolve() == Path(label.path).resolve() and target in bands:
        raise ZooError(
            f"{image.path}: its band {target} is input and label at once; give another runtime.label_dir or data.bands"
        )
    return Pair(name, Path(image.path), Path(label.path), image.grid, bands, target, mask)


def _check_grids(image: RasterInfo, label: RasterInfo) -> None:
    a, b = image.grid, label.grid
    if (a.height, a.width) != (b.height, b.width):
        raise ZooError(f"{label.path}: is {b.height} x {b.width} px, its input {image.path} {a.height} x {a.width}")
    if a.transform is None or b.transform is None:
        return  # one of the two is a plain array: the size is all there is to compare
    if a.crs != b.crs:
        raise ZooError(f"{label.path}: has CRS {b.crs}, its input {image.path} {a.crs}; reproject one of them")
    # The same ground within 1 % of a pixel at three corners: transforms may differ in their last digits.
    for corner in ((0, 0), (a.width, 0), (0, a.height)):
        col, row = _apply(~a.transform, *_apply(b.transform, *corner))
        if abs(col - corner[0]) > 0.01 or abs(row - corner[1]) > 0.01:
            raise ZooError(
                f"{label.path}: lies {col - corner[0]:+.2f} columns and {row - corner[1]:+.2f} rows off its input "
                f"{image.path}; resample one of them"
            )


def _names(info: RasterInfo, given: tuple[str, ...] | None, field: str, documented: bool) -> tuple[str, ...]:
    """Names of all bands of the file in order, from the settings, the file or the document; () where nobody knows."""
    count = len(info.dtypes)
    if given is not None:
        if len(given) != len(info.bands):
            raise ZooError(f"{info.path}: has {len(info.bands)} bands, {field} names {len(given)}")
        by_band = dict(zip(info.bands, given, strict=True))
        return tuple(by_band.get(band, "") for band in range(1, count + 1))
    if any(info.descriptions):
        return info.descriptions
    return DOCUMENTED_BANDS if documented and count == len(DOCUMENTED_BANDS) else ()


def _number(info: RasterInfo, names: Sequence[str], band: int | str, field: str) -> int:
    if isinstance(band, int):
        if not 0 <= band < len(info.bands):
            raise ZooError(f"{info.path}: has {len(info.bands)} bands, {field} asks for index {band} (0 is the first)")
        return info.bands[band]
    if list(names).count(band) > 1:
        raise ZooError(f"{info.path}: has several bands called {band!r}, {field} must choose by index")
    if band not in names:
        known = did_you_mean(band, [n for n in names if n]) if any(names) else " It has no names: choose by index."
        raise ZooError(f"{info.path}: has no band {band!r}, which {field} asks for.{known}")
    return list(names).index(band) + 1


def _other_count(pair: Pair, first: Pair) -> str:
    return f"{pair.input}: has {len(pair.bands)} bands, {first.input} has {len(first.bands)}; choose with data.bands"


def _apply(t: Affine, x: float, y: float) -> tuple[float, float]:
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f
