"""Settings of the preparation steps, one group per step: ``--set prepare.shots.source=FOLDER``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

from eozoo_core.settings import Named, OnUnreadable, PrepareSettings, Settings
from pydantic import Field, model_validator

# ESA WorldCover 2021 v200: built-up, bare, snow and ice, water, herbaceous wetland, moss and lichen.
NOT_VEGETATION = (50, 60, 70, 80, 90, 100)
BUILT_UP = 50


class FilterSettings(Settings):
    """Which shots are kept. A shot whose value for an active filter is missing cannot pass it."""

    quality: bool = Field(True, description="Keep shots with l4_quality_flag (L4A) or quality_flag (L2A) 1.")
    degrade: bool = Field(True, description="Keep shots with degrade_flag 0: pointing and position were good.")
    max_relative_error: float | None = Field(
        50.0, gt=0, description="Largest 100 x agbd_se / agbd, percent; biomass only; null = any."
    )
    min_sensitivity: float | None = Field(
        None, ge=0, le=1, description="Smallest beam sensitivity, for example 0.95; null = any."
    )
    min_tree_cover: float | None = Field(
        None, ge=0, le=100, description="Smallest tree cover, percent (rasters.tree_cover, else the granule's Landsat)."
    )
    max_slope: float | None = Field(30.0, ge=0, description="Largest slope, degrees; needs rasters.slope to be set.")
    min_ndvi: float | None = Field(None, ge=-1, le=1, description="Smallest NDVI; needs rasters.ndvi; null = any.")
    worldcover_excluded: tuple[int, ...] = Field(
        NOT_VEGETATION, description="WorldCover classes that shots are dropped on; needs rasters.worldcover to be set."
    )
    power_beams: bool = Field(False, description="Keep the four full-power beams only.")
    night: bool = Field(False, description="Keep shots with the sun below the horizon only.")
    after: datetime.date | None = Field(None, description="First day (UTC) of shots to keep; null = any.")
    before: datetime.date | None = Field(None, description="First day (UTC) of shots to drop again; null = none.")


class RasterSettings(Settings):
    """Rasters that filters look up at each shot's centre; any CRS."""

    slope: Path | None = Field(None, description="Raster of slope in degrees; null = the slope filter is left out.")
    worldcover: Path | None = Field(None, description="Raster of WorldCover classes; null = that filter is left out.")
    tree_cover: Path | None = Field(None, description="Raster of tree cover, percent; null = the granule's own.")
    ndvi: Path | None = Field(None, description="Raster of NDVI; needed by filters.min_ndvi.")


class ShotsSettings(Settings):
    """Step shots: granules or tables of shots -> filtered shots and the table of what each filter removed."""

    source: Path | None = Field(
        None,
        description="A granule (.h5, or one in a .zip), a table (.csv, .tsv, .parquet), points (.gpkg, .geojson), or a "
        "folder of these.",
    )
    dest: Path = Field(Path("prepared/shots"), description="Folder for the shots and filters.csv.")
    quantity: str | None = Field(
        None, description="agbd (Mg/ha), or rh0 ... rh100 (m); null = agbd of L4A, rh95 of L2A; a table's column."
    )
    zero_below: float | None = Field(
        None, description="Heights below this count as 0: ground and low plants look alike (3 m in the document)."
    )
    bounds: tuple[float, float, float, float] | None = Field(
        None,
        description="West, south, east, north of the shots to keep, degrees; west > east crosses the date line; null = "
        "everywhere.",
    )
    filters: FilterSettings = Field(FilterSettings(), description="Which shots are kept.")
    rasters: RasterSettings = Field(RasterSettings(), description="Rasters that filters look up.")
    on_unreadable: OnUnreadable = Field(
        "stop", description="A file that cannot be read stops the work, or is left out and reported."
    )

    @model_validator(mode="after")
    def _box(self) -> ShotsSettings:
        if self.bounds is not None:
            west, south, east, north = self.bounds
            if not -90 <= south < north <= 90 or not all(-360 <= x <= 360 for x in (west, east)) or west == east:
                raise ValueError(f"bounds must be west, south, east, north in degrees, got {list(self.bounds)}")
        return self


class GridSettings(Settings):
    """A target grid: that of a raster, or CRS, bounds and pixel size."""

    like: Path | None = Field(None, description="Raster whose grid is taken; null = crs, bounds and pixel below.")
    crs: str | None = Field(None, description="CRS in metres, for example EPSG:32647.")
    bounds: tuple[float, float, float, float] | None = Field(None, description="West, south, east, north, m.")
    pixel: float = Field(50.0, gt=0, description="Side of a pixel, m; 50 in the biomass document.")


class LabelsSettings(Settings):
    """Step labels: shots -> a raster of their mean per pixel, NaN elsewhere, and a band that counts them."""

    source: Path = Field(Path("prepared/shots"), description="Folder that step shots wrote.")
    dest: Path = Field(Path("prepared/labels.tif"), description="Raster to write.")
    grid: GridSettings = Field(GridSettings(), description="The grid of the labels.")
    fine_pixel: float | None = Field(
        None,
        gt=0,
        description="Average within cells of this side (m) first, then over the cells of a pixel (25 in the document, "
        "for 50 m pixels); null = every shot weighs the same.",
    )


