"""A Sentinel-2 product is refined as a scene: its bands, its day, and reflectance by its own baseline."""

import numpy as np
import pytest
from eozoo_core import ZooError
from eozoo_core.sources.find import find_assemblies
from eozoo_prithvi_refine.maps import open_scene
from eozoo_prithvi_refine.settings import PrithviInferSettings, PrithviSettings
from products import write_safe


def test_a_product_is_a_scene_of_four_bands(tmp_path):
    (found,) = find_assemblies(write_safe(tmp_path))
    scene = open_scene(found, PrithviSettings(infer=PrithviInferSettings(biome=4)))
    with scene.open() as reader:
        values = scene.values(reader.read(scene.grid.whole, scene.bands))
    np.testing.assert_allclose(values[:, 0, 0], [0.0, 0.01, 0.02, 0.03], atol=1e-6)  # blue, green, red, near infrared
    assert np.isnan(values[:, -1, -1]).all()
    assert int(scene.arrays["month"]) == 6
    assert any("(number - 1000) / 10000" in note for note in scene.notes)
    assert scene.tags["ACQUIRED"] == "2024-06-15T10:40:31Z"
    assert scene.scl.names == ("SCL",)  # for infer.mask.scl
    with pytest.raises(ZooError, match="names no biome"):
        open_scene(found, PrithviSettings())
