"""Using a trained run: ``predict``, and ``infer`` for tiles, folders and whole GeoTIFF scenes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from eozoo_core.errors import ZooError
from eozoo_core.raster.cog import Band, CogWriter
from eozoo_core.raster.predict import Tiling, predict_raster
from eozoo_core.raster.read import Reader, open_reader
from eozoo_core.run.progress import progress_bar

from eozoo_prithvi_refine import coordinates
from eozoo_prithvi_refine.assemble import load_model
from eozoo_prithvi_refine.predict_inputs import checked
from eozoo_prithvi_refine.prepare.products import band_numbers, date_in, month_in
from eozoo_prithvi_refine.settings import BANDS
from eozoo_prithvi_refine.tile_files import check_reflectance, read_npz, read_sidecar, read_tile, write_npz

if TYPE_CHECKING:
    from eozoo_core import Run
    from eozoo_core.task import Arrays, Predictor

    from eozoo_prithvi_refine.settings import PrithviSettings

SCENES = (".tif", ".tiff", ".vrt", ".jp2")


def make_predictor(run: Run, settings: PrithviSettings) -> Predictor:
    """Load best.pt and return ``predict``; see ``PrithviRefine.predictor``."""
    model, device = load_model(run, settings, "infer")
    takes = model.encoder is not None and model.encoder.variant.coordinates

    def predict(batch: Arrays) -> Arrays:
        given = checked(batch, takes)
        image, codes = given["opt_v1"], np.stack([given["month"], given["biome"]])
        made: dict[str, list[np.ndarray]] = {"refined": [], "features": []}
        for i in range(0, len(image), settings.infer.batch_size):
            part = slice(i, i + settings.infer.batch_size)
            whole = np.nan_to_num(codes[:, part], nan=1).astype(np.int64)  # unknown codes are masked below
            arrays = [image[part], *whole, *(given[name][part].astype(np.float32) for name in ("time", "location"))]
            with torch.no_grad():
                outputs = model(*(torch.from_numpy(a).to(device) for a in arrays))
            for kept, output in zip(made.values(), outputs):
                kept.append(output.float().cpu().numpy())
        unknown = ~np.isfinite(codes).all(axis=0)
        missing = ~np.isfinite(image).all(axis=1, keepdims=True) | unknown[:, None, None, None]
        return {name: np.where(missing, np.float32(np.nan), np.concatenate(v)) for name, v in made.items()}

    return predict


def infer(run: Run, settings: PrithviSettings, predict: Predictor, source: Path, dest: Path) -> list[Path]:
    """Refine a tile, a scene, or all of a folder, whose subfolders are kept; see ``Task.infer``."""
    files = [source] if source.is_file() else sorted(f for f in source.rglob("*") if _is_input(f))
    if not files or not all(_is_input(f) for f in files):
        raise ZooError(f"{source}: is no NPZ tile, GeoTIFF or folder of them; give what can be refined")
    written = []
    with progress_bar("refine", len(files), "files", settings.runtime.quiet) as bar:
        for done, file in enumerate(files):
            refine = _refine_tile if file.suffix == ".npz" else _refine_scene
            folder = dest / (file.parent.relative_to(source) if source.is_dir() else "")
            folder.mkdir(parents=True, exist_ok=True)
            written += refine(run, settings, predict, file, folder)
            bar.update(done + 1, file.name)
    return written


def _is_input(file: Path) -> bool:
    return file.suffix.lower() in (*SCENES, ".npz")


def _refine_tile(run: Run, settings: PrithviSettings, predict: Predictor, file: Path, dest: Path) -> list[Path]:
    """Write DEST/NAME.npz with opt_v2 (and features) and its sidecar."""
    image, month, biome = _read_input(file, settings)
    batch = {"opt_v1": image[None], "month": np.array([month]), "biome": np.array([biome])}
    sidecar = file.with_suffix(".json")
    when, where = (find(read_sidecar(file), sidecar) for find in (coordinates.time_in, coordinates.location_in))
    made = predict(batch | _coordinates(settings, when, where, 1))
    arrays = {"opt_v2": made["refined"][0], "month": np.int64(month), "biome_code": np.int64(biome)}
    if settings.infer.features:
        arrays["features"] = made["features"][0]
    meta = read_sidecar(file) | {
        "stage": "stage2_refined",
        "source": file.name,
        "bands": list(BANDS),
        "unit": "reflectance",
        "nodata": "NaN",
        "run": run.path.name,
    }
    return [write_npz(dest / file.name, arrays, meta)]


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
    codes = [given if given is not None else found[name] for name, given in (("month", month), ("biome", biome))]
    for name, code in zip(found, codes):
        if code is None:
            raise ZooError(f"{file}: names no {name}; add --set infer.{name}=...")
    return image, int(np.max(codes[0])), int(np.max(codes[1]))


def _refine_scene(run: Run, settings: PrithviSettings, predict: Predictor, file: Path, dest: Path) -> list[Path]:
    """Write DEST/NAME_refined.tif (and NAME_features.tif): blended windows, COG, the scene's grid."""
    how, written = settings.infer, []
    with open_reader(file) as reader:
        bands = band_numbers(reader.info, how.bands)
        month, biome = _scene_codes(file, settings)
        when = coordinates.time_of(_scene_date(file, settings), file)
        codes = {"month": month, "biome": biome}, when, how.location or coordinates.location_of(reader.info.grid)
        _check_scale(reader, bands, settings)
        width = settings.model.head_width
        layers = {"refined": [Band(f"{name}_refined", "reflectance") for name in BANDS]}
        if how.features:
            layers["features"] = [Band(f"feature_{i:02d}", "1") for i in range(width)]
        tags = {"RUN": run.path.name, "MONTH": str(month), "BIOME": str(biome), "SOURCE": file.name}
        for layer, described in layers.items():
            path = dest / f"{file.stem}_{layer}.tif"
            with CogWriter(path, reader.info.grid, described, tags=tags) as writer:
                tiling = Tiling(how.window, how.stride, how.batch_size)
                predict_raster(reader, writer, _windows(predict, layer, codes, settings), tiling, bands=bands)
            written.append(path)
    return written


