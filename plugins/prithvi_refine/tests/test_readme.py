"""The table of the README is what ``benchmarks/bench_prithvi.py`` measured, and the prediction holds there."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[3]
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "prithvi_speed.json").read_text())


def test_the_table_is_what_was_measured():
    lines = (ROOT / "plugins" / "prithvi_refine" / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {(size.removesuffix("M"), name): rest for size, name, *rest in (r for r in rows if len(r) == 8)}
    for size, by_name in MEASURED["rows"].items():
        for name, x in by_name.items():
            wanted = [f"{x['samples_per_s']:.2f}", f"{x['resident_mb']}", f"{x['resident_mb_predicted']}"]
            wanted += [f"{x['step_mb']:.0f}", f"{x['step_mb_predicted']:.0f}"]
            wanted += [f"{x['tiles_per_s_by_1']:.2f}, {x['tiles_per_s_by_4']:.2f}"]
            assert table[size, name] == wanted, (size, name)
    assert len(table) == 2 + sum(map(len, MEASURED["rows"].values()))  # head and rule


def test_the_prediction_holds():
    """As the README says; numbers that were measured anew may need other words there."""
    rows = [(name, x) for by_name in MEASURED["rows"].values() for name, x in by_name.items()]
    for name, x in rows:
        low = x["step_mb"] - x["step_mb_predicted"]
        assert -1 < low < (1 if "fp32" in name else 19), name
    off = [abs(x["resident_mb_predicted"] / x["resident_mb"] - 1) for _, x in rows]
    assert (len(off), sum(e < 0.1 for e in off), sum(e < 0.2 for e in off)) == (44, 33, 41)
