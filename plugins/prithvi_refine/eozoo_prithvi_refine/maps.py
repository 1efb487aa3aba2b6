"""What ``infer`` refines: NPZ tiles, which become NPZ tiles again, and GeoTIFF scenes; subfolders are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import Assembly
from eozoo_core.raster.cog import Band
from eozoo_core.raster.files import Layer
from eozoo_core.raster.georeference import Grid
from eozoo_core.raster.read import Reader, open_reader
from eozoo_core.raster.sentinel2 import SPECIAL, Scaling
from eozoo_core.run.written import is_current, write_picture
from eozoo_core.task.assemblies import bands_of_assembly, prepared
from eozoo_core.task.data import tensors
from eozoo_core.task.made_from import STAMP
from eozoo_core.task.maps import bands_of
from eozoo_core.task.scenes import Scene, scl_of
from eozoo_core.task.spread import present

from eozoo_prithvi_refine import coordinates
from eozoo_prithvi_refine.pictures import true_colour
from eozoo_prithvi_refine.prepare.products import band_numbers, date_in, month_in
from eozoo_prithvi_refine.scaling import decide
from eozoo_prithvi_refine.settings import BANDS
from eozoo_prithvi_refine.tile_files import check_reflectance, read_npz, read_sidecar, read_tile, write_npz

if TYPE_CHECKING:
    from eozoo_core.spec import Port
    from eozoo_core.task.windows import Drawn

    from eozoo_prithvi_refine.settings import PrithviInferSettings, PrithviSettings

_LARGEST = 3.0  # reflectance of 99 % of a scene; above it values are not reflectance
SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".npz")


@dataclass(frozen=True)
class Found:
    """A file below what was given to ``infer``, and its name there without ending ("north/a")."""

    path: Path
    name: str


def find(source: Path) -> list[Found]:
    """Return a tile, a scene, or all of a folder. Raises ZooError where there is none, or two would make one file."""
    files = [source] if source.is_file() else sorted(f for f in source.rglob("*") if _is_input(f))
    if not files or not all(_is_input(f) for f in files):
        raise ZooError(f"{source}: is no NPZ tile, GeoTIFF or folder of them; give what can be refined")
    root = source.parent if source.is_file() else source
    found = [Found(file, file.relative_to(root).with_suffix("").as_posix()) for file in files]
    twice = Counter((one.name, one.path.suffix == ".npz") for one in found).most_common(1)[0]
    if twice[1] > 1:
        raise ZooError(f"{source}: two scenes are called {twice[0][0]} but for their endings; rename one")
    return found


def _is_input(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def open_scene(found: Found | Assembly, settings: PrithviSettings) -> Scene:
    """Return a tile, which is read when it is refined, or a scene whose bands, scaling, month and biome are known."""
    how, parts, notes = settings.infer, None, []
    if isinstance(found, Assembly):
        file, day = Path(found.source), how.date.isoformat() if how.date else found.date
        parts, note = prepared(bands_of_assembly(found, lambda info: band_numbers(info, how.bands), BANDS, how), how)
        notes += [note] if note else []
    else:
        file = found.path
        day = "" if file.suffix == ".npz" else _scene_date(file, how)
    if parts is None and file.suffix == ".npz":
        reads = (file, *(beside for beside in [file.with_suffix(".json")] if beside.exists()))
        return Scene(file, Grid(0, 0), name=found.name, reads=reads, whole=True)
    with open_reader(parts or file) as reader:
        bands = tuple(reader.info.bands) if parts else band_numbers(reader.info, how.bands)
        month, biome = _scene_codes(file, day, how)
        when = coordinates.time_of(day, file)
        where = how.location or coordinates.location_of(reader.info.grid)
        scaling = _scaling(reader, bands, how)
        return Scene(
            file,
            reader.info.grid,
            bands,
            found.name,
            {"month": np.float32(month), "biome": np.float32(biome), **_pairs(settings, when, where)},
            tags={**dict(found.tags if parts else ()), "MONTH": str(month), "BIOME": str(biome)},
            values=scaling,
            missing=SPECIAL if how.nodata is None and scaling.missing else how.nodata,
            notes=(*reader.info.notes, *(notes or [str(scaling)])),
            parts=parts,
            scl=scl_of(found) if parts else None,
        )


def layers_of(outputs: Sequence[Port], how: PrithviInferSettings) -> list[Layer]:
    """Return the refined image, how much draws differ in it, and where asked for the features."""
    ports = {port.role: port for port in outputs}
    layers = [Layer("refined", tuple(Band(f"{name}_refined", "reflectance") for name in BANDS))]
    if (port := ports.get("features")) is not None and how.features:
        count = int(port.axes.split()[1])
        layers.append(Layer("features", tuple(Band(f"feature_{i:02d}", "1") for i in range(count))))
    return layers + [Layer(port.role, bands_of(port)) for port in outputs if port.spread == "deviation"]


def write_tile(drawn: Drawn, scene: Scene, dest: Path, settings: PrithviSettings) -> list[Path]:
    """Write DEST/NAME.npz with opt_v2 (and features, and how much draws differ) and its sidecar.

    Left where it is there and its sidecar says that it was made from the same.
    """
    file, run, target = scene.path, drawn.folder.name, dest / f"{scene.name}.npz"
    if target.exists() and scene.stamp and read_sidecar(target).get(STAMP) == scene.stamp:
        return [target]
    image, month, biome = _read_input(file, settings)
    sidecar, meta = file.with_suffix(".json"), read_sidecar(file)
    pairs = _pairs(settings, coordinates.time_in(meta, sidecar), coordinates.location_in(meta, sidecar))
    batch = {"opt_v1": image, "month": np.float32(month), "biome": np.float32(biome), **pairs}
    found = drawn({name: values[None] for name, values in batch.items()})
    made = {name: values[0].numpy() for name, values in present(tensors(found), drawn.outputs).items()}
    arrays = {"opt_v2": made.pop("refined"), "month": np.int64(month), "biome_code": np.int64(biome)}
    arrays |= {name: values for name, values in made.items() if name != "features" or settings.infer.features}
    meta |= {
        "stage": "stage2_refined",
        "source": file.name,
        "bands": list(BANDS),
        "unit": "reflectance",
        "nodata": "NaN",
        "run": run,
        **scene.tags,
        STAMP: scene.stamp,
    }
    target.unlink(missing_ok=True)  # the sidecar is written first, and would speak of the old one
    return [write_npz(target, arrays, meta)]


def draw(files: Mapping[str, Path], scene: Scene, dest: Path) -> list[Path]:
    """Draw a scene before and after in true colour, one stretch for both; a current picture is left."""
    picture = dest / f"{scene.name}.png"
    if is_current(picture, files["refined"]):
        return [picture]
    with open_reader(scene.path) as before, open_reader(files["refined"]) as after:
        assert scene.values is not None
        given = scene.values(before.thumbnail(1024, scene.bands))
        images = [given, after.thumbnail(1024)]
    visible = images[1][:3][:, np.isfinite(images[1]).all(axis=0)]
    low, high = np.percentile(visible, [1, 99]) if visible.size else (0.0, 1.0)
    space = np.full((images[0].shape[1], 4, 3), 255, np.uint8)
    parts = [true_colour(image, float(low), float(high)) for image in images]
    return [write_picture(picture, np.concatenate([parts[0], space, parts[1]], axis=1))]


def _pairs(settings: PrithviSettings, when: coordinates.Pair, where: coordinates.Pair) -> dict[str, np.ndarray]:
    """Time and location, for encoders that take them."""
    if not settings.model.encoder.endswith("_tl"):
        return {}
    return {"time": np.array(when, np.float32), "location": np.array(where, np.float32)}


def _read_input(file: Path, settings: PrithviSettings) -> tuple[np.ndarray, int, int]:
    """Return image (4, H, W), month, biome: opt_v1 where the file has one, else its four bands."""
    arrays = read_npz(file)
    month, biome = settings.infer.month, settings.infer.biome
    if "opt_v1" not in arrays:
        tile = read_tile(file, month, biome)
        return tile.image, month or tile.month, tile.biome if biome is None else biome
    image = arrays["opt_v1"].astype(np.float32)
    if image.ndim != 3 or len(image) != 4:
        raise ZooError(f"{file}: opt_v1 has shape {image.shape}, expected (4, H, W): blue, green, red, near infrared")
    check_reflectance(file, np.where(np.isfinite(image), image, np.nan))
    meta = read_sidecar(file)
    found = {"month": arrays.get("month", meta.get("month")), "biome": arrays.get("biome_code", meta.get("biome_code"))}
    codes: list[Any] = [
        given if given is not None else found[name] for name, given in (("month", month), ("biome", biome))
    ]
    for name, code in zip(found, codes):
        if code is None:
            raise ZooError(f"{file}: names no {name}; add --set infer.{name}=...")
    return image, int(np.max(codes[0])), int(np.max(codes[1]))


def _scene_date(file: Path, how: PrithviInferSettings) -> str:
    """Return the day of a scene as set, in its name or in its tags; "" where it is not known."""
    return how.date.isoformat() if how.date else date_in(file.name) or coordinates.date_in_tags(file)


def _scene_codes(file: Path, day: str, how: PrithviInferSettings) -> tuple[int, int]:
    month = how.month or month_in(day)
    if month is None:
        raise ZooError(f"{file}: holds no date in name or tags; add --set infer.month=1..12 or infer.date=YYYY-MM-DD")
    if how.biome is None:
        raise ZooError(f"{file}: a GeoTIFF names no biome; add --set infer.biome=0..16")
    return month, how.biome


def _scaling(reader: Reader, bands: tuple[int, ...], how: PrithviInferSettings) -> Scaling:
    """How a scene becomes reflectance. Raises ZooError where that does not give reflectance 0..1."""
    scaling = decide(reader, bands, how.scale, how.offset, "infer")
    values = scaling(reader.thumbnail(256, bands))
    if np.isfinite(values).any() and np.nanpercentile(values, 99) > _LARGEST:
        raise ZooError(
            f"{reader.info.path}: values around {np.nanpercentile(values, 50):g} are not reflectance 0..1 "
            f"({scaling.told}); set infer.scale and infer.offset: reflectance = (value + offset) x scale"
        )
    return scaling
