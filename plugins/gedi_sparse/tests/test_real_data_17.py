"""Few shots on 17 tiles: the page's tables are those of the JSON, and the preset is what the protocol chooses."""

import json
import re
from pathlib import Path

import yaml
from eozoo_gedi_sparse.settings import FEW_SHOTS

ROOT = Path(__file__).resolve().parents[3]
RESULT = json.loads((ROOT / "benchmarks" / "results" / "real_gedi_17.json").read_text())
PAGE = (ROOT / "docs" / "real_data_gedi_17.md").read_text()


def test_both_tables_are_those_of_the_json():
    lines = re.findall(r"^\| ([a-zA-Z][^|]*) \|(.+)\|$", PAGE, re.MULTILINE)
    table = {name: [cell.strip() for cell in cells.split("|")] for name, cells in lines}
    for name, row in RESULT["rows"].items():
        pooled = row["pooled"]
        cells = [row["rmse"], pooled["mae"], pooled["bias"], pooled["r2"], pooled.get("gaussian_nll")]
        expected = ["" if c is None else f"{c:.2f}" for c in cells]
        expected.append(f"{row['within_one']:.2f}, {row['within_two']:.2f}" if "within_one" in row else "")
        assert table.pop(name) == [*expected, *(f"{v:.2f}" for v in row["rows"].values())], name
    for name, d in RESULT["rmse_differences"].items():
        expected = [f"{d['mean']:+.2f}", f"{d['low']:+.2f} to {d['high']:+.2f}", f"{d['better']} of 17"]
        assert table.pop(name) == expected, name
    assert set(table) == {"row", "difference"}


def test_the_preset_is_what_the_protocol_chooses():
    assert yaml.safe_load(FEW_SHOTS.read_text())["model"]["name"] == RESULT["preset"].replace(" ", "_")
    assert set(RESULT["chosen_without"].values()) == {RESULT["preset"]}  # as the page says
