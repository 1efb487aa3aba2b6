"""Maps: the value at every window's centre, edges and holes missing, interpolation between nodes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from eozoo.registry import Registry
from eozoo_clay_ta.grid import KoGrid
from eozoo_clay_ta.maps import TaScene, map_fields, node_rows, spread, usable_centres
from eozoo_clay_ta.sample_schema import Normalisation, one_hot, time7, windows
from eozoo_clay_ta.scenes import Scene, ScenePaths
from eozoo_clay_ta.settings import ClayInfer, ClayModel, ClaySettings
from eozoo_clay_ta.solar import zenith
from eozoo_clay_ta.static import Static
from eozoo_clay_ta.survey import ClaySurvey
from eozoo_clay_ta.system import build_model
from eozoo_clay_ta.task import ClayTa
from eozoo_core.task.data import tensors
from hypothesis import given
from hypothesis import strategies as st

GRID = KoGrid(20, 16)
WHEN = np.datetime64("2022-07-01T03:00", "s").item()


@pytest.fixture
def scene():
    random = np.random.default_rng(0)
    bt = random.normal(280, 8, (10, 16, 20)).astype(np.float32)
    rf = random.uniform(0, 1, (6, 16, 20)).astype(np.float32)
    return Scene(bt, rf, zenith(WHEN, *GRID.places).astype(np.float32))


@pytest.fixture
def static():
    mask = np.ones((16, 20), np.float32)
    mask[:, 12:] = 0
    return Static(np.full((16, 20), 50, np.float32), mask, np.where(mask > 0, 4, 16).astype(np.float32))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    mean = np.array([280.0] * 10 + [0.5] * 6 + [30, 50, 0], np.float32)
    std = np.array([8.0] * 10 + [0.3] * 6 + [20, 10, 1], np.float32)
    system = build_model(ClayModel(type="clay_free", hidden=16), Normalisation(mean, std, 12.0, 10.0), None)
    system.adapt()
    ports = ClayTa(ClaySettings()).ports(ClaySurvey())
    system.inputs, system.outputs = ports.inputs, ports.outputs
    return system.eval()


class Drawn:
    """Stands for core's: one draw of ``model``; counts windows."""

    def __init__(self, model):
        self.model, self.windows, self.progress = model, 0, lambda done, total: None

    def look(self, arrays):
        """Judge nothing."""

    def unwatched(self, arrays):
        return self(arrays)

    def __call__(self, arrays):
        self.windows += len(arrays["x"])
        with torch.no_grad():
            return {"ta": self.model.predict(tensors(arrays))["ta"].numpy()}


def predict_map(model, scene, static, options):
    """Return the map and how many windows were predicted."""
    opened = TaScene(Path("bt"), GRID.raster, paths=ScenePaths("", ""), when=WHEN, ko=GRID)
    drawn = Drawn(model)
    return map_fields(drawn, scene, static, opened, options)["ta"], drawn.windows


def test_every_centre_by_hand(scene, static, model):
    found, count = predict_map(model, scene, static, ClayInfer(batch_size=7))
    assert count == 8 * 12
    assert np.isnan(found[:4]).all()
    assert np.isnan(found[:, -4:]).all()
    assert np.isfinite(found[4:-4, 4:-4]).all()
    row, col = 9, 13
    fields = np.concatenate([scene.bt, scene.rf, scene.sza[None], static.dem[None], static.lsmask[None]])
    x = Normalisation.of(model.mean.tolist(), model.std.tolist(), 12.0, 10.0).inputs(
        windows(fields, np.array([col]), np.array([row]))
    )
    lat, lon = GRID.place_of(col, row)
    inputs = {
        "x": x,
        "time7": time7(np.array([WHEN], "M8[s]"), x[:, 16, 4, 4]),
        "loc": np.array([[lat, lon, 2000]], np.float32),
        "landcover_onehot": one_hot(np.array([16])),
    }
    with torch.no_grad():
        expected = float(model({k: torch.as_tensor(v) for k, v in inputs.items()})["z"][0]) * 10 + 12
    assert found[row, col] == pytest.approx(expected, abs=1e-4)


def test_a_hole_takes_its_windows(scene, static, model):
    scene.bt[3, 8, 8] = np.nan
    found, _ = predict_map(model, scene, static, ClayInfer())
    missing = np.isnan(found[4:-4, 4:-4])
    _, cols = np.nonzero(~missing)
    assert missing.sum() == 8 * 9  # columns 4 to 12, all rows
    assert (cols + 4 > 12).all()


