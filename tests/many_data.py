"""Small made scenes, as files and as a STAC collection, for docs/many_scenes.md.

``python tests/many_data.py FOLDER`` writes them.
"""

import json
import sys
from pathlib import Path

import numpy as np
import rasterio
from own_data import BANDS, fields
from rasterio.warp import transform_bounds
from rasterio.windows import Window

ACROSS, SIDE, STEP = 16, 64, 48  # fields of the country; px of a scene, and from one to the next: 16 px overlap
ASSETS = dict(zip(("B02", "B03", "B04", "B08"), BANDS, strict=True))
WHEN = "2024-06-15T10:40:31Z"
SETTINGS = """\
model: {name: residual_cnn, options: {width: 8, depth: 1}}
data: {crop: 32}
train: {epochs: 3, epoch_steps: 6, learning_rate: 0.01, batch_size: 4}
runtime: {tensorboard: false}
eval: {baselines: []}
"""


def write_all(root):
    """Write what the page names: a training site, nine scenes of a country, a STAC collection of them, settings."""
    fields(root / "site.tif", root / "fields.gpkg", 500_000.0, 12, 0)
    fields(root / "country.tif", root / "country.gpkg", 540_000.0, ACROSS, 1)
    names = cut(root / "country.tif", root / "scenes", root / "stac")
    collection(root / "stac", names)
    (root / "again").mkdir()
    (root / "scenes/scene_04.tif").rename(root / "again/scene_04.tif")
    whole = (root / "again/scene_04.tif").read_bytes()
    (root / "scenes/scene_04.tif").write_bytes(whole[: len(whole) // 2])
    (root / "stac/scene_00.tif").write_bytes((root / "scenes/scene_00.tif").read_bytes())
    (root / "small.yaml").write_text(SETTINGS)


def cut(country, scenes, stac):
    """Write windows of a raster as scenes of reflectance, and each as a STAC item of digital numbers; return names."""
    scenes.mkdir()
    names = []
    with rasterio.open(country) as data:
        keep = {key: data.profile[key] for key in ("driver", "dtype", "count", "crs", "nodata")}
        for row in range(0, data.height - SIDE + 1, STEP):
            for col in range(0, data.width - SIDE + 1, STEP):
                window = Window(col, row, SIDE, SIDE)
                place = {"height": SIDE, "width": SIDE, "transform": data.window_transform(window)}
                values, number = data.read(window=window), len(names)
                with rasterio.open(scenes / f"scene_{number:02d}.tif", "w", **keep | place) as out:
                    out.write(values)
                    out.descriptions, out.units = data.descriptions, data.units
                names.append(item(stac / f"S2A_{number:02d}", values, keep | place))
    return names


def item(folder, values, profile):
    """Write a scene as Sentinel-2 is delivered, a file for each band, with its item; return its name."""
    folder.mkdir(parents=True)
    profile |= {"count": 1, "dtype": "uint16", "nodata": 0, "tiled": True, "blockxsize": 32, "blockysize": 32}
    told = {"nodata": 0, "scale": 1e-4, "offset": -0.1, "unit": "1"}
    assets = {}
    for (asset, name), band in zip(ASSETS.items(), values, strict=True):
        with rasterio.open(folder / f"{asset}.tif", "w", **profile) as out:
            out.write(np.round(band * 1e4 + 1000).astype("uint16"), 1)
            box = transform_bounds(out.crs, "EPSG:4326", *out.bounds)
        assets[asset] = {"href": f"./{asset}.tif", "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                         "roles": ["data"], "gsd": 10, "eo:bands": [{"name": asset, "common_name": name}],
                         "raster:bands": [told]}  # fmt: skip
    ring = [[box[i], box[j]] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))]
    feature = {"type": "Feature", "stac_version": "1.0.0", "stac_extensions": [], "id": folder.name, "bbox": list(box),
               "collection": "sentinel-2-l2a", "geometry": {"type": "Polygon", "coordinates": [ring]}, "links": [],
               "properties": {"datetime": WHEN, "constellation": "sentinel-2", "s2:processing_baseline": "05.10"},
               "assets": assets}  # fmt: skip
    (folder / f"{folder.name}.json").write_text(json.dumps(feature))
    return folder.name


def collection(folder, names):
    """Write the collection of all items."""
    links = [{"rel": "item", "href": f"./{name}/{name}.json"} for name in names]
    whole = {"type": "Collection", "stac_version": "1.0.0", "id": "sentinel-2-l2a", "description": "Made up.",
             "license": "other", "links": links, "extent": {"spatial": {"bbox": [[15, 48, 16, 49]]},
                                                            "temporal": {"interval": [[WHEN, WHEN]]}}}  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(whole))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
