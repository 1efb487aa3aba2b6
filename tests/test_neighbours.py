"""Other people's plugins: broken, slow, hanging, of another core, switched off. The rest of the zoo works."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from eozoo import Registry, probe, switches
from eozoo.cli import main
from eozoo.registry import installed
from eozoo_core import Port, Spec, ZooError

PLUGIN = """
from eozoo_core import Spec, hookimpl

@hookimpl
def eozoo_models():
    return [{spec}]
"""


def spec(name, target="argparse:Namespace", more=""):
    return PLUGIN.format(spec=f'Spec("{name}", "{target}", "A model."{more})')


PLUGINS = {
    "good": spec("zz_good"),
    "raises": "1 / 0",
    "missing": "import zz_not_installed_anywhere",
    "hangs": "import time; time.sleep(600)",
    "dies": "import os; os.abort()",
    "slow": "import time, pydantic\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\n"
    + spec("zz_slow"),
    "old": "raise SystemExit('imported, though built for another core')",
    "lost": spec("zz_lost", "argparse:NoSuchThing"),
    "astray": spec("zz_astray", "zz_no_such_module:net"),
    "needy": spec("zz_needy", more=', needs=(("zz_absent", "zz-absent>=2"),)'),
    "crooked": spec("zz_crooked", more=', takes="image"'),
    "clash": spec("zz_good"),
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Install the named PLUGINS as distributions, here and for processes that are started from here."""

    def make(*names):
        for name in names:
            (tmp_path / f"zz_{name}.py").write_text(PLUGINS[name])
            folder = tmp_path / f"zz_{name}-1.0.dist-info"
            folder.mkdir()
            needs = "Requires-Dist: eozoo>=0.7,<0.8\n" if name == "old" else "Requires-Dist: eozoo\n"
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zz-{name}\nVersion: 1.0\n{needs}")
            (folder / "entry_points.txt").write_text(f"[eozoo]\n{name} = zz_{name}\n")

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield make
    for name in [n for n in sys.modules if n.startswith("zz_")]:
        del sys.modules[name]


