"""Exported graphs: the dates that numpy chooses, and a file that onnxruntime alone runs."""

import json

import numpy as np
import pytest
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_barlow_twins.encoders import EncoderInfo, SeriesEncoder, build_encoder
from eozoo_barlow_twins.graphs import WholeSeries
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.settings import SelectDates
from eozoo_barlow_twins.twins import make_twins
from eozoo_core import Run, ZooError
from eozoo_core.settings import Named
from eozoo_core.settings.config import load_settings
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = Named(
    name="btfm_transformer", options={"latent_dim": 8, "heads": 2, "layers": 1, "feedforward": 8, "dropout": 0.0}
)
INFO = EncoderInfo(SMALL, ("B02", "B03", "B04"), 4, 5)


class Seen(torch.nn.Module):
    """What the network was shown, in order: band 0 and the day of every date."""

    def forward(self, bands, doys):
        return torch.cat([bands[:, :, 0], doys.to(bands.dtype)], dim=1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30).flatmap(lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1)),
    st.integers(1, 3),
)
def test_the_graph_chooses_the_dates_that_maps_choose(clear, passes):
    clear = np.array(clear)
    n, dates = clear.shape
    bands = np.arange(n * dates * 3, dtype="float32").reshape(n, dates, 3)
    doys = np.arange(1, dates + 1)
    expected = SeriesEncoder(Seen(), 8, INFO, SelectDates(passes=passes), "cpu")(bands, clear, doys, np.arange(n))
    holed = np.where(clear[:, :, None], bands, np.nan)
    found = WholeSeries(Seen(), INFO, passes)(torch.from_numpy(holed), torch.from_numpy(np.tile(doys, (n, 1))))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def new_run(folder, task, *overrides):
    small = json.dumps(SMALL.model_dump())
    made = load_settings(task.Settings, None, [f"model.backbone={small}", "runtime.tensorboard=false", *overrides])
    run = Run.create(folder, task.__module__.split(".")[-1], made)
    INFO.note(run)
    return run, task(made, Registry.discover())


def standardised(model):
    model.standardise.mean.fill_(2000.0)
    model.standardise.std.fill_(500.0)


@pytest.mark.slow
def test_an_encoder_as_onnx(tmp_path):
    import onnxruntime

    torch.manual_seed(0)
    run, task = new_run(tmp_path / "run", BarlowTwinsTask)
    model = make_twins(task.settings, task.registry, INFO, None)
    standardised(model.encoder)
    run.save("best", {"model": model.state_dict()})
    lines = export(task, run, "onnx", tmp_path / "encoder.onnx")
    assert lines[0].startswith("bands float32 (batch, dates, 3), doys int64 (batch, dates) -> embedding [1]; largest")
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    bands = np.random.default_rng(0).uniform(500, 4000, (3, 9, 3)).astype("float32")
    bands[0, ::2], bands[1, 2, 1] = np.nan, np.nan  # four clear dates of nine: too few; one band of one date
    doys = np.tile(np.arange(9) * 40 + 5, (3, 1))
    (found,) = session.run(None, {"bands": bands, "doys": doys})
    assert np.isnan(found).any(axis=1).tolist() == [True, False, False]
    np.testing.assert_allclose(found, task.predict(run, {"bands": bands, "doys": doys})["embedding"], atol=1e-5)


@pytest.mark.slow
def test_a_classifier_names_its_classes(tmp_path):
    run, task = new_run(tmp_path / "run", LandCoverTask, 'data.legend={"3": water, "7": forest}')
    model = task._model(INFO)
    standardised(model.encoder)
    run.save("best", {"model": model.state_dict()})
    export(task, run, "torch-export", tmp_path / "classes.pt2")
    told = {"eozoo.json": ""}
    torch.export.load(tmp_path / "classes.pt2", extra_files=told)
    outputs = json.loads(told["eozoo.json"])["outputs"]
    assert outputs["probabilities"]["about"] == "of the classes 3 water, 7 forest"
    assert outputs["class"]["unit"] == "class code"


def test_random_dates_are_no_function_of_the_input(tmp_path):
    run, task = new_run(tmp_path / "run", BarlowTwinsTask, "infer.selection=random")
    run.save("best", {"model": make_twins(task.settings, task.registry, INFO, None).state_dict()})
    with pytest.raises(ZooError, match=r"random dates cannot be exported; add --set infer\.selection=even"):
        task.graph(run)
    assert build_encoder(Registry.discover(), INFO).backbone.latent_dim == 8
