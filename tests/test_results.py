"""What was measured on real data: the pages say what the results say."""

import json

import pytest

from benchmarks import pages


@pytest.mark.parametrize("page", pages.PAGES)
def test_tables_of_a_page_are_its_results(page):
    text = (pages.ROOT / page).read_text()
    assert pages.TABLE.search(text)
    assert pages.filled(page, text) == text


def test_a_changed_number_is_seen():
    page = "docs/reproduced.md"
    text = (pages.ROOT / page).read_text()
    assert "24.21" in text
    assert pages.filled(page, text.replace("24.21", "24.20")) == text


def test_parity_is_within_the_bounds_that_the_protocol_names():
    found = json.loads((pages.RESULTS / "reproduced.json").read_text())
    assert {row["encoder"].split()[0] for row in found["parity"]} == {"Clay", "Prithvi-EO-2.0,", "Presto", "Galileo"}
    assert all(row["difference"] < 1e-5 for row in found["parity"])


def test_results_are_of_one_run_from_nothing():
    found = json.loads((pages.RESULTS / "real.json").read_text())
    assert {name: one["exit"] for name, one in found["stages"].items()} == dict.fromkeys(found["stages"], 0)
    assert all(one["fresh"] for one in found["stages"].values())
    assert found["code"]["changed"] == []
