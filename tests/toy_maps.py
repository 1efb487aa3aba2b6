"""The toy as a task of images and maps: the same network in every pixel, a GeoTIFF in and a GeoTIFF out."""

import numpy as np
from eozoo_core import Port, Sample
from toy import Toy

CRS, TRANSFORM, NODATA = "EPSG:32616", (10.0, 0.0, 500_000.0, 0.0, -10.0, 1_400_000.0), -9999.0


class ToyMaps(Toy):
    profile = {"crs": CRS, "nodata": NODATA, "driver": "GTiff", "dtype": "float32"}  # noqa: RUF012
    unit = "m"
    takes = (Port("image", "B 2 H W", "m", ("east", "north")),)
    shape = "B 1 H W"

    def predictor(self, run):
        from eozoo_core.task.predict import check_arrays

        per_row = super().predictor(run)

        def predict(batch):
            if "x" in batch:
                return per_row(batch)  # evaluation goes by rows
            image = self.before(check_arrays(batch, self.takes)["image"])
            rows = per_row({"x": np.moveaxis(image, 1, -1).reshape(-1, 2)})["y"]
            return {"y": rows.reshape(len(image), 1, *image.shape[2:])}

        return predict

    def before(self, image):
        """What is done to an image (B, 2, H, W) before the network; defects change it."""
        return image

    def infer(self, run, source, dest):
        import rasterio
        from eozoo_core.raster.read import RasterReader
        from eozoo_core.raster.tiles import Window
        from eozoo_core.run.written import write_bytes

        with RasterReader(source) as reader:
            grid = reader.info.grid
            image = reader.read(Window(0, 0, grid.height, grid.width))
        y = self.predict(run, {"image": image[None]})["y"][0]
        shape = {"count": 1, "height": grid.height, "width": grid.width}
        with rasterio.MemoryFile() as memory:
            with memory.open(**{"transform": grid.transform, **self.profile, **shape}) as data:
                data.write(np.where(np.isfinite(y), y, NODATA).astype("float32"))
                data.units = (self.unit,)
            return [write_bytes(dest / "y.tif", bytes(memory.getbuffer()))]

    @classmethod
    def sample(cls, root):
        import rasterio

        made, random = super().sample(root), np.random.default_rng(1)
        shape = {"count": 2, "height": 9, "width": 12, "transform": rasterio.Affine(*TRANSFORM)}
        with rasterio.open(root / "scene.tif", "w", **ToyMaps.profile, **shape) as data:
            data.write(random.normal(size=(2, 9, 12)).astype("float32"))
        return Sample(made.settings, root / "scene.tif", {"image": random.normal(size=(2, 2, 8, 8)).astype("float32")})