def test_without_class_and_land_only(scene, static, model):
    static.landcover[7, 7] = np.nan
    found, _ = predict_map(model, scene, static, ClayInfer(land_only=True))
    assert np.isnan(found[7, 7])
    assert np.isfinite(found[7, 8])
    assert np.isnan(found[:, 12:]).all()
    assert np.isfinite(found[4:-4, 4:12]).sum() == 8 * 8 - 1


def test_stride_is_exact_at_the_nodes(scene, static, model):
    full, _ = predict_map(model, scene, static, ClayInfer())
    coarse, count = predict_map(model, scene, static, ClayInfer(stride=3))
    rows, cols = node_rows(16, 3), node_rows(20, 3)
    assert rows.tolist() == [4, 7, 10, 11]
    assert cols.tolist() == [4, 7, 10, 13, 15]
    assert count == 20
    np.testing.assert_allclose(coarse[np.ix_(rows, cols)], full[np.ix_(rows, cols)], atol=1e-4)
    np.testing.assert_array_equal(np.isnan(coarse), np.isnan(full))


@given(st.integers(9, 40), st.integers(9, 40), st.integers(1, 50))
def test_a_plane_is_interpolated_exactly(height, width, stride):
    rows, cols = node_rows(height, stride), node_rows(width, stride)
    plane = 3.0 * np.arange(height)[:, None] - 2.0 * np.arange(width)[None]
    full = spread(plane[np.ix_(rows, cols)], (rows, cols), (height, width))
    np.testing.assert_allclose(full[4 : height - 4, 4 : width - 4], plane[4 : height - 4, 4 : width - 4], atol=1e-9)
    outside = np.ones((height, width), bool)
    outside[4 : height - 4, 4 : width - 4] = False
    assert np.isnan(full[outside]).all()


def test_a_missing_node_leaves_its_pixels_to_the_others():
    rows = cols = np.array([4, 6])
    full = spread(np.array([[1.0, np.nan], [1.0, 1.0]]), (rows, cols), (11, 11))
    assert np.isnan(full[4, 6])
    assert full[5, 5] == 1
    assert full[4, 5] == 1


def test_a_scene_without_a_whole_window_is_missing_everywhere(scene, static, model):
    scene.bt[0] = np.nan
    found, _ = predict_map(model, scene, static, ClayInfer())
    assert found.shape == (16, 20)
    assert np.isnan(found).all()


def test_usable_centres_of_a_whole_grid():
    """892 x 892 of 900 x 900 windows lie inside."""
    static = Static(*(np.ones((900, 900), np.float32) for _ in range(3)))
    fields = np.ones((19, 900, 900), np.float32)
    assert int(usable_centres(fields, static, False).sum()) == 892 * 892 == 795_664


def test_whole_verb_on_real_files(prepared, tmp_path):
    """Train two epochs, map a folder and a single file of it, read the map back."""
    import rasterio
    from eozoo_core import Run, ZooError
    from eozoo_core.settings.config import load_settings, to_dict

    sets = ["model.type=clay_free", "train.epochs=2", "train.schedule.warmup_steps=0", "infer.unit=K"]
    settings = load_settings(ClayTa.Settings, None, sets, to_dict(prepared))
    task, run = ClayTa(settings, Registry.discover()), Run.create(tmp_path / "run", "clay_ta", settings)
    task.train(run)
    source = Path(prepared.prepare.build_index.scenes_dir).parent / "map"
    files = task.infer(run, source, tmp_path / "maps")
    assert [f.name for f in files] == ["ta_202204040300.tif", "ta_202204040300.png"]
    with rasterio.open(files[0]) as data:
        assert data.units == ("K",)
        assert np.isnan(data.nodata)
        assert data.tags()["ENCODER"] == "no encoder"
        assert data.tags()["SYNTHETIC"] == "YES"
        assert data.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert data.transform.c == -540_000
        values = data.read(1)
        assert 250 < np.nanmedian(values) < 310
    one = task.infer(run, source / "gk2a_ami_le1b_ir105_ko020lc_202204040300.nc", tmp_path / "one")
    with rasterio.open(one[0]) as data:
        np.testing.assert_array_equal(data.read(1), values)
    with pytest.raises(ZooError, match=r"none.nc: no such file or folder"):
        task.infer(run, source / "none.nc", tmp_path / "none")
    (tmp_path / "none.nc").write_bytes(b"")
    with pytest.raises(ZooError, match=r"none.nc: is no scene"):
        task.infer(run, tmp_path / "none.nc", tmp_path / "none")
