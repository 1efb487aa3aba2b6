"""Cards: every registered thing has a whole one that is true; as text, Markdown and STAC, for a run too."""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import toy
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cards import _counted, _factory, describe
from eozoo.cli import main
from eozoo.run_card import trained_facts
from eozoo.signature import read_signature
from eozoo.stac import make_item
from eozoo_core import Card, Network, Port, Spec, Task, hookimpl
from eozoo_core.raster.georeference import Grid, area_of
from eozoo_core.spec import KINDS, blanks
from eozoo_core.task.describe import count_parameters
from rasterio import Affine
from rasterio.crs import CRS

ROOT = Path(__file__).parent.parent
INSTALLED = Registry.discover()
ENTRIES = [(kind, entry) for kind in KINDS for entry in INSTALLED.entries(kind)]
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "models.json").read_text())

# A part of a run is as large and as fast as that.
MODELS = [name for name in INSTALLED.names("model") if not INSTALLED.find("model", name).spec.ports_of]


# -- what the installed plugins say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=lambda v: v if isinstance(v, str) else v.spec.name)
def test_every_registered_thing_answers_what_a_stranger_would_ask(kind, entry):
    assert blanks(kind, entry.spec) == []


@pytest.mark.parametrize("name", MODELS)
def test_speed_and_memory_of_a_model_are_those_measured(name):
    found, text = MEASURED["models"][name], INSTALLED.find("model", name).spec.card.measured
    machine = found.get("machine", MEASURED["machine"])
    said = (
        f"Forward {found['forward_s']:.3g} s, {found['forward_mb']} MB; "
        f"with backward {found['step_s']:.3g} s, {found['step_mb']} MB; "
        f"input {' x '.join(map(str, found['input']))}, CPU seconds of {machine.partition(', torch')[0]}"
    )
    assert text.startswith(said)


def test_no_other_number_measured_is_invented():
    """Each stands in the plugin's own documents, or among the measurements of its models."""
    for kind, entry in ENTRIES:
        plugin = entry.plugin.partition(" ")[0].removeprefix("eozoo-").replace("-", "_")
        page = ROOT / "plugins" / plugin / "README.md"
        texts = [page.read_text() if page.exists() else "", json.dumps(MEASURED)]  # eozoo's own plugin has no page
        texts += [page.read_text() for page in (ROOT / "docs").glob("real_data_*.md")]
        known = set(re.findall(r"\d[\d,.]*\d|\d", " ".join(texts)))
        known |= {f"{value:.3g}" for found in MEASURED["models"].values() for value in found.values() if value != [0]
                  and not isinstance(value, (list, str))}  # fmt: skip
        if kind != "model":
            said = re.findall(r"\d[\d,.]*\d|\d", entry.spec.card.measured.replace("(R)", ""))
            assert set(said) <= known, entry.spec.name


@pytest.mark.parametrize("name", MODELS)
def test_what_is_read_of_a_model_is_what_importing_and_building_it_says(name):
    entry = INSTALLED.find("model", name)
    read = _counted(entry)
    assert read == _factory(entry, INSTALLED.get("model", name))
    assert read["parameters"] == MEASURED["models"][name]["parameters"]


def test_a_model_whose_source_does_not_say_all_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "zz_read.py").write_text(
        "raise SystemExit('imported')\nWIDTH = 4\n"
        "def plain(a, b=-1, *, c=(3, 5), d='x', e=None):\n    'Says\\n    what it is.'\n"
        "class Net:\n    'A net.'\n    def __init__(self, /, width=8): pass\n"
        "class Heir(Net): pass\n@staticmethod\ndef wrapped(): pass\n"
        "def named(width=WIDTH): pass\ndef many(**more): pass\ndef rest(*more): pass\n"
    )
    plain = {"a": None, "b": "-1", "c": "(3, 5)", "d": "'x'", "e": "None"}
    assert read_signature("zz_read:plain") == (plain, "Says\nwhat it is.")
    assert read_signature("zz_read:Net") == ({"width": "8"}, "A net.")
    others = ("zz_read:Heir", "zz_read:wrapped", "zz_read:named", "zz_read:many", "zz_read:rest", "zz_read:absent",
              "zz_nowhere.deep:net", "math:sin")  # fmt: skip
    assert {target: read_signature(target) for target in others} == dict.fromkeys(others)


