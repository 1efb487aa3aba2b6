"""Arrows point one way, nothing heavy is imported before it is used, and a wheel holds our packages only."""

import ast
import functools
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECTS = [ROOT, *(p.parent for p in sorted(ROOT.glob("plugins/*/pyproject.toml")))]
HEAVY = {
    "torch",
    "numpy",
    "pydantic",
    "rasterio",
    "timm",
    "matplotlib",
    "lightning_fabric",
    "PIL",
    "yaml",
    "peft",
    "stac_model",
    "pystac",
}


def wheel_packages(project):
    """The packages of a distribution, as hatchling is told to put them into the wheel."""
    config = tomllib.loads((project / "pyproject.toml").read_text())
    return [project / p for p in config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]


PACKAGES = {package.name: package for project in PROJECTS for package in wheel_packages(project)}
PLUGINS = sorted(set(PACKAGES) - {"eozoo", "eozoo_core"})


@functools.cache
def nodes(file):
    """All nodes of the syntax tree of a file, parsed once for all tests."""
    return list(ast.walk(ast.parse(file.read_text(), str(file))))


def imported(package):
    """Yield (file, top-level name) of every import in a package, also inside functions and for type checkers."""
    for file in sorted(package.rglob("*.py")):
        for node in nodes(file):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                yield file, node.module.split(".")[0]


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_one_way_imports(name):
    allowed = {"eozoo_core": {"eozoo_core"}, "eozoo": {"eozoo_core", "eozoo"}}.get(name, {"eozoo_core", name})
    # A plugin's own tests may use the conformance kit; its package may not.
    ours = set(PACKAGES) | {"core", "registry", "plugins", "tests"}
    found = list(imported(PACKAGES[name]))
    assert found
    wrong = [f"{file.relative_to(ROOT)} imports {top}" for file, top in found if top in ours - allowed]
    assert wrong == []


# Core's rooms from the lightest to the one that knows all: each imports itself and those before it.
FLOORS = ("", "settings", "run", "train", "raster", "sources", "score", "checking", "task", "images", "tables")


def modules():
    """Module name -> file of everything in the distributions, templates of the scaffold aside."""
    found = {}
    for name, package in PACKAGES.items():
        for file in package.rglob("*.py"):
            if "scaffold" not in file.parts or (file.name == "__init__.py" and file.parent.name == "scaffold"):
                parts = [name, *file.relative_to(package).with_suffix("").parts]
                found[".".join(parts).removesuffix(".__init__")] = file
    return found


def imports_of(file, known):
    """The modules among ``known`` that a file imports, anywhere in it, for type checkers too."""
    for node in nodes(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in ([full] if full in known else [node.module]) if name in known)


def test_no_import_circle():
    known = modules()
    left = {name: {other for other in imports_of(file, known) if other != name} for name, file in known.items()}
    while ends := [name for name in left if not left[name] & left.keys() or not any(name in o for o in left.values())]:
        for name in ends:  # imports nothing that is left, or is imported by nothing that is left
            del left[name]
    # A package whose __init__ passes names on is imported by users of the package, never by its own modules.
    assert sorted(left) == []


def test_core_imports_downwards_only():
    known = modules()

    def floor(module):
        room = module.split(".")[1] if known[module].parent.name != "eozoo_core" else ""
        return FLOORS.index(room)

    core = {name: file for name, file in known.items() if name.startswith("eozoo_core.")}
    assert {floor(name) for name in core} == set(range(len(FLOORS)))
    wrong = [
        f"{name} imports {other}"
        for name, file in core.items()
        for other in imports_of(file, core)
        if floor(other) > floor(name)
    ]
    assert wrong == []


def test_wheels_hold_our_packages_only():
    assert {"eozoo", "eozoo_core"} <= set(PACKAGES)
    for name, package in PACKAGES.items():
        assert (package / "__init__.py").exists(), name
        assert name.startswith("eozoo"), f"{name} would be importable at top level"
        assert not [p for p in package.rglob("*") if p.name in ("tests", "test") or p.name.startswith("test_")]
    for project in PROJECTS:
        targets = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
        assert set(targets["wheel"]) <= {"packages", "dev-mode-dirs"}, (
            "force-include and the like add files by the back door"
        )


