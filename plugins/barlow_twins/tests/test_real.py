"""The real cube, in seconds, where the data lie beside the clone; and the document's numbers against its JSON."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from eozoo.registry import Registry
from eozoo_barlow_twins.prepare.cubes import prepare_cube
from eozoo_barlow_twins.prepare.settings import CubeSettings
from eozoo_barlow_twins.pretrain import BarlowTwinsTask
from eozoo_barlow_twins.tiles import Tile
from eozoo_core import Run, ZooError
from eozoo_core.settings import ScheduleSettings
from eozoo_core.settings.config import load_settings

ROOT = Path(__file__).parents[3]
CUBE = ROOT.parent / "shared" / "data" / "barlow_s2ts" / "00002806639B424A"


@pytest.mark.skipif(not CUBE.is_dir(), reason="the real data are not beside the clone")
def test_real_cube_from_prepare_to_map(tmp_path):
    folder = tmp_path / "data" / "flanders" / "processed"
    some = CubeSettings(folder=str(CUBE), tile="first", labels=("LC", "CT"), fields=True)
    tile = Tile(prepare_cube(some, folder))
    assert tile.shape == (118, 64, 64, 10)
    assert tile.info["dates"][0] == "2017-08-04"
    assert (tile.counts.min(), tile.counts.max()) == (35, 64)
    codes, counts = np.unique(tile.layer("labels.npy"), return_counts=True)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == {11: 1401, 13: 835, 60: 107, 99: 1753}
    values = ["data.dataset=flanders", f"runtime.data_dir={tmp_path}", "train.epochs=1", "runtime.tensorboard=false"]
    values += ["model.backbone={name: btfm_mlp, options: {latent_dim: 16, hidden_dim: 32}}"]
    values += ["train.schedule.warmup_steps=0", "infer.passes=1", "infer.products=[embedding]", "runtime.quiet=true"]
    settings = load_settings(BarlowTwinsTask.Settings, None, values)
    run, task = Run.create(tmp_path / "run", "barlow_twins", settings), BarlowTwinsTask(settings, Registry.discover())
    task.train(run)
    with rasterio.open(task.infer(run, tile.path, tmp_path / "maps")[0]) as data:
        assert data.crs.to_epsg() == 32631
        assert data.bounds == (501360, 5629040, 502000, 5629680)
        assert np.isfinite(data.read()).all()


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    import benchmarks.real_barlow

    return benchmarks.real_barlow


def test_fields_are_divided_whole(script):
    target = np.repeat([0, 0, 0, 1, 1, -1], 10)
    fields = np.repeat([1, 2, 3, 4, 5, 6], 10)
    for draw in range(20):
        train = script.split_fields(target, fields, draw)
        assert [len(np.unique(train[fields == f])) for f in range(1, 7)] == [1] * 6
        assert set(target[train]) == set(target[~train]) - {-1} == {0, 1}
        assert not train[target == -1].any()


def test_documented_settings_are_accepted():
    from eozoo_barlow_twins import settings

    home = Path(settings.__file__).parent
    pretrain = load_settings(settings.BarlowSettings, home / "documented.yaml")
    assert pretrain.train.learning_rate == 1e-5
    assert pretrain.train.schedule == ScheduleSettings(name="linear", warmup_steps=100)
    assert pretrain.model.backbone.options["position"] == "index"
    landcover = load_settings(settings.LandCoverSettings, home / "documented_landcover.yaml")
    assert landcover.train.schedule == ScheduleSettings(name="cosine", warmup_steps=2000, hold_steps=11000)


@pytest.mark.parametrize(("fall", "name"), [("none", "constant"), ("linear", "linear"), ("cosine", "cosine")])
def test_the_fall_of_earlier_files_is_the_name_of_the_schedule(fall, name, tmp_path):
    """Files and runs written before the schedule was shared say schedule.fall."""
    from eozoo_barlow_twins.settings import BarlowSettings

    (tmp_path / "old.yaml").write_text(f"train: {{schedule: {{warmup_steps: 7, hold_steps: 3, fall: {fall}}}}}\n")
    found = load_settings(BarlowSettings, tmp_path / "old.yaml").train.schedule
    assert found == ScheduleSettings(name=name, warmup_steps=7, hold_steps=3)
    assert load_settings(BarlowSettings, None, [f"train.schedule.fall={fall}"]).train.schedule.name == name
    for wrong in ("train.schedule.fall=slow", "train.schedule.fall=none train.schedule.name=linear"):
        with pytest.raises(ZooError, match=r"write schedule.name: constant, linear, cosine"):
            load_settings(BarlowSettings, None, wrong.split())