def eozoo(*arguments, code=0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def test_doctor_names_package_version_reason_and_remedy_of_each(zoo, monkeypatch):
    zoo(*(name for name in PLUGINS if name != "hangs"))
    monkeypatch.setattr(probe, "PATIENCE", 300.0)  # a busy machine is no reason to fail
    content = json.loads(eozoo("doctor", "--json", code=1).stdout)
    found = {p["plugin"]: p for p in content["problems"]}
    expected = {
        "raises": ("ZeroDivisionError", "eozoo plugins disable raises"),
        "missing": ("No module named 'zz_not_installed_anywhere'", "pip install the package that has the module"),
        "dies": ("kills the process (signal 6)", "eozoo plugins disable dies"),
        "old": ("it was built for eozoo>=0.7,<0.8, installed is", "pip install --upgrade zz-old"),
        "lost": ("'argparse' has no 'NoSuchThing'", "eozoo plugins disable lost"),
        "astray": ("its module 'zz_no_such_module' does not exist", "eozoo plugins disable astray"),
        "needy": ("it needs the module 'zz_absent'", "pip install 'zz-absent>=2'"),
        "crooked": ("zz_crooked: takes is 'image', expected a tuple of Port", "eozoo plugins disable crooked"),
        "good": ("model 'zz_good' is claimed by zz-clash 1.0 and zz-good 1.0", "eozoo plugins disable good"),
    }
    assert found.keys() == {f"zz-{name} 1.0" for name in expected}
    for name, (reason, remedy) in expected.items():
        assert reason in found[f"zz-{name} 1.0"]["reason"]
        assert remedy in found[f"zz-{name} 1.0"]["remedy"]
    plugins = {p["plugin"]: p for p in content["plugins"]}
    assert plugins["zz-slow 1.0"]["slow"]
    assert plugins["zz-slow 1.0"]["import_seconds"] >= 0.4
    assert "pydantic" in plugins["zz-slow 1.0"]["costly"]
    assert not plugins["zz-good 1.0"]["slow"]
    assert plugins["zz-good 1.0"]["offers"] == ["zz_good"]


def test_doctor_waits_for_nobody(zoo, monkeypatch):
    zoo("hangs")
    monkeypatch.setattr(probe, "PATIENCE", 1.0)  # others may take longer on a busy machine: only this one surely does
    found = {p["plugin"]: p for p in json.loads(eozoo("doctor", "--json", code=1).stdout)["problems"]}
    assert "does not end within 1 s" in found["zz-hangs 1.0"]["reason"]
    assert "eozoo plugins disable hangs" in found["zz-hangs 1.0"]["remedy"]


def test_disable_needs_no_import_and_enable_undoes_it(zoo):
    zoo("good", "dies")  # importing "dies" would end this very process
    listed = eozoo("plugins").output
    assert "dies" in listed
    assert "dies (zz-dies 1.0) is off" in eozoo("plugins", "disable", "dies").output
    result = eozoo("list")
    assert "zz_good" in result.output
    assert "off: dies; 'eozoo plugins enable dies'" in result.output
    assert json.loads(eozoo("list", "--json").stdout)["disabled"] == ["dies"]
    assert {p["name"]: p["enabled"] for p in json.loads(eozoo("plugins", "--json").output)}["dies"] is False
    assert "off     dies" in eozoo("doctor").output
    assert "good (zz-good 1.0) is off" in eozoo("plugins", "disable", "ZZ_good").output  # the distribution's name
    assert switches.disabled() == {"dies", "good"}
    assert "zz_good" not in Registry.discover().names("model")
    eozoo("plugins", "enable", "good")
    assert switches.disabled() == {"dies"}
    assert "zz_good" in Registry.discover().names("model")


def test_switching_one_off_settles_a_claimed_name(zoo):
    zoo("good", "clash")
    with pytest.raises(ZooError, match="switch one off: 'eozoo plugins'"):
        Registry.discover().find("model", "zz_good")
    eozoo("plugins", "disable", "clash")
    assert Registry.discover().find("model", "zz_good").plugin == "zz-good 1.0"


def test_mistakes_with_plugins_are_one_line(zoo, tmp_path):
    zoo("good")
    assert "no plugin 'godo' is installed. Did you mean 'good'?" in eozoo("plugins", "disable", "godo", code=1).output
    Path(switches.file()).parent.mkdir(parents=True)
    for text in ("{", '{"disabled": "good"}', "[]", '{"disabled": [1]}'):
        Path(switches.file()).write_text(text)
        assert "plugins.json: cannot be read" in eozoo("list", code=1).output
    Path(switches.file()).write_text('{"disabled": ["gone"]}')
    assert "though not installed" in eozoo("plugins", "enable", "gone").output
    assert switches.disabled() == frozenset()


def test_a_plugin_of_another_core_is_not_imported(zoo):
    zoo("old", "good")
    registry = Registry.discover()
    assert [p.plugin for p in registry.problems if p.plugin.startswith("zz-")] == ["zz-old 1.0"]
    assert "zz_old" not in sys.modules
    assert "broken: zz-old 1.0: it was built for eozoo>=0.7,<0.8" in eozoo("list").output


def test_installed_imports_nothing(zoo):
    zoo(*PLUGINS)
    assert {"hangs", "dies"} <= {point.name for point in installed()}


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        ("toy:Toy", None),
        ("toy:Toy.sample", None),
        ("toy:np", None),
        ("toy:toi", "its module 'toy' has no 'toi'"),
        ("eozoo_core:Spec", None),  # through a module's __getattr__
        ("no_such_package_x.nets:net", "its module 'no_such_package_x.nets' does not exist"),
    ],
)
def test_wrong_target(target, wrong):
    assert probe.wrong_target(Spec("net", target, "A net.")) == wrong


@pytest.mark.parametrize("change", [{"takes": Port("a", "B")}, {"gives": ("a",)}, {"needs": ("timm",)}])
def test_malformed_ports_and_needs(change):
    with pytest.raises(ValueError, match=r"takes|gives|needs"):
        Spec("net", "a:b", "A net.", **change)
