"""Exported graphs: the dates that numpy chooses, and a file that onnxruntime alone runs."""

import json

import numpy as np
import pytest
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_barlow_twins.landcover import LandCoverTask
from eozoo_barlow_twins.networks import Encoder
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.settings import SelectDates
from eozoo_barlow_twins.survey import UNIT, PixelSurvey
from eozoo_barlow_twins.system import PixelSystem
from eozoo_barlow_twins.views import Dates
from eozoo_core import Run, ZooError
from eozoo_core.settings import Named
from eozoo_core.settings.config import load_settings
from eozoo_core.task.survey import BandSurvey
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = Named(
    name="btfm_transformer", options={"latent_dim": 8, "heads": 2, "layers": 1, "feedforward": 8, "dropout": 0.0}
)
BANDS = tuple(BandSurvey(name=n, unit=UNIT, mean=2000.0, std=500.0, count=9) for n in ("B02", "B03", "B04"))
SHAPE = {"sample_size": 4, "min_valid": 5}


class Seen(torch.nn.Module):
    """What the network was shown, in order: band 0 and the day of every date."""

    latent_dim = 8

    def forward(self, bands, doys):
        return torch.cat([bands[:, :, 0], doys.to(bands.dtype)], dim=1)


class Shown(PixelSystem):
    def once(self, bands, doys):
        return {"seen": self.encoder(bands, doys)}

    def finish(self, raw, arrays):
        return {"seen": self.averaged(raw["seen"], arrays)}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30).flatmap(lambda t: st.lists(st.lists(st.booleans(), min_size=t, max_size=t), min_size=1)),
    st.integers(1, 3),
)
def test_the_graph_chooses_the_dates_that_maps_choose(clear, passes):
    clear = np.array(clear)
    n, dates = clear.shape
    bands = np.arange(n * dates * 3, dtype="float32").reshape(n, dates, 3)
    doys, select = np.arange(1, dates + 1), SelectDates(passes=passes)
    survey = PixelSurvey(bands=tuple(band.model_copy(update={"mean": 0.0, "std": 1.0}) for band in BANDS), **SHAPE)
    system, usable = Shown(Encoder(Seen(), 3), survey, select), np.flatnonzero(clear.sum(axis=1) > 5)
    chosen = {
        name: torch.from_numpy(v) for name, v in Dates(4, select)(bands[usable], clear[usable], doys, usable).items()
    }
    expected = np.full((n, 8), np.nan, np.float32)
    expected[usable] = system.predict(chosen)["seen"]
    holed = torch.from_numpy(np.where(clear[:, :, None], bands, np.nan))
    found = system.predict({"bands": holed, "doys": torch.from_numpy(np.tile(doys, (n, 1)))})["seen"]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_random_dates_follow_from_the_series_alone():
    """Not from its place: 2,048 rows on, predict's parts begin again, and there the same dates would be drawn."""
    survey = PixelSurvey(bands=tuple(band.model_copy(update={"mean": 0.0, "std": 1.0}) for band in BANDS), **SHAPE)
    system = Shown(Encoder(Seen(), 3), survey, SelectDates(selection="random", passes=1))
    bands = torch.arange(300 * 40, dtype=torch.float32).reshape(300, 40, 1).expand(-1, -1, 3).clone()
    bands[:, ::7] = float("nan")
    arrays = {"bands": bands, "doys": torch.arange(1, 41).expand(300, -1)}
    seen = system.predict(arrays)["seen"]
    assert len({tuple(days) for days in seen[:, 4:].tolist()}) > 290  # of 46,376 choices of 4 of 34 dates
    one = system.predict({name: values[[7, 5]] for name, values in arrays.items()})["seen"]
    assert torch.equal(one, seen[[7, 5]])


def new_run(folder, cls, *overrides):
    """A run whose best.pt holds a network as it is built, on bands of mean 2000 and deviation 500."""
    small = json.dumps(SMALL.model_dump())
    sets = [f"model.backbone={small}", "data.sample_size=4", "data.min_valid=5", *overrides]
    made = load_settings(cls.Settings, None, sets)
    name = cls.__module__.split(".")[-1].replace("pretrain", "barlow_twins").replace("landcover", "barlow_landcover")
    run, task = Run.create(folder, name, made), cls(made, Registry.discover())
    survey = task.expects().model_copy(update={"bands": BANDS})
    torch.manual_seed(0)
    run.save("best", {"model": task.system(survey, True).state_dict(), "survey": survey.model_dump(mode="python")})
    run.note("survey", survey.model_dump(mode="json"))
    return run, task


@pytest.mark.slow
def test_an_encoder_as_onnx(tmp_path):
    import onnxruntime

    run, task = new_run(tmp_path / "run", BarlowTwinsTask)
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
    export(task, run, "torch-export", tmp_path / "classes.pt2")
    told = {"eozoo.json": ""}
    torch.export.load(tmp_path / "classes.pt2", extra_files=told)
    outputs = json.loads(told["eozoo.json"])["outputs"]
    assert outputs["probabilities"]["about"] == "bands water, forest, in this order; unit 1; NaN = missing"
    assert outputs["class"]["about"] == "3 water, 7 forest; unit class code; NaN = missing"
    assert outputs["class"]["unit"] == "class code"


def test_random_dates_are_no_function_of_the_input(tmp_path):
    run, task = new_run(tmp_path / "run", BarlowTwinsTask, "infer.selection=random")
    with pytest.raises(ZooError, match=r"random dates cannot be exported; add --set infer\.selection=even"):
        task.graph(run)


def test_the_projector_is_not_exported(tmp_path):
    run, task = new_run(tmp_path / "run", BarlowTwinsTask)
    graph = task.graph(run)
    assert not [name for name in graph.module.state_dict() if "projector" in name]
    assert {"embedding"} == set(graph.outputs)
    assert sum(p.numel() for p in graph.module.parameters()) == task.network(run).parameters
