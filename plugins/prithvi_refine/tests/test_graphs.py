"""Exported graphs: plain weights say what quantised and adapted ones say, and onnxruntime alone runs the file."""

import copy
import json

import numpy as np
import pytest
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.run.frozen import keep_base
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine.adapters import adapt
from eozoo_prithvi_refine.assemble import frozen_names
from eozoo_prithvi_refine.demo.landscape import landscape
from eozoo_prithvi_refine.encoder import build_encoder
from eozoo_prithvi_refine.graphs import dequantised, make_plain
from eozoo_prithvi_refine.refiner import PrithviRefiner
from eozoo_prithvi_refine.registered import prithvi_refiner
from eozoo_prithvi_refine.settings import PrithviSettings
from eozoo_prithvi_refine.task import PrithviRefine


def disturb(model):
    """What training would have done: adapters and head are no longer at their start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name or name.endswith(("change.weight", "project.weight")):
                p += 0.05 * torch.randn(p.shape)
    return model.eval()


@pytest.mark.parametrize(("quantization", "share"), [("none", 1e-5), ("int8", 1e-5), ("nf4", 1e-5)])
def test_plain_weights_say_the_same(quantization, share):
    torch.manual_seed(0)
    options = {"num_convnext_blocks": 1, "head_width": 8, "unfreeze_last_n_blocks": 1}
    model = disturb(prithvi_refiner(encoder="prithvi_eo_nano", quantization=quantization, **options))
    plain = copy.deepcopy(model)
    make_plain(plain.encoder)
    inputs = torch.from_numpy(landscape(1, 24, 24, 6, 4))[None], torch.tensor([6]), torch.tensor([4])
    with torch.no_grad():
        expected, found = model(*inputs)[1], plain(*inputs)[1]
    assert all(type(m) is torch.nn.Linear for n, m in plain.encoder.named_modules() if n.endswith(("qkv", "fc1")))
    assert float((found - expected).abs().max()) < share * float(expected.abs().max())


def test_weights_packed_for_a_processor_are_not_taken_for_others():
    layer = torch.nn.Linear(64, 64)
    layer.weight.quant_state = type("State", (), {"packing_format_for_cpu": True})()
    with pytest.raises(ValueError, match="packed for the processor"):
        dequantised(layer)


@pytest.mark.slow
def test_onnx_says_what_predict_says_but_for_rounding(tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    overrides = ["model.encoder=prithvi_eo_nano", "model.num_convnext_blocks=1", "model.head_width=8"]
    overrides += ["infer.window=36", "infer.stride=30", "train.precision=bf16-mixed", "runtime.device=cpu"]
    settings = load_settings(PrithviSettings, None, overrides)
    run = Run.create(tmp_path / "run", "prithvi_refine", settings)
    encoder = build_encoder("prithvi_eo_nano")
    tensors = encoder.state_dict()
    digest = keep_base(run, {name: tensors[name].clone() for name in frozen_names(encoder, settings.model)})
    adapt(encoder, settings.model)
    model = disturb(PrithviRefiner(settings.model, encoder))
    run.save("best", {"model": model.state_dict(), "base": {"sha256": digest}})
    task = PrithviRefine(settings, Registry.discover())
    lines = export(task, run, "onnx", tmp_path / "refine.onnx")
    assert lines[0].startswith("opt_v1 float32 (batch, 4, 36, 36), month float32 (batch), biome float32 (batch) -> ")
    assert lines[1].endswith("the run itself predicts in bf16-mixed here")
    session = onnxruntime.InferenceSession(tmp_path / "refine.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    assert told["opt_v1"]["about"].startswith("bands B02, B03, B04, B08 (blue")
    image = np.stack([landscape(i, 36, 36, 6, 4) for i in range(3)])
    image[0, 2, 5, 7] = np.nan
    codes = {"month": np.array([6, 1, np.nan], "float32"), "biome": np.array([4, 8, 2], "float32")}
    refined, features = session.run(None, {"opt_v1": image, **codes})
    expected = task.predict(run, {"opt_v1": image, **codes})
    assert np.isnan(refined).sum() == 4 + 4 * 36 * 36  # a pixel, and the sample whose month is not known
    np.testing.assert_allclose(refined, expected["refined"], atol=0.02)
    np.testing.assert_array_equal(np.isnan(features), np.isnan(expected["features"]))
