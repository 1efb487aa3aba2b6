"""``eozoo new``: what it writes, what it refuses. That it installs and runs is shown by the guide (test_docs)."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from eozoo import Registry
from eozoo.cli import main
from eozoo.cli.new import KINDS
from eozoo.compat import built_for_another, core_range
from eozoo.scaffold import write_plugin
from eozoo_core import Spec, ZooError, hookimpl
from stranger import Stranger

ROOT = Path(__file__).parent.parent
MAKES = {"network": "def glacier_task_net(", "samples": "class GlacierTask(ScalarRegression)"}
LINES = {"network": 30, "samples": 120}  # blank ones not counted


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    return Stranger(tmp_path_factory.mktemp("stranger"))


@pytest.mark.slow
def test_the_other_kinds_pass_the_kit(fresh):
    """In one process, and by hand what pip does: importing torch and installing are not what is tested here."""
    made = fresh.folder / "made"
    kinds = {"segmentation": "", "ssl": "", "samples": "", "network": "", "table_network": "--for table"}
    for kind, more in kinds.items():
        fresh.must(f"eozoo new other_{kind} --kind {kind.removeprefix('table_')} {more} --in made")
        info = made / f"eozoo_other_{kind}-0.1.0.dist-info"
        (made / f"other_{kind}" / f"eozoo_other_{kind}").rename(made / f"eozoo_other_{kind}")
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: eozoo-other-{kind}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[eozoo]\nother_{kind} = eozoo_other_{kind}.plugin\n")
    assert "185 passed" in fresh.must(f"PYTHONPATH={made} pytest made --import-mode=importlib -q")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_whole_and_clean(tmp_path, kind):
    done = CliRunner().invoke(main, ["new", "glacier_task", "--kind", kind, "--in", str(tmp_path)], obj=Registry())
    assert done.exit_code == 0, done.output
    made = tmp_path / "glacier_task"
    files = [p for p in made.rglob("*") if p.is_file()]
    text = "\n".join(p.read_text() for p in files if p.name != "LICENSE")
    for left in ("my_task", "my-task", "MyTask", "SUMMARY", "LAYOUT", "EOZOO_"):
        assert left not in text
    assert MAKES.get(kind, "class GlacierTask(Task)") in text
    assert {"pyproject.toml", "README.md", "LICENSE"} <= {p.name for p in made.iterdir()}
    assert (made / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    low, high = core_range()
    assert f'"eozoo>={low},<{high}"' in text
    code = "\n".join(p.read_text() for p in made.glob("eozoo_glacier_task/*.py"))
    assert sum(1 for line in code.splitlines() if line.strip()) <= LINES.get(kind, 200)
    places = {p.name for p in files}
    assert set(re.findall(r"`(\w+\.py)`", (made / "README.md").read_text())) <= places  # "where to change what"
    ruff = Path(sys.executable).with_name("ruff")
    checked = subprocess.run([ruff, "check", "--isolated", "--line-length=120", made], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def other():
    class Other:
        @hookimpl
        def eozoo_losses(self):
            return [Spec("snow_loss", "a:b", "A loss.")]

    return Other()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Snow", "'Snow' is no name"),
        ("3d", "'3d' is no name"),
        ("snow__x", "'snow__x' is no name"),
        ("core", "a package 'eozoo_core' is installed already"),
        ("snow", "loss 'snow_loss' exists already, from other 1.0"),
        ("there", "exists already"),
        ("../out", "'../out' is no name"),
    ],
)
def test_a_bad_name_is_one_line_and_writes_nothing(tmp_path, name, message):
    (tmp_path / "there").mkdir()
    registry = Registry()
    registry.add(other, "other 1.0")
    done = CliRunner().invoke(main, ["new", name, "--in", str(tmp_path)], obj=registry)
    assert done.exit_code == 1
    assert message in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_a_failed_write_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot be written"):
        write_plugin("snow", "regression", tmp_path / "file" / "deeper", Registry())


@pytest.mark.parametrize(
    ("requirements", "installed", "unmet"),
    [
        (["eozoo>=0.1,<0.2", "torch>=2"], "0.1.0", None),
        (["eozoo<0.2,>=0.1"], "0.2.0", "eozoo>=0.1,<0.2"),
        (["eozoo>=0.1,<0.2"], "0.10.0", "eozoo>=0.1,<0.2"),
        (["eozoo>=0.3"], "0.2.9", "eozoo>=0.3"),
        (["eozoo (>=0.1)"], "0.1", None),
        (["eozoo==0.1"], "0.1.0", None),
        (["eozoo!=0.1"], "0.1.0", "eozoo!=0.1"),
        (["eozoo~=0.1.2"], "0.2.0", "eozoo~=0.1.2"),
        (["eozoo==0.1.*"], "0.1.7", None),
        (["eozoo<0.2"], "0.2.0rc1", "eozoo<0.2"),
        (["eozoo>=9; extra == 'new'"], "0.1.0", None),
        (["eozoo[wandb]>=9"], "0.1.0", "eozoo>=9"),
        (["eozoo-gedi-sparse>=9", "eozoo"], "0.1.0", None),
    ],
)
def test_built_for_another_core(requirements, installed, unmet):
    assert built_for_another(requirements, installed) == unmet
