import subprocess
import sys

import eozoo_gedi_sparse.plugin as plugin
import pytest
import torch
from eozoo.registry import Registry
from eozoo_core.errors import ZooError
from eozoo_core.settings.config import build_settings, load_settings, to_dict
from eozoo_gedi_sparse.settings import DOCUMENTED, DOCUMENTED_BANDS, FEW_SHOTS, GediSettings


def test_documented_settings_are_those_of_the_document():
    s = load_settings(GediSettings, DOCUMENTED)
    t = s.train
    assert (t.members, t.epochs, t.batch_size, t.accumulate) == (1, 100, 32, 1)
    assert (t.optimizer, t.learning_rate, t.weight_decay, t.momentum) == ("adam", 1e-7, 1e-8, 0.9)
    assert (t.schedule.name, t.schedule.max_learning_rate, t.schedule.half_cycle_epochs) == ("triangular2", 0.1, 2)
    assert (t.clip_norm, t.clip_value, t.precision, t.checkpoint_every) == (1.0, None, "fp32", 1)
    assert (s.model.name, s.model.loss.name) == ("gedi_unet", "gaussian_nll")
    assert s.model.options == {"width": 64, "bilinear": True, "dropout": 0.0}
    assert s.data.band_names == DOCUMENTED_BANDS
    assert len(DOCUMENTED_BANDS) == 14
    assert (s.data.normalise, s.data.standardise_target, s.data.crop, s.data.flips) == ("none", False, None, False)


def test_documented_options_build_the_documented_network():
    from eozoo_gedi_sparse.networks import gedi_unet

    network = gedi_unet(in_channels=14, **load_settings(GediSettings, DOCUMENTED).model.options)
    assert sum(p.numel() for p in network.parameters()) == 17_250_818


def test_settings_round_trip_and_refuse_unknown_keys():
    s = load_settings(GediSettings, overrides=["data.bands=[B4, 7]", "data.target=rh95", "runtime.input_dir=x"])
    assert s.data.bands == ("B4", 7)
    assert build_settings(GediSettings, to_dict(s)) == s
    with pytest.raises(ZooError, match=r"data\.crop_.*Did you mean"):
        load_settings(GediSettings, overrides=["data.crop_on_lable=true"])


@pytest.mark.parametrize(
    ("override", "message"),
    [("infer.stride=300", "stride 300"), ("eval.strata=[0, 5, 5]", "rise"), ("data.unit=feet", r"data\.unit")],
)
def test_impossible_values_are_refused(override, message):
    with pytest.raises(ZooError, match=message):
        load_settings(GediSettings, overrides=[override])


def test_stride_of_earlier_runs_is_read_as_the_overlap_that_it_left():
    assert load_settings(GediSettings).infer.overlap == 32
    earlier = {"infer": {"window": 256, "stride": 192}}
    assert load_settings(GediSettings, base=earlier).infer.overlap == 64
    assert load_settings(GediSettings, base=earlier, overrides=["infer.stride=128"]).infer.overlap == 128
    both = load_settings(GediSettings, base=earlier, overrides=["infer.overlap=16"])
    assert (both.infer.window, both.infer.overlap) == (256, 16)  # the later word wins
    now = load_settings(GediSettings, overrides=["infer.stride=200"])
    assert (now.infer.window, now.infer.overlap) == (256, 56)
    assert load_settings(GediSettings, base=to_dict(now), overrides=["infer.stride=256"]).infer.overlap == 0
    with pytest.raises(ZooError, match="infer: overlap 256 is not below window 256"):
        load_settings(GediSettings, overrides=["infer.overlap=256"])


def test_strata_follow_the_unit():
    assert GediSettings().strata == (0, 5, 10, 20, 30)
    assert load_settings(GediSettings, overrides=["data.unit=Mg/ha"]).strata == (0, 50, 100, 200, 300)
    assert load_settings(GediSettings, overrides=["eval.strata=[1, 2]"]).strata == (1, 2)


def test_every_name_leads_somewhere():
    specs = [*plugin.eozoo_models(), *plugin.eozoo_datasets()]
    assert [s.name for s in specs] == ["gedi_unet", "timm_unet", "context_net", "sparse_tiles"]
    assert all(callable(s.load()) for s in specs)
    assert all(s.load().__name__ == s.name for s in specs)


def test_the_plugin_module_is_light():
    heavy = "{'torch', 'numpy', 'pydantic'} & {*sys.modules}"
    code = f"import sys, eozoo_gedi_sparse.plugin as p; p.eozoo_models(); p.eozoo_tasks(); print({heavy})"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


def test_few_shots_settings_build_their_network():
    s = load_settings(GediSettings, FEW_SHOTS)
    assert s.model.name == "quantile_forest"
    network = Registry.discover().create("model", s.model.name, {"in_channels": 12, "outputs": 2, **s.model.options})
    assert network.covariates(torch.zeros(1, 12, 4, 4)).shape[1] == 48
