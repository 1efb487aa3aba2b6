"""Exported graphs: plain weights say what quantised and adapted ones say, and onnxruntime alone runs the file."""

import copy
import json

import numpy as np
import pytest
import torch
from eozoo.export import export
from eozoo.registry import Registry
from eozoo_core import Run
from eozoo_core.settings.config import load_settings
from eozoo_prithvi_refine.demo.landscape import landscape, write_world
from eozoo_prithvi_refine.plain import dequantised, make_plain
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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"), size=36, train=2, held_out=1)


def trained(world, path, encoder, *more):
    """A run of one step whose adapters and head were disturbed."""
    overrides = [f"model.encoder={encoder}", "model.num_convnext_blocks=1", "model.head_width=8", "data.tile_size=36"]
    overrides += ["infer.window=36", "infer.stride=30", "runtime.device=cpu", "runtime.tensorboard=false", *more]
    overrides += ["train.epochs=1", "runtime.quiet=true", f"runtime.data_dir={world.data_dir}"]
    settings = load_settings(PrithviSettings, None, overrides)
    task, run = PrithviRefine(settings, Registry.discover()), Run.create(path, "prithvi_refine", settings)
    task.train(run)
    content = run.load("best")
    torch.manual_seed(1)
    for name, values in content["model"].items():
        if "lora_B" in name or name.endswith(("change.weight", "project.weight")):
            values += 0.05 * torch.randn(values.shape)
    run.save("best", {key: value for key, value in content.items() if key not in ("format", "task", "config")})
    return task, run


def test_time_and_place_are_inputs_of_the_graph(world, tmp_path):
    task, run = trained(world, tmp_path / "run", "prithvi_eo_nano_tl", "train.precision=fp32")
    graph = task.graph(run)
    assert list(graph.inputs)[:4] == ["opt_v1", "month", "biome", "time"]
    arrays = {name: torch.from_numpy(values) for name, values in graph.inputs.items()}
    with torch.no_grad():
        refined = [
            graph.module(*(arrays | {"time": time}).values())[0]
            for time in (arrays["time"], torch.nan * arrays["time"])
        ]
    assert torch.isfinite(refined[1]).all()
    assert not torch.equal(*refined)


@pytest.mark.slow
def test_onnx_says_what_predict_says_but_for_rounding(world, tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    task, run = trained(world, tmp_path / "run", "prithvi_eo_nano", "train.precision=bf16-mixed")
    lines = export(task, run, "onnx", tmp_path / "refine.onnx")
    assert lines[0].startswith("opt_v1 float32 (batch, 4, 36, 36), month float32 (batch), biome float32 (batch) -> ")
    assert lines[1].endswith("the run itself predicts in bf16-mixed here")
    session = onnxruntime.InferenceSession(tmp_path / "refine.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    assert told["opt_v1"]["about"].startswith("bands B02, B03, B04, B08, in this order")
    image = np.stack([landscape(i, 36, 36, 6, 4) for i in range(3)])
    image[0, 2, 5, 7] = np.nan
    codes = {"month": np.array([6, 1, np.nan], "float32"), "biome": np.array([4, 8, 2], "float32")}
    refined, features = session.run(None, {"opt_v1": image, **codes})
    expected = task.predict(run, {"opt_v1": image, **codes})
    assert np.isnan(refined).sum() == 4 + 4 * 36 * 36  # a pixel, and the sample whose month is not known
    np.testing.assert_allclose(refined, expected["refined"], atol=0.02)
    np.testing.assert_array_equal(np.isnan(features), np.isnan(expected["features"]))
