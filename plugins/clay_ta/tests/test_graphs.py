"""Exported graphs: the calendar in whole numbers, and a file that onnxruntime alone runs."""

import json

import numpy as np
import pytest
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_clay_ta.calendar import calendar
from eozoo_clay_ta.sample_schema import KELVIN, time7
from eozoo_clay_ta.settings import ClaySettings
from eozoo_clay_ta.task import ClayTa
from eozoo_core import Run
from eozoo_core.settings.config import load_settings, to_dict
from hypothesis import example, given
from hypothesis import strategies as st


@given(st.integers(0, 4_260_000_000))  # to the year 2104, which is behind 2100, no leap year
@example(951_782_400)  # 29 February 2000
@example(4_107_542_400)  # 1 March 2100
@example(1_704_067_199)  # the last second of 2023
def test_calendar_is_that_of_the_samples(seconds):
    when = np.array([seconds]).astype("datetime64[s]").astype("datetime64[m]")
    found = calendar(torch.tensor([float(seconds)], dtype=torch.float64), torch.tensor([0.5]))
    np.testing.assert_array_equal(found, time7(when, np.array([0.5])))


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    overrides = ["train.epochs=1", "infer.unit=K", "model.encoder_input_size=16", "train.batch_size=64"]
    settings = load_settings(ClaySettings, None, overrides, to_dict(prepared))
    run = Run.create(tmp_path_factory.mktemp("graph") / "run", "clay_ta", settings)
    ClayTa(settings, Registry.discover()).train(run)
    return run


@pytest.mark.slow
def test_onnx_says_what_predict_says(run, tmp_path):
    import onnxruntime

    task = ClayTa(run.settings, Registry.discover())
    lines = export(task, run, "onnx", tmp_path / "ta.onnx")
    assert "-> ta [K]; largest difference from predict" in lines[0]
    session = onnxruntime.InferenceSession(tmp_path / "ta.onnx")
    about = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])["x"]["about"]
    assert about.startswith("bands sw038, wv063")
    assert about.endswith("elevation m, land 1 and sea 0; NaN = missing")
    given_ = task.graph(run).inputs
    given_["x"] = np.concatenate([given_["x"]] * 2)
    given_ |= {name: np.concatenate([given_[name]] * 2) for name in ("time", "lat", "lon", "landcover")}
    given_["x"][0, 4, 0, 8] = np.nan
    given_["time"][1] = np.nan
    given_["lat"][2] = np.nan
    given_["landcover"][3:5] = 17, -1  # no classes
    (ta,) = session.run(None, given_)
    assert np.isnan(ta).tolist() == [True] * 5 + [False] * 3
    np.testing.assert_allclose(ta, task.predict(run, given_)["ta"], atol=1e-4)
    assert ta[5] > KELVIN - 60