def test_parameters_in_a_summary_are_those_counted():
    checked = 0
    for name in INSTALLED.names("model"):
        spec = INSTALLED.find("model", name).spec
        if said := re.search(r"([\d.]+) (?:million|M) parameters", spec.summary):
            assert MEASURED["models"][name]["parameters"] / 1e6 == pytest.approx(float(said[1]), rel=0.3, abs=0.5)
            checked += 1
    assert checked >= 10


def test_a_card_of_the_wrong_types_is_refused():
    with pytest.raises(ValueError, match="limits is 'one', expected a tuple of strings"):
        Card(limits="one")
    with pytest.raises(ValueError, match="measured is"):
        Card(measured=("a",))
    with pytest.raises(ValueError, match="2 bands, 1 means, 1 deviations"):
        Port("image", "B C", bands=("a", "b"), mean=(0.0,), std=(1.0,))


# -- counting and places ----------------------------------------------------------------------------------------------


def test_counting_needs_no_memory():
    import torch

    assert count_parameters(lambda: torch.nn.Linear(10**6, 10**6)) == 10**12 + 10**6  # 4 TB
    looks = lambda: torch.nn.Linear(3, int(torch.ones(4).sum().item()))  # noqa: E731 - at its values, as it is built
    assert count_parameters(looks) == 16


def test_the_place_of_rasters():
    utm = Grid(100, 200, CRS.from_epsg(32631), Affine(10, 0, 500_000, 0, -10, 0))  # 500 km east: on 3 degrees
    west, south, east, north = area_of([utm, Grid(5, 5)])
    assert (west, north) == (3.0, 0.0)
    metres = 111_319.5  # a degree of longitude on the equator, times 0.9996
    assert east == pytest.approx(3 + 2000 / metres, abs=2e-5)
    assert south == pytest.approx(-1000 / 110_574, abs=2e-5)
    north_of_it = Grid(1, 1, CRS.from_epsg(4326), Affine(0.5, 0, 10, 0, -0.5, 50))
    assert area_of([utm, north_of_it]) == [3.0, south, 10.5, 50.0]
    assert area_of([Grid(5, 5)]) is None
    across = Grid(10, 10, CRS.from_epsg(32601), Affine(1000, 0, 160_000, 0, -1000, 10_000))
    assert area_of([across])[::2] == [-180.0, 180.0]


def test_rasters_that_are_nowhere_on_earth_have_no_place():
    """Training notes it: it must not end there, and infinity is no JSON."""
    local = CRS.from_wkt('LOCAL_CS["site", UNIT["metre", 1]]')
    disk = CRS.from_proj4("+proj=geos +h=35785831 +lon_0=128.2 +sweep=y +units=m")  # its corners are space
    moon = CRS.from_proj4("+proj=longlat +a=1737400 +b=1737400")
    grids = [Grid(5500, 5500, crs, Affine(2000, 0, -5.5e6, 0, -2000, 5.5e6)) for crs in (local, disk)]
    grids += [
        Grid(2, 2, moon, Affine(1, 0, 0, 0, -1, 0)),
        Grid(2, 2, CRS.from_epsg(32631), Affine(1, 0, np.nan, 0, -1, 0)),
    ]
    assert [area_of([grid]) for grid in grids] == [None] * 4
    assert area_of([*grids, Grid(1, 1, CRS.from_epsg(4326), Affine(1, 0, 5, 0, -1, 50))]) == [5, 49, 6, 50]


# -- the verb ---------------------------------------------------------------------------------------------------------


class Scaled(toy.Toy):
    """The toy with statistics, a place and first weights, as a trained task has them."""

    def network(self, run=None):
        if run is None:
            return super().network()
        takes = (Port("x", "B 2", "m", ("east", "north"), (1.5, -2.0), (0.5, 4.0)),)
        gives = (Port("y", "B 1", "m"),)
        return Network("Line", 17, takes, gives, {1: "Low / flat", 2: "High"}, "weights.pt, sha256 abc")

    def train(self, run):
        super().train(run)
        run.note("area", [3.0, 50.0, 4.0, 51.0])


