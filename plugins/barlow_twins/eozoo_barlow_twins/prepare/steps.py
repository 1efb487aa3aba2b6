"""The prepare steps, the same for both tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from eozoo_core.run.pool import Pool

from eozoo_barlow_twins.tiles import Tile, open_tiles, processed


class Preparation:
    """Mixed into the tasks: one method per step; ``settings`` are the task's."""

    settings: Any
    registry: Any
    workers: Callable[[], AbstractContextManager[Pool]]
    prepare_steps: ClassVar[dict[str, str]] = {
        "cube": "NetCDF/HDF5 cubes with an SCL layer -> a tile (prepare.cube)",
        "scenes": "a folder of dated GeoTIFF or JP2 files -> a tile (prepare.scenes)",
        "table": "a parquet table of pixel time series -> a tile (prepare.table)",
        "dataset": "a registered dataset of pixel series or of tiles -> tiles (prepare.dataset)",
        "labels": "a classified raster such as ESA WorldCover -> labels.npy of a tile (prepare.labels)",
        "statistics": "band_mean.npy and band_std.npy of every tile of the data set, over clear pixels",
        "store": "pixels.npy of every tile: random access to pixels in one read",
        "embeddings": "what the encoder of a barlow_twins run says of pixels -> a table (prepare.embeddings)",
        "picture": "a saved map -> PNG with legend (prepare.picture)",
    }

    def _folder(self) -> Path:
        return processed(self.settings.runtime.data_dir, self.settings.data.dataset)

    def _tiles(self) -> list[Tile]:
        return open_tiles(self._folder(), self.settings.data.tiles)

    def prepare_cube(self) -> list[Path]:
        """See ``cubes.prepare_cube``."""
        from eozoo_barlow_twins.prepare.cubes import prepare_cube

        with self.workers() as pool:
            return [prepare_cube(self.settings.prepare.cube, self._folder(), pool)]

    def prepare_scenes(self) -> list[Path]:
        """See ``scenes.prepare_scenes``."""
        from eozoo_barlow_twins.prepare.scenes import prepare_scenes

        with self.workers() as pool:
            return [prepare_scenes(self.settings.prepare.scenes, self._folder(), pool)]

    def prepare_table(self) -> list[Path]:
        """See ``table.prepare_table``."""
        from eozoo_barlow_twins.prepare.table import prepare_table

        return [prepare_table(self.settings.prepare.table, self._folder())]

    def prepare_dataset(self) -> list[Path]:
        """See ``dataset.prepare_dataset``."""
        from eozoo_barlow_twins.prepare.dataset import prepare_dataset

        return prepare_dataset(self.settings.prepare.dataset, self.registry, self._folder())

    def prepare_labels(self) -> list[Path]:
        """See ``labels.prepare_labels``."""
        from eozoo_barlow_twins.labels import prepare_labels
        from eozoo_barlow_twins.prepare.write_tile import note_files

        step = self.settings.prepare.labels
        (tile,) = open_tiles(self._folder(), (step.tile,))
        file = prepare_labels(tile, step.rasters)
        note_files(tile.path, [file.name])
        return [file]

    def prepare_statistics(self) -> list[Path]:
        """See ``write_tile.write_statistics``."""
        from eozoo_barlow_twins.prepare.write_tile import write_statistics

        with self.workers() as pool:
            return [file for files in pool.map(write_statistics, self._tiles()) for file in files]

    def prepare_store(self) -> list[Path]:
        """See ``store.write_store``."""
        from eozoo_barlow_twins.prepare.store import write_store

        with self.workers() as pool:
            return list(pool.map(write_store, self._tiles()))

    def prepare_embeddings(self) -> list[Path]:
        """Write the dataset ``embeddings`` of a run as a table."""
        step, data = self.settings.prepare.embeddings, self.settings.data
        options = {"run": step.run, "folder": str(self._folder()), "tiles": data.tiles, "labels": data.labels}
        return [self.registry.create("dataset", "embeddings", options).write(step.file, data.block, data.legend)]

    def prepare_picture(self) -> list[Path]:
        """See ``pictures.map_picture``."""
        from eozoo_barlow_twins.pictures import map_picture

        return [map_picture(Path(self.settings.prepare.picture.map))]
