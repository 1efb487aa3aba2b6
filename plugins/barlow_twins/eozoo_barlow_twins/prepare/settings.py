"""Settings of the preparation steps."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.settings import Named, PrepareSettings, Settings
from pydantic import Field

S2_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CLEAR = (4, 5, 6, 7)


class SourceSettings(Settings):
    """What raw products have in common."""

    folder: str = Field("", description="Folder with the raw files of one tile.")
    tile: str = Field("", description="Name of the tile folder to make, for example MGRS-31UDS.")
    bands: tuple[str, ...] = Field(S2_BANDS, description="Bands to keep, in the order they are stored in.")
    clear: tuple[int, ...] = Field(
        CLEAR,
        description="Scene classes (SCL) that count as clear: 4 vegetation, 5 bare, 6 water, 7 unclassified, 11 snow.",
    )
    first: date | None = Field(None, description="Leave out dates before this (YYYY-MM-DD), for example 2018-01-01.")
    last: date | None = Field(None, description="Leave out dates after this. Labels of one season go with its dates.")
    offset: float | None = Field(
        None,
        description="Added to digital numbers before / 10000; -1000 for baselines from 04.00 on, 0 before and for "
        "harmonised collections; null = by each product's name, metadata or tags.",
    )

    def source(self, step: str) -> Path:
        """Return the folder with the raw files. Raises ZooError where it, or the tile's name, is not given."""
        if not self.folder or not self.tile:
            raise ZooError(f"{step}.folder and {step}.tile must be given with --set")
        if not Path(self.folder).is_dir():
            raise ZooError(f"{step}.folder {self.folder}: no such folder")
        return Path(self.folder)

    def keeps(self, day: date) -> bool:
        """Whether ``day`` lies between ``first`` and ``last``."""
        return (self.first is None or day >= self.first) and (self.last is None or day <= self.last)


class CubeSettings(SourceSettings):
    """NetCDF/HDF5 cubes with variables (T, h, w), SCL among them."""

    resolution: float | None = Field(
        None,
        gt=0,
        description="Pixel size in the map's unit (m); null = the finest of the files. Coarser are repeated.",
    )
    labels: tuple[str, ...] = Field(
        (), description="Label variables (H, W) in the files; the first becomes labels.npy, others labels_NAME.npy."
    )
    fields: bool = Field(
        False, description="Write blocks.npy: connected areas of equal labels, so that no field is cut by a split."
    )


class SceneSettings(SourceSettings):
    """A folder of dated GeoTIFF or JP2 files, one per band and date, or one per date with named bands."""

    has_scl: bool = Field(True, description="The files include SCL; without it only nodata is masked.")


class LabelSettings(Settings):
    """Labels from a classified raster."""

    rasters: tuple[str, ...] = Field(
        (), description="Classified GeoTIFFs (WorldCover tiles, say); a later one fills gaps."
    )
    tile: str = Field("", description="Tile that gets labels.npy.")


class PictureSettings(Settings):
    """Show a saved map again."""

    map: str = Field("", description="A map written by 'infer' (.tif); the picture lies beside it as .png.")


class TableSettings(Settings):
    """A table of pixel time series (parquet), one row per pixel with monthly columns."""

    file: str = Field("", description="Parquet file with columns OPTICAL-Bxx-tsN-..m.")
    tile: str = Field("", description="Name of the tile folder to make; its pixels are the rows of the table.")
    label: str = Field("finetune_class", description="Column of the label; codes 1.. in alphabetical order.")
    bands: tuple[str, ...] = Field(S2_BANDS, description="Bands to keep, in the order they are stored in.")
    nodata: int = Field(65535, description="Value that means 'no observation'.")
    offset: float | None = Field(
        None, description="Added to digital numbers; 0 or -1000, see prepare.scenes.offset; null = an error."
    )


class DatasetSettings(Settings):
    """A registered dataset of pixel series, or of tiles; name one of the two."""

    series: Named | None = Field(None, description="Registered dataset of series, and its options: a pixel each.")
    tiles: Named | None = Field(None, description="Registered dataset of tiles, and its options: a tile each.")
    folder: Path | None = Field(
        None, description="Folder that the tile folders are made in; null = where training reads them."
    )
    tile: str | None = Field(
        None, description="Name of the tile folder, of several with a number behind it; null = the dataset's."
    )


class EmbeddingSettings(Settings):
    """A table of embeddings."""

    run: str = Field("", description="Run of 'barlow_twins' that encodes the pixels of data.tiles, of any place.")
    file: Path = Field(Path("embeddings.csv"), description="CSV table to write: e0, e1, ..., x, y, block, code, class.")


class PixelPrepare(PrepareSettings):
    """One field per step."""

    cube: CubeSettings = Field(CubeSettings(), description="Step 'cube': NetCDF/HDF5 -> tile.")
    scenes: SceneSettings = Field(SceneSettings(), description="Step 'scenes': dated GeoTIFFs -> tile.")
    labels: LabelSettings = Field(LabelSettings(), description="Step 'labels': classified raster -> labels.npy.")
    table: TableSettings = Field(TableSettings(), description="Step 'table': parquet -> tile.")
    dataset: DatasetSettings = Field(DatasetSettings(), description="Step 'dataset': registered dataset -> tiles.")
    embeddings: EmbeddingSettings = Field(EmbeddingSettings(), description="Step 'embeddings': pixels -> table.")
    picture: PictureSettings = Field(PictureSettings(), description="Step 'picture': a saved map -> PNG with legend.")