def _windows(
    predict: Predictor, layer: str, codes: tuple[dict[str, int], coordinates.Pair, coordinates.Pair], settings: Any
) -> Callable[[np.ndarray], np.ndarray]:
    how, (codes, when, where) = settings.infer, codes

    def run(windows: np.ndarray) -> np.ndarray:
        count = len(windows)
        images = (windows + np.float32(how.offset)) * np.float32(how.scale)
        batch = {"opt_v1": images} | {name: np.full(count, code) for name, code in codes.items()}
        return predict(batch | _coordinates(settings, when, where, count))[layer]

    return run


def _coordinates(
    settings: PrithviSettings, when: coordinates.Pair, where: coordinates.Pair, count: int
) -> dict[str, np.ndarray]:
    """Time and location for ``count`` images, for encoders that take them."""
    if not settings.model.encoder.endswith("_tl"):
        return {}
    return {"time": np.full((count, 2), when), "location": np.full((count, 2), where)}


def _scene_date(file: Path, settings: PrithviSettings) -> str:
    """Return the day of a scene as set, in its name or in its tags; "" where it is not known."""
    given = settings.infer.date
    return given.isoformat() if given else date_in(file.name) or coordinates.date_in_tags(file)


def _scene_codes(file: Path, settings: PrithviSettings) -> tuple[int, int]:
    month = settings.infer.month or month_in(_scene_date(file, settings))
    if month is None:
        raise ZooError(f"{file}: holds no date in name or tags; add --set infer.month=1..12 or infer.date=YYYY-MM-DD")
    if settings.infer.biome is None:
        raise ZooError(f"{file}: a GeoTIFF names no biome; add --set infer.biome=0..16")
    return month, settings.infer.biome


def _check_scale(reader: Reader, bands: tuple[int, ...], settings: PrithviSettings) -> None:
    values = (reader.thumbnail(256, bands) + settings.infer.offset) * settings.infer.scale
    if np.isfinite(values).any() and np.nanpercentile(values, 99) > 3:
        raise ZooError(
            f"{reader.info.path}: values around {np.nanpercentile(values, 50):g} are not reflectance 0..1; add --set "
            "infer.scale=0.0001 (and infer.offset=-1000 from processing baseline 04.00 on)"
        )