def test_one_module_reads_and_writes_checkpoints():
    """Everybody else goes through it, and no data are unpickled anywhere."""
    hostile = {"registry/eozoo/testing/loading.py", "registry/eozoo/testing/canary.py"}  # files that the kit writes
    hostile |= {"registry/eozoo/testing/workers.py"}  # what goes to a worker and comes back, within one process
    ours = {"core/eozoo_core/run/checkpoint.py", *hostile}
    for package in PACKAGES.values():
        for file in sorted(package.rglob("*.py")):
            for node in nodes(file):
                mentioned = isinstance(node, ast.Attribute) and node.attr in ("save", "load", "loads")
                if mentioned and str(file.relative_to(ROOT)) not in ours:
                    assert ast.unparse(node) not in ("torch.save", "torch.load", "pickle.load", "pickle.loads"), file
                if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                    if str(file.relative_to(ROOT)) in hostile:
                        continue
                    assert ast.unparse(node.value) == str(node.arg == "weights_only"), f"{file}:{node.value.lineno}"


def test_one_module_opens_rasters():
    """Everybody else asks it: packing, nodata, masks and places are handled once. Writing is another matter."""
    ours = {"core/eozoo_core/raster/read.py", "core/eozoo_core/raster/cog.py", "registry/eozoo/testing/infer.py"}
    opening = {"rasterio.open", "rasterio.vrt.WarpedVRT", "WarpedVRT", "rasterio.band", "gdal.Open"}
    for package in PACKAGES.values():
        for file in sorted(package.rglob("*.py")):
            for node in nodes(file):
                called = node.func if isinstance(node, ast.Call) else None
                last = getattr(called, "attr", getattr(called, "id", ""))
                if last in ("open", "WarpedVRT", "band", "Open") and ast.unparse(called) in opening:
                    writes = len(node.args) > 1 and ast.unparse(node.args[1]) == "'w'"
                    assert writes or str(file.relative_to(ROOT)) in ours, f"{file}:{node.lineno}"


def fresh(code):
    """Run code in a fresh interpreter outside the repository; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import eozoo",
        "import eozoo_core, eozoo_core.spec, eozoo_core.hookspecs, eozoo_core.errors, eozoo_core.run.rank",
        "from eozoo import Registry; r = Registry.discover(); [r.entries(k) for k in ('task', 'model')]",
        "import eozoo; eozoo.list_tasks(), eozoo.list_models('*unet*'), eozoo.list_losses(), eozoo.list_datasets()",
        "from eozoo_core import Spec, hookimpl, ZooError; Spec('a', 'torch:nn', 'x', needs=(('timm', 'timm'),))",
    ],
)
def test_light_modules_import_nothing_heavy(code):
    loaded = set(fresh(f"{code}\nimport sys; print(*sys.modules)").split())
    assert loaded & {"eozoo", "eozoo_core"}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "name",
    [
        "settings.config",
        "run.directory",
        "run.checkpoint",
        "task",
        "train.fit",
        "train.launch",
        "train.loading",
        "train.optimizer",
        "train.schedule",
    ],
)
def test_core_modules_import_torch_late(name):
    """Settings and runs are read by commands that need no torch; fit brings it in when training starts."""
    loaded = set(fresh(f"import eozoo_core.{name}, sys; print(*sys.modules)").split())
    assert loaded & {"torch", "lightning_fabric", "rasterio", "timm", "matplotlib"} == set()


@pytest.mark.parametrize("stand_in", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_fabric_comes_without_torchmetrics_which_can_still_be_imported(tmp_path, stand_in):
    (tmp_path / "torchmetrics.py").write_text("Metric = 1\n")  # the real one takes seconds to import
    if stand_in:  # of Fabric, which asks for the version only
        (tmp_path / "lightning_fabric.py").write_text("from torchmetrics import __version__\nFabric = 1\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from eozoo_core.train.launch import without_torchmetrics
with without_torchmetrics():
    from lightning_fabric import Fabric
print(*sys.modules)
import torchmetrics
assert torchmetrics.Metric
with without_torchmetrics():  # where it is imported already, it stays
    assert sys.modules["torchmetrics"] is torchmetrics
assert sys.modules["torchmetrics"] is torchmetrics
"""
    loaded = set(fresh(code).split())
    assert "lightning_fabric" in loaded
    assert loaded & {"torchmetrics", "torchvision", "transformers"} == set()


def test_no_import_from_the_current_directory(tmp_path):
    """A folder of data that happens to hold a torch.py or an eozoo_core must not be run by the command."""
    command = Path(sys.executable).with_name("eozoo")
    for name in ("yaml.py", "click.py", "eozoo_core.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current directory')")
    done = subprocess.run([command, "list"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "current directory" not in done.stdout + done.stderr


def test_every_export_exists():
    import eozoo
    import eozoo_core

    for module in (eozoo, eozoo_core):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        eozoo_core.nonsense  # noqa: B018
