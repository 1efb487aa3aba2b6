"""What a newcomer's own table or polygons are told about, beside what docs/your_own_data.md shows."""

import pytest
from click.testing import CliRunner
from eozoo.cli import main
from own_data import fields, plots


def said(*words):
    return CliRunner().invoke(main, ["check", *words], catch_exceptions=False).output


def test_text_beside_numbers_is_told(tmp_path):
    plots(tmp_path / "p.csv")
    rows = (tmp_path / "p.csv").read_text().splitlines()
    cells = rows[5].split(",")
    rows[5] = ",".join([*cells[:3], "low", *cells[4:]])
    (tmp_path / "p.csv").write_text("\n".join(rows))
    printed = said("scalar_regression", "--set", f"runtime.table={tmp_path / 'p.csv'}", "--set", "data.target=height")
    assert "blue is left out: it holds text" in printed
    assert "3 columns: green, red, nir; none because they hold text: plot, blue" in printed
    assert "plot is left out" not in printed  # names are no mistake


def test_decimals_are_no_classes(tmp_path):
    plots(tmp_path / "p.csv")
    printed = said("classification", "--set", f"runtime.table={tmp_path / 'p.csv'}", "--set", "data.target=height")
    assert "which is no class; 'scalar_regression' learns numbers" in printed


def test_polygons_elsewhere_say_where(tmp_path):
    pytest.importorskip("pyogrio")
    fields(tmp_path / "a.tif", tmp_path / "a.gpkg", 500_000.0, 4, 0)
    fields(tmp_path / "b.tif", tmp_path / "b.gpkg", 540_000.0, 4, 1)
    where = ["--set", f"runtime.images={tmp_path / 'a.tif'}", "--set", f"runtime.labels={tmp_path / 'b.gpkg'}"]
    assert "by EPSG:32633 they lie at 15.544" in said("semantic_segmentation", *where)
