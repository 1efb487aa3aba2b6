"""docs/gedi_from_granules.md is executed: every command in order, by a short training; numbers may differ there."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from eozoo.cli import main

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "gedi_from_granules.md"
RESULT = ROOT / "benchmarks" / "results" / "real_gedi_biomass.json"
ENSEMBLE = RESULT.with_name("real_gedi_ensemble.json")
SHORT = ["train.epochs=1", "train.members=2", "model.options.width=4", "runtime.tensorboard=false"]


def commands():
    for body in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            yield command.split()[1:], expected


def shape(text):
    """Text without its numbers and spacing: counts of a random landscape may differ in the last digit elsewhere."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,.]*", "N", text)).strip()


@pytest.mark.slow
def test_the_documented_commands_go_from_granules_to_maps_and_totals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, expected in commands():
        more = [word for item in SHORT for word in ("--set", item)] if arguments[0] == "train" else []
        result = CliRunner().invoke(main, [*arguments, *more])
        assert result.exit_code == 0, f"{arguments}\n{result.output}\n{result.exception!r}"
        assert shape(result.output) == shape(expected), arguments
    with rasterio.open("maps/stack_mean.tif") as mean, rasterio.open("example/truth.tif") as truth:
        assert (mean.crs, mean.transform, mean.shape) == (truth.crs, truth.transform, truth.shape)
        assert mean.units == ("Mg/ha",)
        with rasterio.open("example/prepared/stack.tif") as stack:
            np.testing.assert_array_equal(np.isfinite(mean.read(1)), np.isfinite(stack.read()).all(axis=0))
    page = Path("runs/agb/eval_test/report.html").read_text()
    assert page.count("data:image/png;base64") == 4  # with a map of residuals: prepared patches know their place


def test_labels_of_the_example_are_its_truth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, _ in list(commands())[:3]:
        small = ["prepare.example.rows=160", "prepare.example.columns=200"] if "example" in arguments else []
        result = CliRunner().invoke(main, [*arguments, *[w for item in small for w in ("--set", item)]])
        assert result.exit_code == 0, result.output
    with rasterio.open("example/prepared/labels.tif") as labels, rasterio.open("example/truth.tif") as truth:
        label, true = labels.read(1), truth.read(1)
    there = np.isfinite(label)
    # a row or column of displacement would break this: neighbours differ by far more than a shot's error
    close = np.corrcoef(label[there], true[there])[0, 1]
    shifted = np.corrcoef(label[there], np.roll(true, 3, axis=0)[there])[0, 1]
    assert close > 0.85
    assert close > shifted + 0.1


def test_numbers_in_the_prose_are_those_of_the_real_runs():
    texas, page = json.loads(RESULT.read_text())["texas"], " ".join(PAGE.read_text().split())
    assert f"better than its members' mean in {texas['seeds_ensemble_better']} of 5 seeds" in page
    result = json.loads(ENSEMBLE.read_text())
    d = result["rmse_difference"]
    assert f"in {d['tiles_better']} of 8 tiles, by {-d['mean']:.2f} m" in page
    assert f"interval over tiles {-d['high']:.2f} to {-d['low']:.2f})" in page
    assert f"{result['shots']} shots" in page