def net(width: int = 4):
    """A line."""
    import torch

    return torch.nn.Linear(2, width)


class Plugin:
    @hookimpl
    def eozoo_tasks(self):
        silent = Spec("silent", "test_cards:Silent", "Says nothing")
        return [Spec("scaled", "test_cards:Scaled", "Learns a line", citation=CITED, card=toy.CARD), silent]

    @hookimpl
    def eozoo_models(self):
        odd = Card(architecture="Line", kinds=("reggression",))
        ports = {"takes": (Port("x", "B 2 H W"),), "gives": (Port("y", "B 1 H W", "m"),)}
        return [
            Spec("net", "test_cards:net", "A net", **ports, card=toy.CARD),
            Spec("odd", "test_cards:net", "A net", **ports, card=odd),
            Spec("bare", "test_cards:net", "A net", **ports),
        ]

    @hookimpl
    def eozoo_losses(self):
        return [Spec("scaled", "test_cards:net", "A loss of the same name"), Spec("hinge", "test_cards:net", "A loss")]


class Silent(toy.Toy):
    network = Task.network


CITED = "Nobody 2026, Lines, doi:10.1000/line.7; Somebody 2025, arXiv:2501.01234"


@pytest.fixture(scope="module")
def registry():
    found = Registry()
    found.add(Plugin, "plugin 1.0")
    assert found.problems == []
    return found


