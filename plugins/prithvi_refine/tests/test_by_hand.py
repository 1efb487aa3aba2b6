"""``predict`` against numbers worked out on paper: a change of known size on reflectance, bounds, missing pixels."""

import numpy as np
import pytest
import torch
from eozoo import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine.settings import PrithviSettings
from eozoo_prithvi_refine.task import PrithviRefine


@pytest.fixture
def trained(tmp_path):
    """The head alone, all of whose weights are 0 but the last bias: the same change of every pixel, by band."""

    def make(change, *overrides):
        small = ["model.encoder=none", "model.head_width=8", "model.num_convnext_blocks=1", "runtime.device=cpu"]
        settings = load_settings(PrithviSettings, None, [*small, *overrides])
        run, task = (
            Run.create(tmp_path / "run", "prithvi_refine", settings),
            PrithviRefine(settings, Registry.discover()),
        )
        from eozoo_prithvi_refine.refiner import PrithviRefiner

        state = PrithviRefiner(settings.model, None).state_dict()
        scaling = {"mean", "std"}
        zero = {name: values if name in scaling else torch.zeros_like(values) for name, values in state.items()}
        last = [name for name, values in state.items() if name.endswith("bias") and values.shape == (4,)][-1]
        zero[last] = torch.tensor(change)
        run.save("best", {"model": zero})
        return task, run

    return make


def batch():
    image = np.full((1, 4, 6, 6), 0.25, np.float32)
    image[0, 1], image[0, 3], image[0, 0, 2, 3] = 0.05, 0.9, np.nan
    return {"opt_v1": image, "month": np.array([6.0], "float32"), "biome": np.array([4.0], "float32")}


def test_a_bounded_change_of_reflectance(trained):
    # max_change 0.5: a raw change c becomes 0.5 tanh(c / 0.5). Of 0.1: 0.5 tanh 0.2 = 0.0986877; of -0.1 the same,
    # downwards; of 9: 0.5. Blue 0.25 + 0.0986877, green 0.05 - 0.0986877 is held at 0, red 0.25 + 0.5, NIR unchanged.
    task, run = trained([0.1, -0.1, 9.0, 0.0], "model.max_change=0.5")
    found = task.predict(run, batch())["refined"][0]
    np.testing.assert_allclose(found[:, 0, 0], [0.3486877, 0.0, 0.75, 0.9], atol=1e-6)
    assert np.isnan(found[:, 2, 3]).all()  # where blue is missing all four are
    assert np.isfinite(found).sum() == 4 * 35
    assert task.outputs()["refined"].startswith("reflectance")
