"""Where patches without a CRS of their own lie: what step ``patches`` wrote beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.raster.georeference import Grid
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError


def patch_grids(folder: Path) -> dict[tuple[str, str], Grid]:
    """Read ``folder``/patches.csv and patches.json: (split, name) -> grid, CRS None where the stack had none; {} where
    they are not there.

    Raises ZooError naming the file where they cannot be read.
    """
    table, about = folder / "patches.csv", folder / "patches.json"
    if not (table.exists() and about.exists()):
        return {}
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        crs = None if known["crs"] in (None, "None") else CRS.from_user_input(known["crs"])
        base = Affine(*known["transform"])
        with table.open(newline="", encoding="utf-8") as file:
            return {(r["split"], r["name"]): _grid(r, crs, base) for r in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, TypeError, CRSError) as error:
        raise ZooError(f"{table}: cannot be read with {about.name} ({error}); run 'prepare patches' again") from None


def _grid(row: dict[str, str], crs: CRS | None, base: Affine) -> Grid:
    top, left, size = int(row["row"]), int(row["col"]), int(row["size"])
    x, y = base.a * left + base.b * top + base.c, base.d * left + base.e * top + base.f
    return Grid(size, size, crs, Affine(base.a, base.b, x, base.d, base.e, y))
