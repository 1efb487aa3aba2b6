"""docs/what_is_refused.md, line by line: the files are made, the commands run, and the words compared."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from eozoo.cli import main
from eozoo_gedi_sparse.demo.landscape import write_landscape
from wrong_inputs import make_wrong_inputs

PAGE = Path(__file__).parent.parent / "docs" / "what_is_refused.md"
TINY = ["model.options.width=4", "train.members=1", "data.crop=32", "train.epochs=2", "train.batch_size=4"]


def lines_of_the_page():
    """Yield (command, input, what is said, what to do) of every line of every table."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        (command,) = re.findall(r"^\$ eozoo (.*)$", section, re.MULTILINE)
        for row in re.findall(r"^\| (?!input|---)(.*) \|$", section, re.MULTILINE):
            given, said, remedy = row.split(" | ")
            yield pytest.param(command, re.findall("`(.+?)`", given)[-1], re.findall("`(.+?)`", said), remedy, id=given)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("refused")
    made = write_landscape(root / "data", tiles=(8, 2, 2), size=48, scene=(40, 70))
    make_wrong_inputs(root / "in", made.scene, root / "data")
    sets = [
        *TINY,
        f"runtime.data_dir={root / 'data'}",
        "runtime.tensorboard=false",
        "infer.window=32",
        "infer.stride=20",
    ]
    run = ["train", "gedi_sparse", "--run", str(root / "run"), *(word for item in sets for word in ("--set", item))]
    assert CliRunner().invoke(main, run).exit_code == 0
    return root


@pytest.mark.parametrize(("command", "given", "said", "remedy"), lines_of_the_page())
def test_line(place, tmp_path, monkeypatch, command, given, said, remedy):
    monkeypatch.chdir(tmp_path)
    for name in ("in", "run"):
        Path(name).symlink_to(place / name)
    words = shlex.split(command.replace("INPUT", given))
    found = CliRunner().invoke(main, words)
    warned = said[0] == "warning:"
    assert found.exit_code == (0 if warned else 1), found.output
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("warning:" if warned else "Error:")]
    for part in said:
        assert part in line, f"the page says {part!r}, eozoo says {line!r}"
    if not warned:
        assert found.stderr.strip().splitlines()[-1] == line
        assert not Path("out").exists() or not [
            f for f in Path("out").rglob("*") if f.suffix in (".tif", ".csv", ".pt")
        ]
    if setting := re.fullmatch(r"`--set (\S+)`", remedy):
        again = CliRunner().invoke(main, [*words, "--set", setting[1]])
        assert again.exit_code == 0, again.output
