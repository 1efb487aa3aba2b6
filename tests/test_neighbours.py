"""Other people's plugins: broken, slow, hanging, of another core, switched off. The rest of the zoo works."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from eozoo import Registry, probe, switches
from eozoo.cli import main
from eozoo.registry import installed
from eozoo.trained_with import registry_of
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
    "hollow": spec("zz_hollow"),
    "stale": spec("zz_stale"),
    "unlisted": spec("zz_unlisted", "zz_unlisted_net:net"),
    "crashes": spec("zz_crashes", "zz_crashes_net:net"),
    "newer": spec("zz_newer", "zz_newer_net:Newer").replace("models", "tasks"),
}
TARGETS = {
    "unlisted_net": "import zz_einops\nnet = 1",
    "crashes_net": "import os\nprint('a plugin may print')\nos.abort()\nnet = 1",
    "newer_net": "class Newer:\n    api = 2",
}
REQUIRES = {  # what its package requires beside eozoo; extras of its own are nobody's duty
    "old": "eozoo>=0.7,<0.8",
    "good": 'eozoo (>=0.1, <0.2)\nRequires-Dist: zz-absent ; extra == "maps"\nRequires-Dist: pytest>=7,\n <999',
    "hollow": 'eozoo\nRequires-Dist: zz-absent\n >=2\nRequires-Dist: zz-other ; python_version < "3"',
    "stale": "eozoo\nRequires-Dist: click>=999",
}


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Install the named PLUGINS as distributions, here and for processes that are started from here."""

    def make(*names):
        for name in names:
            (tmp_path / f"zz_{name}.py").write_text(PLUGINS[name])
            (tmp_path / f"zz_{name}_net.py").write_text(TARGETS.get(f"{name}_net", ""))
            folder = tmp_path / f"zz_{name}-1.0.dist-info"
            folder.mkdir()
            needs = f"Requires-Dist: {REQUIRES.get(name, 'eozoo')}\n"
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


@pytest.fixture
def unimported(monkeypatch):
    """``doctor`` without the seconds that importing what others declare takes."""
    monkeypatch.setattr(probe, "import_targets", lambda targets: [probe.Target()] * len(targets))


def test_doctor_names_package_version_reason_and_remedy_of_each(zoo, monkeypatch):
    for name in ("barlow_twins", "clay_ta", "gedi_sparse", "prithvi_refine"):  # importing what they declare takes long
        eozoo("plugins", "disable", name)
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
        "hollow": ("it requires zz-absent>=2, which is not installed", "pip install 'zz-absent>=2'"),
        "stale": ("it requires click>=999, installed is", "pip install 'click>=999'"),
        "unlisted": ("importing zz_unlisted_net fails; pip install", "the package that has the module 'zz_einops'"),
        "crashes": ("importing zz_crashes_net: ends the process", "eozoo plugins disable crashes"),
        "newer": ("it is written for api 2, this eozoo speaks api 1; update eozoo", "eozoo plugins disable newer"),
        "crooked": ("zz_crooked: takes is 'image', expected a tuple of Port", "eozoo plugins disable crooked"),
    }
    assert found.keys() == {f"zz-{name} 1.0" for name in expected}  # neither of two that claim a name is broken
    written = "write 'zz-clash/zz_good' or 'zz-good/zz_good'"
    assert content["claims"] == [f"model 'zz_good' is claimed by zz-clash 1.0 and zz-good 1.0; {written}"]
    notes = {(w["plugin"], w["reason"]) for w in content["warnings"]}
    need = "model 'zz_needy': to be used it needs the module 'zz_absent': pip install 'zz-absent>=2'"
    assert ("zz-needy 1.0", need) in notes
    unbound = {plugin for plugin, reason in notes if "nothing bounds its eozoo from above" in reason}
    assert unbound == {f"zz-{name} 1.0" for name in PLUGINS if name not in ("hangs", "old", "good")}
    for name, (reason, remedy) in expected.items():
        assert reason in found[f"zz-{name} 1.0"]["reason"]
        assert remedy in found[f"zz-{name} 1.0"]["remedy"]
    plugins = {p["plugin"]: p for p in content["plugins"]}
    assert plugins["zz-slow 1.0"]["slow"]
    assert plugins["zz-slow 1.0"]["import_seconds"] >= 0.4
    assert "pydantic" in plugins["zz-slow 1.0"]["costly"]
    assert not plugins["zz-good 1.0"]["slow"]
    assert plugins["zz-good 1.0"]["offers"] == ["zz-good/zz_good"]


