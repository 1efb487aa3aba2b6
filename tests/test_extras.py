"""What is imported is declared; what only some steps need is an extra, named in one line where it is absent."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from eozoo import Registry
from eozoo_core import ZooError
from test_layers import PROJECTS, ROOT, imported, wheel_packages

OURS = {
    "eozoo",
    "eozoo_core",
    "eozoo_barlow_twins",
    "eozoo_clay_ta",
    "eozoo_gedi_sparse",
    "eozoo_prithvi_refine",
    "eozoo_pretrained",
}

HOMES = {  # of modules that are not called as the package, or come with another one
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "pystac": "stac-model",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def names(requirements):
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_what_a_package_imports_it_declares(folder):
    said, root = project(folder), project(ROOT)
    extras = [line for lines in said.get("optional-dependencies", {}).values() for line in lines]
    declared = names([*root["dependencies"], *said["dependencies"], *extras])
    imports = [found for package in wheel_packages(folder) for found in imported(package)]
    found = {top for file, top in imports if "scaffold" not in str(file)} - OURS - sys.stdlib_module_names
    assert {HOMES.get(top, top.replace("_", "-").lower()) for top in found} - declared == set()


def test_readme_has_every_extra():
    table = set(re.findall(r"^\| `([\w-]+\[\w+\])`", (ROOT / "README.md").read_text(), re.MULTILINE))
    said = {f"{project(f)['name']}[{extra}]" for f in PROJECTS for extra in project(f).get("optional-dependencies", {})}
    assert table == said


def test_gedi_sparse_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    registry = Registry.discover()
    assert registry.create("model", "context_net", {"in_channels": 2}) is not None
    with pytest.raises(ZooError, match=r"needs the module 'timm': pip install 'eozoo-gedi-sparse\[timm\]'$"):
        registry.create("model", "timm_unet", {})


def test_cubes_and_rasters_without_h5py(monkeypatch, tmp_path):
    from eozoo_barlow_twins.prepare.cubes import prepare_cube
    from eozoo_barlow_twins.prepare.settings import CubeSettings
    from eozoo_core.raster.packed import open_hdf5
    from eozoo_core.raster.read import read_whole

    monkeypatch.setitem(sys.modules, "h5py", None)
    Path(tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ZooError, match=r"read with h5py; pip install 'eozoo-barlow-twins\[cube\]'$"):
        prepare_cube(CubeSettings(folder=str(tmp_path), tile="T"), tmp_path / "out")
    with pytest.raises(ZooError, match=r"a\.nc: .* are read with h5py; pip install 'eozoo\[hdf5\]'$"):
        read_whole(tmp_path / "a.nc")
    with pytest.raises(ZooError, match="read with h5py"), open_hdf5(tmp_path / "a.nc"):
        pass
