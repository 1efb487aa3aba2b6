"""The page of reproduced numbers says what was computed."""

import json
from pathlib import Path

from benchmarks.reproduce import tables

ROOT = Path(__file__).parent.parent


def test_tables_of_the_page_are_the_results():
    found = json.loads((ROOT / "benchmarks" / "results" / "reproduced.json").read_text())
    page = (ROOT / "docs" / "reproduced.md").read_text()
    rows = [line for line in tables(found).splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    assert [row for row in rows if row not in page] == []


def test_published_weights_and_parity():
    """Within the bounds that the protocol names."""
    found = json.loads((ROOT / "benchmarks" / "results" / "reproduced.json").read_text())
    assert {row["encoder"].split()[0] for row in found["parity"]} == {"Clay", "Prithvi-EO-2.0,", "Presto", "Galileo"}
    assert all(row["difference"] < 1e-5 for row in found["parity"])