def test_doctor_waits_for_nobody(zoo, monkeypatch, unimported):
    zoo("hangs")
    monkeypatch.setattr(probe, "PATIENCE", 1.0)  # others may take longer on a busy machine: only this one surely does
    found = {p["plugin"]: p for p in json.loads(eozoo("doctor", "--json", code=1).stdout)["problems"]}
    assert "does not end within 1 s" in found["zz-hangs 1.0"]["reason"]
    assert "eozoo plugins disable hangs" in found["zz-hangs 1.0"]["remedy"]


def test_a_target_that_never_ends_costs_no_other(zoo, monkeypatch):
    zoo("hangs")
    monkeypatch.setattr(probe, "PATIENCE", 2.0)
    said = [t.failure for t in probe.import_targets(["time:sleep", "zz_hangs:net", "argparse:Namespace", "time:nap"])]
    assert said[:3] == ["", "does not end within 2 s", ""]
    assert "AttributeError: module 'time' has no attribute 'nap'" in said[3]


def test_disable_needs_no_import_and_enable_undoes_it(zoo, unimported, tmp_path):
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
    assert switches.disabled() == {"zz-dies/dies", "zz-good/good"}
    assert "zz_good" not in Registry.discover().names("model")
    (tmp_path / "run.json").write_text('{"task": "zz_good", "format": 2, "plugin": "zz-good 0.9"}')
    with pytest.raises(ZooError, match=r"with zz-good 0\.9, which is switched off; 'eozoo plugins enable good'"):
        registry_of(Registry.discover(), "zz_good", tmp_path)
    with pytest.raises(ZooError, match="no model 'zz_good': its plugin is switched off; 'eozoo plugins enable good'"):
        Registry.discover().find("model", "zz-good/zz_good")
    eozoo("plugins", "enable", "good")
    with pytest.raises(ZooError, match=r"and zz-good 1\.0 gives no task 'zz_good'; see 'eozoo doctor'"):
        registry_of(Registry.discover(), "zz_good", tmp_path)
    assert switches.disabled() == {"zz-dies/dies"}
    assert "zz_good" in Registry.discover().names("model")


def test_switching_one_off_settles_a_claimed_name(zoo):
    zoo("good", "clash")
    with pytest.raises(ZooError, match="write 'zz-clash/zz_good' or 'zz-good/zz_good'"):
        Registry.discover().find("model", "zz_good")
    result = eozoo("list", "models")
    assert "model  zz-good/zz_good" in result.stdout
    assert "twice: model 'zz_good' is claimed by" in result.stderr
    assert "is claimed by zz-clash 1.0 and zz-good 1.0" in eozoo("show", "zz_good", code=1).output
    assert "zz-clash 1.0" in eozoo("show", "Zz_clash/zz_good").output
    eozoo("plugins", "disable", "clash")
    assert Registry.discover().find("model", "zz_good").plugin == "zz-good 1.0"
    assert "zz_good  " in eozoo("list", "models").stdout


def test_two_packages_with_one_entry_point_name_are_told_apart(zoo, tmp_path, unimported):
    zoo("good", "lost", "dies")
    for name in ("lost", "dies"):
        (tmp_path / f"zz_{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[eozoo]\ngood = zz_{name}\n")
    assert (
        "plugin 'good' is one of zz-dies 1.0 and zz-good 1.0 and" in eozoo("plugins", "disable", "good", code=1).output
    )
    assert "zz-dies/good (zz-dies 1.0) is off" in eozoo("plugins", "disable", "zz-dies/good").output
    states = {p["plugin"]: p["enabled"] for p in json.loads(eozoo("plugins", "--json").output)}
    assert {p: on for p, on in states.items() if p.startswith("zz-")} == {
        "zz-dies 1.0": False,
        "zz-good 1.0": True,
        "zz-lost 1.0": True,
    }
    assert {"zz_good", "zz_lost"} <= set(Registry.discover().names("model"))
    content = json.loads(eozoo("doctor", "--json").stdout)
    names = {p["plugin"]: p["name"] for p in content["plugins"] if p["plugin"].startswith("zz-")}
    assert names == {"zz-good 1.0": "zz-good/good", "zz-lost 1.0": "zz-lost/good"}
    assert content["disabled"] == ["zz-dies/good"]
    eozoo("plugins", "enable", "zz-dies/good")
    assert switches.disabled() == frozenset()


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
