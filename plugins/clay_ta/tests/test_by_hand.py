"""``predict`` against numbers worked out on paper: units, z-scores, the Kelvin offset; our own code is not asked."""

import numpy as np
import pytest
import torch
from eozoo import Registry
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run
from eozoo_core.settings.config import load_settings

BT, DEM = 3, 17  # the fourth brightness temperature and the elevation among the 19 channels


@pytest.fixture
def task(tmp_path):
    """A ridge of two weights: 0.5 on z of one brightness temperature, -0.25 on z of elevation, 0.1 beside them.

    Statistics: 290 K +- 10 K, 200 m +- 100 m, temperature 12 degC +- 8 degC; all others are 0 +- 1.
    """

    def make(*overrides):
        settings = load_settings(ClaySettings, None, ["model.type=centre_ridge", "runtime.device=cpu", *overrides])
        run = Run.create(tmp_path / "run", "clay_ta", settings)
        weight = torch.zeros(1, 47, dtype=torch.float64)
        weight[0, BT], weight[0, DEM] = 0.5, -0.25
        mean, std = torch.zeros(19), torch.ones(19)
        mean[BT], std[BT], mean[DEM], std[DEM] = 290.0, 10.0, 200.0, 100.0
        task = ClayTa(settings, Registry.discover())
        state = {"direct.weight": weight, "direct.bias": torch.tensor([0.1], dtype=torch.float64)}
        scaling = {"mean": mean, "std": std, "ta_mean": torch.tensor(12.0), "ta_std": torch.tensor(8.0)}
        kinds = {name: values.dtype for name, values in _untrained().items()}
        run.save("best", {"model": {n: v.to(kinds[n]) for n, v in (state | scaling).items()}})
        return task, run

    return make


def _untrained():
    from eozoo_clay_ta.model import CentreRidge
    from eozoo_clay_ta.sample_schema import EMPTY

    return CentreRidge(EMPTY).state_dict()


def batch():
    """Two windows: 300 K and 400 m at the centre, 280 K and 200 m; the pixels around hold something else."""
    x = np.full((2, 19, 9, 9), 0.5, np.float32)
    x[:, BT], x[:, DEM] = 250.0, 1000.0
    x[0, BT, 4, 4], x[0, DEM, 4, 4] = 300.0, 400.0
    x[1, BT, 4, 4], x[1, DEM, 4, 4] = 280.0, 200.0
    time, place = np.array([1.64e9, 1.65e9]), np.array([36.0, 37.0])
    return {"x": x, "time": time, "lat": place, "lon": place + 90, "landcover": np.array([1, 2])}


def test_temperature_in_degrees_and_kelvin(task):
    # z of 300 K is (300 - 290) / 10 = 1, of 400 m (400 - 200) / 100 = 2: 0.5 x 1 - 0.25 x 2 + 0.1 = 0.1
    # z of 280 K is -1, of 200 m 0: -0.5 + 0.1 = -0.4. In degC: 12 + 8 x 0.1 = 12.8 and 12 - 8 x 0.4 = 8.8.
    made, run = task("infer.unit=degC")
    np.testing.assert_allclose(made.predict(run, batch())["ta"], [12.8, 8.8], atol=1e-5)
    assert made.outputs() == {"ta": "degC"}
    # In kelvin each is 273.15 more.
    made, run = task("infer.unit=K")
    np.testing.assert_allclose(made.predict(run, batch())["ta"], [285.95, 281.95], atol=1e-4)
    assert made.outputs() == {"ta": "K"}


def test_a_missing_value_anywhere_hides_its_sample_alone(task):
    made, run = task("infer.unit=degC")
    given = batch()
    given["x"][0, 9, 0, 8] = np.nan  # a corner of another channel
    np.testing.assert_allclose(made.predict(run, given)["ta"], [np.nan, 8.8], atol=1e-5)
