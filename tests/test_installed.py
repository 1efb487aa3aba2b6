"""Plugins are found as importlib.metadata finds them, at a fraction of its cost."""

import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, entry_points, version

import pytest
from eozoo.cli import VERBS, main
from eozoo.installed import installed, version_of

META = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\nRequires-Dist: in-the-description\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Two folders in front of the import path; returns a function that writes a distribution into one of them."""
    for part in ("second", "first"):
        (tmp_path / part).mkdir()
        monkeypatch.syspath_prepend(tmp_path / part)

    def make(part, stem, points, meta, kind="dist-info"):
        folder = tmp_path / part / f"{stem}.{kind}"
        folder.mkdir()
        (folder / "entry_points.txt").write_text(points)
        if meta is not None:
            (folder / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_text(meta)
        return folder

    return make


def known():
    """What importlib.metadata says, in our words."""
    found = {
        (p.dist.name, p.name): (p.name, p.value, p.dist.name, p.dist.version, tuple(p.dist.requires or ()))
        for p in entry_points(group="eozoo")
    }
    return [facts for _, facts in sorted(found.items())]


def ours():
    return [(p.name, p.value, p.distribution, p.version, p.requires) for p in installed()]


def write_some(place):
    more = 'Requires-Dist: eozoo>=0.1,<0.2\nrequires-dist: x ; extra == "y"\n'
    text = "# a comment\n[console_scripts]\nzz = zz:main\n\n[eozoo]\na=zz.a\n b = zz.b : part.of [extra]\n# c = zz.c\n"
    place("first", "zz_One.two-1.0", text, META.format(name="zz-One.two", version="1.0", more=more))
    place("second", "zz_one_two-9.0", "[eozoo]\nhidden = zz\n", META.format(name="zz-one-two", version="9.0", more=""))
    egg = place(
        "first", "zz_egg", "[eozoo]\ne = zz_egg\n", META.format(name="zz-egg", version="3", more=""), "egg-info"
    )
    (egg / "requires.txt").write_text("eozoo>=0.1\n\n[extra]\nnumpy\n")
    place("second", "zz_none-1.0", "[other]\ne = zz\n", META.format(name="zz-none", version="1.0", more=""))


def test_plugins_are_those_that_importlib_finds(place):
    before = len(ours())
    write_some(place)
    assert [p for p in ours() if p[2] != "zz-egg"] == [p for p in known() if p[2] != "zz-egg"]
    assert ("e", "zz_egg", "zz-egg", "3", ("eozoo>=0.1",)) in ours()  # up to the first extra
    assert len(ours()) == before + 4 - 1  # "hidden" is not: its distribution comes first elsewhere
    assert next(p for p in installed() if p.name == "b").module == "zz.b"
    assert {name: version_of(name) for name in ("eozoo", "Zz_one.Two", "pytest")} == {
        name: version(name) for name in ("eozoo", "Zz_one.Two", "pytest")
    }
    with pytest.raises(PackageNotFoundError):
        version_of("zz-absent")


def test_the_backport_of_importlib_metadata_changes_nothing(place, monkeypatch):
    """Dask imports it on older Pythons: its finder looks into the same folders."""
    methods = {"__module__": "importlib_metadata", "find_distributions": lambda self, context=None: []}
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, type("MetadataPathFinder", (), methods)()])
    write_some(place)
    assert ("e", "zz_egg", "zz-egg", "3", ("eozoo>=0.1",)) in ours()


def test_an_archive_on_the_path_is_read_by_importlib(place, tmp_path, monkeypatch):
    write_some(place)
    with zipfile.ZipFile(tmp_path / "zz.zip", "w") as file:
        file.writestr("zz_zip-2.0.dist-info/entry_points.txt", "[eozoo]\nz = zz_zip\n")
        file.writestr("zz_zip-2.0.dist-info/METADATA", META.format(name="zz-zip", version="2.0", more=""))
    monkeypatch.syspath_prepend(tmp_path / "zz.zip")
    assert ours() == known()
    assert ("z", "zz_zip", "zz-zip", "2.0", ()) in ours()
    assert version_of("zz-zip") == "2.0"


def test_damaged_metadata_harm_nobody_else(place):
    before = ours()
    place("first", "zz_bare-4.0", "[eozoo]\nbare = zz_bare\nno equals sign\n", None)
    found = [p for p in installed() if p.distribution == "zz_bare"]
    assert [(p.name, p.label) for p in found] == [("bare", "zz_bare 4.0"), ("no equals sign", "zz_bare 4.0")]
    with pytest.raises(Exception, match="'no equals sign' is '', expected 'module' or 'module:attribute'"):
        found[1].load()
    assert [p for p in ours() if p[2] != "zz_bare"] == before


@pytest.mark.parametrize(
    ("verb", "heavy"),
    [("list", {"json"}), ("--help", {"dataclasses", "eozoo.registry", "eozoo.cli.list"})],
)
def test_what_a_listing_does_not_import(verb, heavy):
    """Each of these costs more than what ``eozoo list`` may add to click and pluggy: time itself is not asserted."""
    code = f"""
import sys, click, pluggy
before = set(sys.modules)
from eozoo.cli import main
main([{verb!r}], standalone_mode=False)
print("MODULES", *(set(sys.modules) - before))"""
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout
    added = set(said.rpartition("MODULES")[2].split())
    assert "eozoo.cli" in added
    always = {"importlib.metadata", "email.message", "pathlib", "logging", "traceback", "tempfile", "urllib.parse"}
    assert added & (always | heavy) == set()


def test_help_says_of_every_verb_one_whole_line():
    assert max(len(f"  {'prepare':<7}  {line}") for line in VERBS.values()) <= 80
    for verb, line in VERBS.items():
        long = main.get_command(None, verb).help
        assert line.split()[0] == long.split()[0], f"{verb}: {line!r} is not how {long!r} begins"
        assert line.endswith(".")


def test_what_is_no_text_on_the_path_is_passed_over(tmp_path, monkeypatch):
    before = ours()
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert ours() == before