@pytest.fixture(scope="module")
def run(registry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    toy.Toy.sample(folder / "data")
    options = [f"runtime.data_dir={folder / 'data'}", "runtime.tensorboard=false", "train.epochs=1"]
    invoke(registry, "train", "scaled", "--run", folder / "run", *(w for o in options for w in ("--set", o)))
    invoke(registry, "eval", "scaled", "--run", folder / "run")
    info = json.loads((folder / "run" / "run.json").read_text())  # begun years before, with another torch
    info["history"].insert(0, {"when": "2020-02-02T00:00:00Z", "argv": [], "eozoo": "0.0.1", "torch": "1.0.0"})
    (folder / "run" / "run.json").write_text(json.dumps(info))
    return folder / "run"


def invoke(registry, *arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments], obj=registry, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_markdown(registry, run, tmp_path):
    text = invoke(registry, "card", "net")
    assert text.startswith("# net\n\nModel. A net.\n\n- **plugin**: plugin 1.0\n")
    assert "- **size**: 12 parameters with the default options\n" in text
    assert "As trained" not in text
    assert invoke(registry, "card", "scaled", "--out", tmp_path / "card.md") == f"{tmp_path / 'card.md'}\n"
    assert (tmp_path / "card.md").read_text().count("# scaled") == 2  # the task and the loss
    text = invoke(registry, "card", "scaled", "--run", run)
    checkpoint = hashlib.sha256((run / "best.pt").read_bytes()).hexdigest()
    for line in (
        "- **size**: 17 parameters as trained",
        "- **scaling**: 1.5 +- 0.5, -2 +- 4",
        f"- **checkpoint**: {run / 'best.pt'}, sha256 {checkpoint}",
        "- **first weights**: weights.pt, sha256 abc",
        "- **area**: [3.0, 50.0, 4.0, 51.0] degrees (west, south, east, north)",
        "- **device**: cpu",
    ):
        assert f"\n{line}\n" in text
    assert re.search(r"\*\*test, mean\*\*: loss \d", text)


def schema(kind="item"):
    """STAC's own schema of an item or a collection, as pystac brings it; extensions' are not to be had offline."""
    from jsonschema import Draft7Validator
    from pystac.validation.local_validator import get_local_schema_cache
    from referencing import Registry, Resource

    cache = get_local_schema_cache()
    end = f"{kind}-spec/json-schema/{kind}.json"
    whole = next(content for name, content in cache.items() if name.endswith(end))
    resources = Registry().with_resources([(k, Resource.from_contents(v)) for k, v in cache.items()])
    return Draft7Validator(whole, registry=resources)


def check(item):
    """Against STAC's schema, the models of the package, and what the extension's text asks for beyond them."""
    import pystac
    from stac_model.schema import MLModelProperties

    assert json.loads(json.dumps(item, allow_nan=False)) == item
    assert [error.message for error in schema().iter_errors(item)] == []
    pystac.Item.from_dict(item)
    MLModelProperties(**{k.removeprefix("mlm:"): v for k, v in item["properties"].items() if k.startswith("mlm:")})
    assert any("mlm:model" in asset["roles"] for asset in item["assets"].values())
    for asset in item["assets"].values():
        assert ("mlm:model" in asset["roles"]) == ("mlm:artifact_type" in asset)
    models = [asset for asset in item["assets"].values() if "mlm:model" in asset["roles"]]
    named = {band["name"] for band in models[0].get("bands", [])}
    for port in item["properties"]["mlm:input"]:
        structure = port["input"]
        assert len(set(structure["dim_order"])) == len(structure["shape"])
        assert bool(port["bands"]) == ("bands" in structure["dim_order"])
        if port["bands"]:
            assert structure["shape"][structure["dim_order"].index("bands")] == len(port["bands"])
            assert set(port["bands"]) <= named


def test_the_item_of_a_run(registry, run):
    item = json.loads(invoke(registry, "card", "scaled", "--run", run, "--stac"))
    check(item)
    found, begun = item["properties"], json.loads((run / "run.json").read_text())
    content = (run / "best.pt").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert item["id"] == f"scaled-{digest[:12]}"
    assert item["bbox"] == [3.0, 50.0, 4.0, 51.0]
    assert item["geometry"]["coordinates"] == [[[3, 50], [4, 50], [4, 51], [3, 51], [3, 50]]]
    assert found["datetime"] == begun["history"][-1]["when"]
    assert found["mlm:framework_version"] == begun["history"][-1]["torch"]
    (given,), (result,) = found["mlm:input"], found["mlm:output"]
    assert given["input"] == {"shape": [-1, 2], "dim_order": ["batch", "bands"], "data_type": "float32"}
    assert given["bands"] == ["east", "north"]
    assert given["value_scaling"] == [
        {"type": "z-score", "mean": 1.5, "stddev": 0.5},
        {"type": "z-score", "mean": -2.0, "stddev": 4.0},
    ]
    assert "the network applies value_scaling itself" in given["description"]
    assert item["assets"]["model"]["bands"][0] == {"name": "east", "statistics": {"mean": 1.5, "stddev": 0.5}}
    assert result["result"] == {"shape": [-1, 1], "dim_order": ["batch", "channel"], "data_type": "float32"}
    assert result["description"] == "unit: m"
    assert [c["name"] for c in result["classification:classes"]] == ["low-flat", "high"]
    assert found["mlm:total_parameters"] == 17
    assert (found["mlm:pretrained"], found["mlm:pretrained_source"]) == (True, "weights.pt, sha256 abc")
    assert found["mlm:accelerator"] == "cpu"
    assert found["mlm:tasks"] == ["regression"]
    assert found["mlm:hyperparameters"]["model"] == {"width": 4, "dropout": 0.0}
    assert found["sci:citation"] == CITED
    links = [link["href"] for link in item["links"]]
    assert links == ["https://doi.org/10.1000/line.7", "https://arxiv.org/abs/2501.01234"]
    weights = item["assets"]["model"]
    assert weights["file:checksum"] == f"1220{digest}"
    assert weights["file:size"] == len(content)
    assert weights["href"] == (run / "best.pt").as_uri()
    inside = run / "item.json"
    invoke(registry, "card", "scaled", "--run", run, "--stac", "--out", inside)
    assert json.loads(inside.read_text())["assets"]["model"]["href"] == "best.pt"


def test_the_item_of_what_was_not_trained_says_null(registry):
    item = json.loads(invoke(registry, "card", "net", "--stac"))
    check(item)
    found = item["properties"]
    assert (item["id"], item["geometry"]) == ("net-1.0", None)
    assert [found[key] for key in ("datetime", "mlm:accelerator", "mlm:pretrained_source")] == [None, None, None]
    assert not found["mlm:pretrained"]
    assert found["mlm:hyperparameters"] == {"width": 4}
    assert found["mlm:input"][0]["input"]["dim_order"] == ["batch", "channel", "height", "width"]
    assert found["mlm:input"][0]["input"]["shape"] == [-1, 2, -1, -1]
    assert item["assets"]["source_code"]["mlm:entrypoint"] == "test_cards:net"
    check(json.loads(invoke(registry, "card", "scaled", "--stac")))  # the task, not the loss


@pytest.mark.parametrize("name", ["gedi_sparse", "barlow_landcover", "clay_ta", "clay_v1_5_large", "btfm_cnn"])
def test_items_of_the_zoo(name):
    item = make_item(describe(INSTALLED, name))
    check(item)
    found = item["properties"]
    if name == "clay_v1_5_large":
        assert found["mlm:pretrained_source"] == item["assets"]["model"]["href"]
        assert "file:checksum" not in item["assets"]["model"]  # nobody cites it
    if name == "clay_ta":
        assert found["mlm:input"][0]["input"]["shape"] == [-1, 19, 9, 9]
        assert found["mlm:input"][0]["bands"][:2] == ["sw038", "wv063"]
    if name == "barlow_landcover":
        assert found["mlm:output"][0]["classification:classes"][0]["description"] == "Tree cover"
    if name == "gedi_sparse":
        assert found["mlm:total_parameters"] == 5 * 17_250_818


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hinge", "--stac"), "loss 'hinge': is no model"),
        (("bare", "--stac"), "model 'bare': its card lacks architecture, kinds"),
        (("silent", "--stac"), "Silent does not describe its network"),
        (("odd", "--stac"), "model 'odd': its card gives no valid item: tasks"),
        (("nett",), "nothing is called 'nett'. Did you mean 'net'?"),
        (("net", "--run", "x"), "no task 'net'."),
        (("scaled", "--run", "nowhere"), "nowhere: holds no run"),
        (("net", "--out", "."), "--out .: is a folder"),
        (("net", "--out", "no/such/file"), "give a file in a folder that exists"),
    ],
)
def test_what_cannot_be_written_is_one_line(registry, arguments, message):
    output = invoke(registry, "card", *arguments, code=1)
    assert message in output
    assert output.startswith("Error: ")
    assert output.count("\n") == 1


