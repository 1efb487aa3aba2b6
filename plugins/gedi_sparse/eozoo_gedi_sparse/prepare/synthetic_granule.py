"""Writing small GEDI granules that look like real ones to a reader: for the tests and the synthetic walk-through."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
from eozoo_core.run.written import hdf5_bytes, write_bytes

BEAMS = (
    "BEAM0000",
    "BEAM0001",
    "BEAM0010",
    "BEAM0011",
    "BEAM0101",
    "BEAM0110",
    "BEAM1000",
    "BEAM1011",
)  # four of full power


@dataclass(frozen=True)
class Beam:
    """Shots of one beam, arrays (n,): lon, lat degrees; value Mg/ha (L4A) or height of rh95 in m (L2A), -9999 = none.

    error: standard error of biomass, Mg/ha; cover: tree cover, percent; sun: solar elevation, degrees.
    """

    lon: np.ndarray
    lat: np.ndarray
    value: np.ndarray
    quality: np.ndarray
    degrade: np.ndarray
    sensitivity: np.ndarray
    error: np.ndarray
    cover: np.ndarray
    sun: np.ndarray


def make_beam(lon: np.ndarray, lat: np.ndarray, value: np.ndarray) -> Beam:
    """A beam of good shots: quality 1, sensitivity 0.97, standard error 3 Mg/ha, tree cover 80 %, at night."""
    n = len(lon)
    ones = np.ones(n)
    return Beam(lon, lat, value, ones, 0 * ones, 0.97 * ones, 3 * ones, 80 * ones, -20 * ones)


def write_granule(path: Path, beams: dict[str, Beam], product: str, version: int = 2, day: int = 400) -> Path:
    """Write a granule of ``product`` "GEDI_L4A" or "GEDI_L2A" to a .h5, or zipped to a .zip.

    Version 1 has its attributes as arrays and heights as float64, version 2 plain strings and float32, as in the real
    products. ``day`` counts from 2018-01-01.
    """

    def fill(file: h5py.File) -> None:
        dress = (lambda text: np.array([text], dtype=object)) if version == 1 else (lambda text: text)
        file.attrs["short_name"] = dress(product)
        about = file.create_group("METADATA/DatasetIdentification")
        about.attrs["VersionID"] = dress(f"{version:02d}")
        about.attrs["abstract"] = dress("synthetic: made by eozoo, not observed")
        for number, (name, beam) in enumerate(sorted(beams.items())):
            _write_beam(file.create_group(name), beam, product, version, day + number / 1440)

    content = hdf5_bytes(fill)
    if path.suffix == ".zip":
        memory = BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}.h5", content)
        content = memory.getvalue()
    return write_bytes(path, content)


def _write_beam(group: h5py.Group, beam: Beam, product: str, version: int, day: float) -> None:
    group.attrs["description"] = (
        "Full power beam" if group.name[-4:] in ("0101", "0110", "1000", "1011") else "Coverage"
    )
    group["lon_lowestmode"], group["lat_lowestmode"] = beam.lon, beam.lat
    group["degrade_flag"] = beam.degrade.astype(np.uint8)
    group["sensitivity"] = beam.sensitivity.astype(np.float32)
    group["solar_elevation"] = beam.sun.astype(np.float32)
    group["land_cover_data/landsat_treecover"] = beam.cover.astype(np.float64)
    group["delta_time"] = np.full(len(beam.lon), day * 86400.0)
    if product == "GEDI_L4A":
        group["agbd"], group["agbd_se"] = beam.value.astype(np.float32), beam.error.astype(np.float32)
        group["l4_quality_flag"] = beam.quality.astype(np.uint8)
        return
    # Heights rise over the percentiles and reach the given one at rh95.
    rh = beam.value[:, None] * np.linspace(-0.05, 1.05, 101)[None, :] / np.linspace(-0.05, 1.05, 101)[95]
    group["rh"] = np.where(beam.value[:, None] == -9999, -9999, rh).astype(np.float64 if version == 1 else np.float32)
    group["quality_flag"] = beam.quality.astype(np.uint8)
