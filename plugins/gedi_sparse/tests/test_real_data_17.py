"""Few shots on 17 tiles: the preset is what the protocol chooses."""

import json
from pathlib import Path

import yaml
from eozoo_gedi_sparse.settings import FEW_SHOTS

RESULT = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "real_gedi_17.json"


def test_the_preset_is_what_the_protocol_chooses():
    found = json.loads(RESULT.read_text())
    assert yaml.safe_load(FEW_SHOTS.read_text())["model"]["name"] == found["preset"].replace(" ", "_")
    assert set(found["chosen_without"].values()) == {found["preset"]}  # as the page says
