"""A broken plugin is a line in a list that names distribution and version; everything else goes on."""

import json
import re
import sys
import textwrap
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from eozoo import Problem, Registry, api
from eozoo.names import Entry
from eozoo.trained_with import parts_of, registry_of
from eozoo_core import Spec, ZooError, hookimpl

GOOD = """
from eozoo_core import Spec, hookimpl

@hookimpl
def eozoo_models():
    return [Spec("{name}", "argparse:Namespace", "A model.")]
"""
# module text -> what its Problem must say
BROKEN = {
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit('no licence')", "SystemExit: no licence"),
    "syntax": ("def f(:", "SyntaxError"),
    "missing_module": ("import no_such_module_x", "ModuleNotFoundError: No module named 'no_such_module_x'"),
    "misspelt": (GOOD.replace("eozoo_models", "eozoo_modles"), "eozoo_modles"),
    "argument": (GOOD.replace("eozoo_models()", "eozoo_models(registry)"), "registry"),
    "hook_raises": (GOOD.replace("return", "raise KeyError(3) #"), "KeyError: 3"),
    "not_a_list": (GOOD.replace("return", "return 7 #"), "eozoo_models returned 7, expected a list of Spec"),
    "not_specs": (GOOD.replace("return", "return ['unet'] #"), "expected a list of Spec"),
    "no_hookimpl": (GOOD.replace("@hookimpl", ""), "it declares nothing; is @hookimpl missing?"),
    "empty": ("", "it declares nothing"),
    "bad_name": (GOOD.replace("{name}", "My Net"), "a name is lower-case letters"),
    "bad_target": (GOOD.replace("argparse:Namespace", "argparse.Namespace"), "is not 'package.module:attribute'"),
    "half": (
        GOOD + "\n@hookimpl\ndef eozoo_losses():\n    raise RuntimeError('second hook')\n",
        "RuntimeError: second hook",
    ),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module as a distribution with an entry point, for as long as the test runs."""

    def make(name, text, version="1.0", points=None):
        (tmp_path / f"zz_{name}.py").write_text(textwrap.dedent(text))
        folder = tmp_path / f"zz_{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zz-{name}\nVersion: {version}\n")
        lines = points or [f"{name} = zz_{name}"]
        (folder / "entry_points.txt").write_text("[eozoo]\n" + "\n".join(lines) + "\n")

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in [n for n in sys.modules if n.startswith("zz_")]:
        del sys.modules[name]


def ours(registry):
    return {p.plugin: p.reason for p in registry.problems if p.plugin.startswith("zz-")}


def test_every_broken_plugin_is_one_problem_and_the_rest_works(install):
    before = Registry.discover()
    for name, (text, _) in BROKEN.items():
        install(name, text.replace("{name}", f"zz_{name}"), "2.5")
    install("good", GOOD.replace("{name}", "zz_good"))
    install("nowhere", "", points=["nowhere = zz_nowhere_at_all"])
    install("nothing", "", points=["nothing = zz_nothing:missing.attribute"])
    registry = Registry.discover()

    problems = ours(registry)
    assert problems.keys() == {f"zz-{name} 2.5" for name in BROKEN} | {"zz-nowhere 1.0", "zz-nothing 1.0"}
    for name, (_, reason) in BROKEN.items():
        found = problems[f"zz-{name} 2.5"]
        assert reason in found
        assert "\n" not in found
    assert set(registry.names("model")) == {*before.names("model"), "zz_good"}
    assert registry.create("model", "zz_good", {"a": 1}) == Namespace(a=1)
    assert registry.find("model", "zz_good").plugin == "zz-good 1.0"
    assert registry.names("task") == before.names("task")
    with pytest.raises(ZooError, match=r"broken plugin\(s\): see 'eozoo doctor'"):
        registry.find("model", "zz_half")  # its good hook does not count either


def test_two_plugins_in_one_distribution(install):
    install("two", GOOD.replace("{name}", "zz_one"), points=["a = zz_two", "b = zz_other"])
    install("other", GOOD.replace("{name}", "zz_two"), points=["unused = zz_other"])
    registry = Registry.discover()
    assert registry.find("model", "zz_one").plugin == "zz-two 1.0"
    # The same module under two entry points is a problem of the second.
    assert "zz_other" in ours(registry)["zz-two 1.0"]
    assert registry.find("model", "zz_two").plugin == "zz-other 1.0"


TWO = """
from eozoo_core import Port, Slot, Spec, hookimpl
X = (Port("x", "B"),)

class Task:
    slots = {{"model": Slot("model", feeds=X)}}

class Net(dict):
    package = __name__

    def __init__(self, **options):
        super().__init__(options)

@hookimpl
def eozoo_tasks():
    return [Spec("zz_task", __name__ + ":Task", "A task.")]

@hookimpl
def eozoo_models():
    return [Spec("{name}", __name__ + ":Net", "A model.", takes=X)]
"""


def test_a_name_claimed_twice_breaks_neither_and_is_typed_in_full(install):
    install("first", TWO.format(name="zz_net"), "1.0")
    install("second", TWO.format(name="zz_net"), "2.0")
    registry = Registry.discover()
    claim = "'zz_net' .* zz-first 1.0 and zz-second 2.0; write 'zz-first/zz_net' or 'zz-second/zz_net'"
    assert ours(registry) == {}
    assert re.search(claim, registry.claims()[1])
    with pytest.raises(ZooError, match=claim):
        registry.create("model", "zz_net", {})
    assert registry.create("model", "zz-first/zz_net", {"a": 1}).package == "zz_first"
    made = api.create_model("Zz.Second/zz_net", a=1)
    assert (made, made.package) == ({"a": 1}, "zz_second")
    assert api.list_models("*zz_net") == ["zz-first/zz_net", "zz-second/zz_net"]
    with pytest.raises(ZooError, match=r"no model 'zz-first/zz_nett'\. Did you mean 'zz-first/zz_net'\?"):
        registry.find("model", "zz-first/zz_nett")
    with pytest.raises(ZooError, match=r"no model 'zz_net': it is in a package of its own; pip install zz-third"):
        registry.find("model", "zz-third/zz_net")


def test_a_task_means_its_own_package_first_then_those_of_its_run(install, tmp_path):
    install("first", TWO.format(name="zz_net"), "1.0")
    install("second", TWO.format(name="zz_net"), "2.0")
    install("third", TWO.format(name="zz_other").replace("zz_task", "zz_third"), "3.0")
    registry = Registry.discover()
    for package, module in (("zz-first", "zz_first"), ("zz-second", "zz_second")):
        seen = registry.within(f"{package}/zz_task")
        assert seen.create("model", "zz_net", {}).package == module
        assert seen.create("model", "zz-second/zz_net", {}).package == "zz_second"
        task = seen.get("task", "zz_task")
        assert task is seen.get("task", f"{package}/zz_task")
        settings = Namespace(model=Namespace(name="zz_net", options={}))
        seen.check_slots(task, settings)
        assert parts_of(seen, task, settings) == {}
    third = registry.within("zz_third")
    with pytest.raises(ZooError, match="'zz_net' is claimed by"):
        third.create("model", "zz_net", {})
    parts = parts_of(
        third, third.get("task", "zz_third"), Namespace(model=Namespace(name="zz-second/zz_net", options={}))
    )
    assert parts == {"model": "zz-second 2.0"}

    def run(task, plugin, asked=None, **more):
        info = {"task": task, "format": 2, "plugin": plugin, **more}
        (tmp_path / "run.json").write_text(json.dumps(info))
        return registry_of(registry, asked or task, tmp_path)

    assert run("zz_third", "zz-third 3.0", parts=parts).create("model", "zz_net", {}).package == "zz_second"
    assert run("zz_task", "zz-second 2.0").own.plugin == "zz-second 2.0"  # though two claim it
    with pytest.raises(ZooError, match=r"was trained with zz-gone 1\.2, which is not installed; pip install zz-gone"):
        run("zz_task", "zz-gone 1.2")
    with pytest.raises(
        ZooError, match="its model was trained with zz-gone 4, which is not installed; pip install zz-g"
    ):
        run("zz_third", "zz-third 3.0", parts={"model": "zz-gone 4"})
    with pytest.raises(ZooError, match=r"with zz-third 3\.0, not with 'zz-first/zz_third'; write 'zz-third/"):
        run("zz_third", "zz-third 3.0", "zz-first/zz_third")


def test_twice_in_one_package_is_a_problem_of_that_package(install):
    install("one", GOOD.replace("{name}", "zz_net"), points=["a = zz_one", "b = zz_more"])
    (Path(sys.path[0]) / "zz_more.py").write_text(GOOD.replace("{name}", "zz_net").replace("Namespace", "Action"))
    registry = Registry.discover()
    assert ours(registry) == {"zz-one 1.0": "it declares the model 'zz_net' twice; the first is used"}
    assert registry.create("model", "zz_net", {}) == Namespace()


def test_an_unknown_name_gets_a_suggestion_not_a_list(registry, install, monkeypatch):
    for name in ("alpha_heron", "beta_heron", "gamma_net", "delta"):
        install(name, GOOD.replace("{name}", f"zz_{name}"))
    full = Registry.discover()
    near = "'zz_alpha_heron' or 'zz_beta_heron'"
    for name, said in (("zz_gama_net", "'zz_gamma_net'"), ("big_heron_of_mine", near)):
        with pytest.raises(ZooError, match=re.escape(f"no model {name!r}. Did you mean {said}?")):
            full.find("model", name)
    with pytest.raises(ZooError, match=r"no model 'qqqq'\. 'eozoo list models' shows all \d+\."):
        full.find("model", "qqqq")
    with pytest.raises(ZooError, match=r"no model 'qqqq'\. Known: broken, heavy, nested, net, open_net\."):
        registry.find("model", "qqqq")
    monkeypatch.setattr("eozoo.registry.installed", list)
    for task, package in (("gedi_sparse", "eozoo-gedi-sparse"), ("barlow_landcover", "eozoo-barlow-twins")):
        with pytest.raises(ZooError, match=f"no task '{task}': it is in a package of its own; pip install {package}"):
            registry.find("task", task)


def test_a_task_of_another_api_is_one_line(monkeypatch, capsys):
    class Tasks:
        @hookimpl
        def eozoo_tasks(self):
            return [Spec(name, f"test_registry:{name.title()}Api", "A task.") for name in ("silent", "first", "future")]

    registry = Registry()
    registry.add(Tasks, "plugin 1.0")
    assert registry.get("task", "silent").__name__ == "SilentApi"
    first = registry.get("task", "first")
    with pytest.raises(ZooError, match=r"'future' of plugin 1\.0: it is written for api 9, this eozoo speaks api 1; "):
        registry.get("task", "future")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("eozoo_core.api.API", 2)  # a later core, which still speaks 1: told once
    for name in ("silent", "first", "first"):
        registry.get("task", name)
    notice = "of plugin 1.0: it is written for api 1; this eozoo still speaks it, the next break does not"
    assert capsys.readouterr().err == f"task 'silent' {notice}\ntask 'first' {notice}\n"
    monkeypatch.setattr("eozoo_core.api.OLDEST", 2)  # and one that does not
    for name in ("silent", "first"):
        with pytest.raises(ZooError, match=r"for api 1, this eozoo speaks api 2; update its plugin$"):
            registry.get("task", name)
    monkeypatch.setattr(first, "api", "1")
    with pytest.raises(ZooError, match="it says api = '1', expected a whole number"):
        registry.get("task", "first")


class SilentApi:
    """Of a plugin that says nothing: api 1."""


class FirstApi:
    api = 1


class FutureApi:
    api = 9


def test_registries_share_nothing(install):
    install("good", GOOD.replace("{name}", "zz_good"))
    first, second = Registry.discover(), Registry()
    assert "zz_good" in first.names("model")
    assert (second.names("model"), second.problems) == ([], [])


class Plugin:
    """A plugin as an object, for what does not need an installed distribution."""

    @hookimpl
    def eozoo_models(self):
        here = f"{__name__}:{{}}"
        return [
            Spec("net", "test_registry:net", "A net."),
            Spec("open_net", "test_registry:open_net", "Takes anything."),
            Spec("broken", "test_registry:nothing_of_this_name", "Its target is not there."),
            Spec("heavy", "test_registry:net", "Needs a module.", needs=(("zz_absent.part", "zz-absent>=2"),)),
            Spec("nested", "test_registry:Plugin.build", here and "An attribute of an attribute."),
        ]

    @staticmethod
    def build():
        return "built"


def net(width, depth=2, *, flag=False):
    return width, depth, flag


def open_net(width=1, **more):
    return width, more


@pytest.fixture
def registry():
    registry = Registry()
    registry.add(Plugin, "plugin 1.0")
    assert registry.problems == []
    return registry


def test_create_checks_options(registry):
    assert registry.create("model", "net", {"width": 3, "flag": True}) == (3, 2, True)
    assert registry.create("model", "nested", {}) == "built"
    assert registry.create("model", "open_net", {"else_": 2}) == (1, {"else_": 2})
    with pytest.raises(ZooError, match=r"model 'net' has no option 'widht'\. Did you mean 'width'\?"):
        registry.create("model", "net", {"widht": 3})
    with pytest.raises(ZooError, match="model 'net' needs the option 'width'"):
        registry.create("model", "net", {"depth": 3})
    with pytest.raises(ZooError, match=r"no model 'nett'\. Did you mean 'net'\?"):
        registry.create("model", "nett", {})
    with pytest.raises(ZooError, match=r"no loss 'nll'\. Known: none\."):
        registry.create("loss", "nll", {})


def test_optional_module_is_asked_for_when_it_is_used(registry):
    assert "heavy" in registry.names("model")
    with pytest.raises(ZooError, match=r"heavy .*'zz_absent\.part'.* pip install 'zz-absent>=2'"):
        registry.get("model", "heavy")
    assert Spec("x", "math:pi", "Needs what is there.", needs=(("xml.dom", "xml"),)).load() == pytest.approx(
        3.14159, abs=1e-5
    )


def test_a_misspelt_target_is_one_line_a_bug_in_one_keeps_its_traceback(registry, tmp_path, monkeypatch):
    with pytest.raises(ZooError, match="'broken' cannot be used: its module 'test_registry' has no 'nothing_of_this_"):
        registry.get("model", "broken")
    (tmp_path / "zz_bug.py").write_text("import zz_not_there\nnet = 1")
    monkeypatch.syspath_prepend(tmp_path)
    entry = registry.find("model", "broken")
    monkeypatch.setattr(
        registry, "find", lambda *_: Entry("model", entry.plugin, replace(entry.spec, target="zz_bug:net"))
    )
    with pytest.raises(ModuleNotFoundError) as error:
        registry.get("model", "broken")
    assert "while importing model 'broken' from plugin 1.0" in error.value.__notes__[0]


@pytest.mark.parametrize(
    "change",
    [
        *({"name": name} for name in ("Net", "", "_net", "2d", "u-net", "nët")),
        *({"target": target} for target in ("a.b", ":a", "a..b:c", "a.b:", "a.b:c:d", "a b:c", "2a:c")),
        {"ports_of": "a.b"},
        {"summary": ""},
        {"summary": "a\nb"},
    ],
)
def test_malformed_specs(change):
    with pytest.raises(ValueError, match=r"name|target|summary"):
        Spec(**{"name": "net", "target": "a.b:c", "summary": "A net.", **change})


def test_problem_is_one_line():
    assert Problem("p 1", ValueError("a\n  b")).reason == "ValueError: a b"
    assert Problem("p 1", ValueError()).reason == "ValueError: ValueError"
    assert Problem("p 1", ZooError("what to do")).reason == "what to do"


def test_api_lists_and_creates(install):
    install("good", GOOD.replace("{name}", "zz_unet_small"))
    install("more", GOOD.replace("{name}", "zz_vit").replace("models", "losses"))
    assert api.list_models("zz_*") == ["zz_unet_small"]
    assert api.list_models("ZZ_*") == []
    assert "zz_unet_small" in api.list_models("*unet*")
    assert api.list_losses("zz_*") == ["zz_vit"]
    assert set(api.list_models("zz_*")) < set(api.list_models())
    assert api.list_tasks("zz_*") == api.list_datasets("zz_*") == []
    assert api.create_loss("zz_vit", name="x") == Namespace(name="x")
    assert api.create_model("zz_unet_small", width=3) == Namespace(width=3)
    with pytest.raises(ZooError, match="no model 'zz_vit'"):
        api.create_model("zz_vit")


def test_load_run_predicts_from_the_run_alone(install, tmp_path):
    import shutil

    import numpy as np
    from eozoo_core import Run
    from toy import Toy

    install(
        "toy",
        GOOD.replace("models", "tasks").replace("{name}", "toy").replace("argparse:Namespace", "toy:Toy"),
    )
    sample = Toy.sample(tmp_path / "data")
    run = Run.create(tmp_path / "run", "toy", sample.settings)
    Toy(sample.settings).train(run)
    shutil.rmtree(tmp_path / "data")
    loaded = api.load_run(tmp_path / "run", "runtime.device=cpu")
    assert loaded.outputs == {"y": "m"}
    y = loaded.predict({"x": np.array([[0.0, 0.0], [np.nan, 1.0]], "float32")})["y"]
    assert np.isfinite(y[0, 0])
    assert np.isnan(y[1, 0])
    with pytest.raises(ZooError, match="was fixed by training"):
        api.load_run(tmp_path / "run", "train.epochs=9")
    with pytest.raises(ZooError, match="holds no run"):
        api.load_run(tmp_path / "none")