def test_a_run_without_weights_is_refused(registry, run, tmp_path):
    for name in ("run.json", "config.yaml"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert "has no best.pt; train it first" in invoke(registry, "card", "scaled", "--run", tmp_path, code=1)


def test_without_the_package_it_says_what_to_install(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "stac_model", None)
    monkeypatch.delitem(sys.modules, "stac_model.schema", raising=False)
    output = invoke(registry, "card", "net", "--stac", code=1)
    assert output.startswith("Error: --stac ")
    assert output.endswith("pip install 'stac-model>=0.7'\n")
    assert invoke(registry, "card", "net").startswith("# net")


def test_what_init_from_took_is_where_the_weights_come_from(registry, run, tmp_path):
    from eozoo_core import Run

    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    info = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**info, "init_from": {"file": "a.pt", "receipt": "a.pt: matched"}}))
    opened = Run.open(copy, registry.get("task", "scaled").Settings, "scaled")
    assert trained_facts(opened, None)["pretrained"] == "a.pt: matched"
    assert trained_facts(Run.open(run, registry.get("task", "scaled").Settings, "scaled"), None)["pretrained"] is None


def test_infinity_does_not_reach_the_file(registry, run):
    cards = describe(registry, "net")
    cards[0]["options"] = {"limit": repr(np.inf), "sizes": "(3, 7)"}
    item = make_item(cards)
    assert item["properties"]["mlm:hyperparameters"] == {"limit": "inf", "sizes": [3, 7]}
    json.dumps(item, allow_nan=False)