class LayerSettings(Settings):
    """One source of bands: a raster, or a folder of tiles of one mosaic."""

    source: Path = Field(description="Raster, or a folder of rasters that are tiles of one mosaic.")
    bands: tuple[str | int, ...] | None = Field(
        None, description="Bands by name (band description) or number (from 1), in the order wanted; null = all."
    )
    names: tuple[str, ...] | None = Field(
        None, description="Names for these bands in the stack; null = those of the file."
    )
    scale: Literal["none", "s2", "s1_db", "s1_linear"] = Field(
        "none",
        description="none; s2 = digital numbers to reflectance, 0 = no data; s1_db = (dB + 30) / 30, NaN outside "
        "-30..0 dB; s1_linear = the same from linear power.",
    )
    s2_offset: float | None = Field(
        None,
        description="s2: added to the digital numbers before / 10000; -1000 from processing baseline 04.00 on, else 0; "
        "null = by the product's name (_N0400_), its metadata or tags.",
    )
    resampling: Literal["none", "nearest", "bilinear", "average"] = Field(
        "none", description="How pixels come onto the grid; none = they must lie on it already."
    )


class StackSettings(Settings):
    """Step stack: layers of co-registered bands -> one raster with named bands in the order asked for."""

    layers: tuple[LayerSettings, ...] = Field((), description="Sources of bands.")
    bands: tuple[str, ...] | None = Field(None, description="Band names in the stack's order; null = as the layers.")
    grid: GridSettings = Field(GridSettings(), description="The stack's grid; null likeness = that of the first layer.")
    dest: Path = Field(Path("prepared/stack.tif"), description="Raster to write.")


class PatchesSettings(Settings):
    """Step patches: stack and labels -> input/ and label/ with train/, val/ and test/ from disjoint blocks."""

    stack: Path = Field(Path("prepared/stack.tif"), description="Raster of the input bands.")
    labels: Path = Field(Path("prepared/labels.tif"), description="Raster of the labels, band 1, on the same grid.")
    label_nodata: float | None = Field(
        None, description="Value that means no label, beside NaN and the raster's own nodata tag."
    )
    dest: Path = Field(Path("prepared/patches"), description="Folder for input/, label/ and patches.csv.")
    size: int = Field(244, ge=8, description="Side of a patch, px; 244 in the document.")
    block: int | None = Field(None, description="Side of a block, px; a split owns whole blocks; null = size.")
    gap: int = Field(0, ge=0, description="Pixels left free between blocks, so that neighbours are not alike.")
    shares: dict[str, float] = Field(
        {"train": 0.7, "val": 0.15, "test": 0.15}, description="Share of the labels that each split shall get."
    )
    train_windows: int | None = Field(
        None,
        ge=1,
        description="Random training windows (the document draws 34,000); null = side by side, every label once. "
        "val and test always lie side by side.",
    )
    max_missing: float = Field(0.2, ge=0, le=1, description="Largest share of a patch without data in a band.")
    mask: Path | None = Field(None, description="Class raster (WorldCover) for mask_classes; null = no mask.")
    mask_classes: tuple[int, ...] = Field(
        (BUILT_UP,), description="Classes whose labels are removed, in all splits alike."
    )
    suffix: Literal["npy", "tif"] = Field("npy", description="npy as in the document, or tif, which keeps the place.")
    seed: int = Field(0, ge=0, description="Seed of the blocks' draw and of random windows.")

    @model_validator(mode="after")
    def _sensible(self) -> PatchesSettings:
        known = {"train", "val", "test"}
        if not set(self.shares) <= known or not {"train", "val"} <= set(self.shares):
            raise ValueError(f"shares need train and val, and may have test; got {sorted(self.shares)}")
        if min(self.shares.values()) <= 0 or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares must be above 0 and add up to 1, got {self.shares}")
        if self.block is not None and self.block < self.size:
            raise ValueError(f"block {self.block} is smaller than a patch of {self.size} px")
        return self


class TotalsSettings(Settings):
    """Step totals: biomass maps and polygons -> Mg per polygon, with the uncertainty of the sum."""

    maps: Path | None = Field(None, description="Mean map NAME_mean.tif in Mg/ha; its uncertainties lie beside it.")
    polygons: Path | None = Field(None, description="GeoJSON file of polygons, WGS 84 or with a named CRS.")
    dest: Path = Field(Path("totals.csv"), description="Table to write.")
    name: str | None = Field(None, description="Property that names a polygon; null = its number.")
    correlation: float = Field(
        1000.0,
        gt=0,
        description="Distance up to which the pixels' noise is taken as fully correlated, m on the ground.",
    )


class ExampleSettings(Settings):
    """Step example: synthetic raw products to try the other steps on."""

    dest: Path = Field(Path("example"), description="Folder to write into.")
    rows: int = Field(448, ge=128, description="Height of the landscape, pixels of 20 m.")
    columns: int = Field(640, ge=128, description="Width of the landscape, pixels of 20 m.")
    seed: int = Field(0, ge=0, description="Seed of the landscape.")


class DatasetSettings(Settings):
    """Step dataset: a registered dataset to patches, one split at a time."""

    source: Named | None = Field(None, description="Registered dataset of images and sparse labels, and its options.")
    split: Literal["train", "val", "test"] = Field("train", description="Split that the samples become.")
    input_dir: Path = Field(Path("prepared/input"), description="Folder for inputs, below it the split.")
    label_dir: Path = Field(Path("prepared/label"), description="Folder for labels, below it the split.")


class GediPrepareSettings(PrepareSettings):
    """How granules and rasters become training data, and maps totals."""

    example: ExampleSettings = Field(ExampleSettings(), description="Synthetic raw products.")
    shots: ShotsSettings = Field(ShotsSettings(), description="Granules to filtered shots.")
    labels: LabelsSettings = Field(LabelsSettings(), description="Shots to a label raster.")
    stack: StackSettings = Field(StackSettings(), description="Bands to one raster.")
    patches: PatchesSettings = Field(PatchesSettings(), description="Stack and labels to patches in three splits.")
    dataset: DatasetSettings = Field(DatasetSettings(), description="A registered dataset to patches.")
    totals: TotalsSettings = Field(TotalsSettings(), description="Maps to totals over polygons.")
