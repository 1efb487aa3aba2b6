"""README and docs are executed: ``console`` blocks run in order, ``python`` blocks run, links and targets exist."""

import contextlib
import doctest
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from own_data import write_all
from stranger import Stranger
from warm import Warm, can_run

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").glob("*/README.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECKER = doctest.OutputChecker()
LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page):
    return [(kind, body) for kind, body in BLOCK.findall(page.read_text()) if kind in ("console", "python")]


def commands(body):
    """Yield (command, expected output) of a console block."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


@pytest.fixture(scope="module")
def warm():
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def demo(warm, tmp_path_factory):
    """What ``make demo`` leaves behind, made by a much shorter training."""
    folder = tmp_path_factory.mktemp("docs")
    short = "--set train.epochs=1 --set model.options.width=8 --set runtime.tensorboard=false"
    short += " --set eval.baselines=[]"
    code, printed = warm.run(f"eozoo demo gedi_sparse --out demo {short}", folder)
    assert code == 0, printed
    return folder


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/your_own_data.md"])
def test_pages_of_a_newcomer(request, page, warm, tmp_path):
    demo = request.getfixturevalue("demo") if page == "README.md" else tmp_path
    if page != "README.md":
        write_all(tmp_path)
    for kind, body in blocks(ROOT / page):
        if kind == "python":
            (demo / "block.py").write_text(body)
            printed = warm.run("python block.py", demo)[1]
            expected = "".join(f"{line.split('# ')[1]}\n" for line in body.splitlines() if line.startswith("print("))
            assert CHECKER.check_output(expected, printed, LOOSE), printed
            continue
        for command, expected in commands(body):
            printed = warm.run(command, demo)[1] if can_run(command) else run(command, demo)
            assert CHECKER.check_output(expected, printed, LOOSE), f"$ {command}\n{printed}\nexpected:\n{expected}"


def run_here(command, folder):
    """An ``eozoo`` command in this process, where torch is imported already."""
    from click.testing import CliRunner
    from eozoo.cli import main

    words = shlex.split(command)
    assert words[0] == "eozoo"
    with contextlib.chdir(folder):
        return CliRunner().invoke(main, words[1:], catch_exceptions=False).output


@pytest.mark.slow
@pytest.mark.parametrize("page", ["export.md", "mix_and_match.md"])
def test_pages_that_go_on_from_the_demo(demo, page):
    for kind, body in blocks(ROOT / "docs" / page):
        if kind == "python":
            (demo / "block.py").write_text(body + '\nimport sys\nassert not {"eozoo", "torch"} & set(sys.modules)\n')
            printed = run(f"{sys.executable} block.py", demo)
            expected = "".join(f"{line.split('# ')[1]}\n" for line in body.splitlines() if line.startswith("print("))
            assert CHECKER.check_output(expected, printed, LOOSE), printed
            continue
        for command, expected in commands(body):
            printed = run_here(command, demo)
            assert CHECKER.check_output(expected, printed, LOOSE), f"$ {command}\n{printed}\nexpected:\n{expected}"


def test_every_slot_is_on_the_page_of_slots():
    from eozoo import Registry

    rows = [line.split("|") for line in (ROOT / "docs" / "mix_and_match.md").read_text().splitlines() if "|" in line]
    written = {(row[1].strip(" `"), slot) for row in rows for slot in re.findall(r"`([a-z_.]+)`", row[2])}
    registry = Registry.discover()
    assert written == {(task, path) for task in registry.names("task") for path in registry.get("task", task).slots}


def repository():
    """Names of every file of the repository; what people edit while the test runs is no concern of it."""
    parts = [p for name in ("core", "registry", "plugins", "tests", "docs") for p in (ROOT / name).rglob("*")]
    return {p for p in parts if p.is_file() and "__pycache__" not in p.parts}


@pytest.fixture
def stranger(tmp_path):
    with contextlib.closing(Stranger(tmp_path)) as stranger:
        yield stranger


def test_the_plugin_guide(stranger, tmp_path):
    """Every block, in order, on the machine of somebody who has nothing but an installed eozoo."""
    before = repository()
    for kind, body in blocks(ROOT / "docs" / "write_a_plugin.md"):
        if kind == "python":
            (tmp_path / "block.py").write_text(body)
            expected = "".join(f"{line.split('# ')[1]}\n" for line in body.splitlines() if line.startswith("print("))
            printed = stranger.must("python block.py")
            assert CHECKER.check_output(expected, printed, LOOSE), f"{body}\n{printed}"
            continue
        for command, expected in commands(body):
            printed = stranger.run(command).stdout
            assert CHECKER.check_output(expected, printed, LOOSE), f"$ {command}\n{printed}\nexpected:\n{expected}"
    scores = json.loads((tmp_path / "demo/snow/run/eval_test.json").read_text())["scores"]
    assert scores["model"]["rmse"] < 0.5 * scores["training mean"]["rmse"]
    assert repository() == before


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", page.read_text(), re.MULTILINE)) <= targets


def test_every_hook_verb_and_task_method_has_a_place_in_the_docs():
    from eozoo.cli import VERBS
    from eozoo_core import Task, hookspecs

    text = "\n".join(page.read_text() for page in PAGES)
    assert [verb for verb in VERBS if f"eozoo {verb}" not in text] == []
    wanted = [name for name in vars(hookspecs) if name.startswith("eozoo_")]
    wanted += [name for name in vars(Task) if not name.startswith("_") and callable(getattr(Task, name))]
    assert [name for name in wanted if f"{name}" not in text] == []


PRECISION = """
## How precision is chosen

`auto` in `train.precision` is bf16-mixed where the device is fast at it: a CUDA GPU of compute capability 8 or more,
or a CPU of which `torch.cpu.get_capabilities()` says `avx512_bf16` or `amx_bf16`. Everywhere else, and where torch
does not say, it is fp32: bf16 on a CPU without bf16 units is 4 to 14 times slower.

What the training computed in stands in `run.json` as `precision`. The same command on another machine goes on in it,
or is refused with one line where the device does not have it (fp16-mixed on a CPU). `--resume` begins a new run and
chooses again.

Validation, scores, maps and `predict` compute in the training's precision where their device is fast at it, else in
fp32. So `eozoo eval` repeats on a machine what training logged on it, whatever the precision, and a run trained in
bf16 on a GPU makes maps in fp32 on a laptop. `eval.precision` and `infer.precision` choose another one. Arrays enter
the network in fp32 always, and results leave it in fp32."""

EXECUTION = """
## How a network is computed

`runtime.layout` says how images lie in memory: plain is (B, C, H, W), channels-last has the channels of a pixel side by
side. Which one is faster depends on the processor and on the widths of the convolutions, up to twice in both
directions. It changes rounding and which values dropout drops, so it is chosen once: what a training took stands in
`run.json` as `execution`, with the reason, and the same command goes on in it, on another machine too. `--dry-run`
prints it. `eval` computes as the training did, `infer` and `predict` in what is fastest for them.

`auto` is a rule: on a CPU without AVX-512 channels-last where the widest convolution has at most 128 channels, and
always where nothing is learned; on a GPU channels-last in mixed precision. A training that sees at least 10^8 pixels
(1,700 samples of 244 px) is measured instead, for at most 20 seconds or so, forward and backward of both layouts on
some of its samples: the other one is taken where it is more than 10 % faster. The result lies in
`~/.cache/eozoo/execution` (or below `EOZOO_CACHE` or `XDG_CACHE_HOME`), by processor, version of torch, threads,
precision, network and shape of samples. So two runs of one seed on one machine are equal to the bit. Where no file can
be kept nothing is measured.

`infer.batch_size: null` gives the network as many windows at once as are fast: 2^15 pixels on a CPU, 2^18 on a GPU,
one window at least. `runtime.threads: null` is OMP_NUM_THREADS, or the cores that the process may use by its affinity
and its container. Optimisers update in one fused operation, but for fp16. torch.compile is not used: on a CPU it saved
12 % of a U-Net's step after minutes of compiling, and a transformer's took 1.6 times as long. `python -m benchmarks
execution` measures all of this on your machine."""

SPLITS = """
## How data are divided

Data that come as one piece (a raster with labels, a table, tiles) are divided by `data.split`: whole blocks, clusters
or groups go to one split, so that labels, and of classes each one, are shared as asked, as near as whole blocks allow
(within the largest block, unless a split would be empty). A class that is in as many blocks as there are splits is in
each where that can be; one that is in a single block is trained on. Numbers count as five classes from low to high. The
same data and seed give the same splits, in whatever order they come. With a gap what lies too near to validation or
test is not trained on, and what lies too near to the test is not validated on. `check` prints what came of it and draws
it with `--out`; training keeps it as RUN/splits.png and in `run.json`.

`check` warns, in every task that has labels, of a split

- of fewer than 100 labels: a share of right answers is then known to +- 10 points (95 %), an RMSE to +- 14 %, if the
  labels are independent; neighbouring pixels are not, so that it is less in truth. 24 labels: +- 20 points;
- that lacks a class which is trained on, or has one that is not: its score says nothing of it;
- of which 90 % are one class: who always says that class is right nine times of ten, and accuracy tells nothing more;
- whose labels are others than those of training: three of ten would have to change their class, or their mean lies
  more than a standard deviation of training's off (as far as a guess of one number is);
- that got less than half, or more than twice, of the share that was asked for; and of a gap that takes most labels."""

PROCESSES = """
## What several processes change

Nothing that is learned: every process takes its share of the same batches, gradients are of the mean over all labelled
elements, batch norm takes mean and variance over the samples of all processes (on a CPU too), and validation adds up
sums. What is left is rounding. It grows where adam or adamw meets a gradient that is zero but for rounding, such as
that of a bias in front of batch norm: barlow_twins with btfm_mlp then ends at a validation loss of 9.598 instead of
9.581 after 12 steps; with sgd all weights agree to 2e-5. Dropout and the mixed-sample term of barlow_twins
(`data.augment.mixup`) are drawn in each process for its own samples, so they differ."""


def settings_page():
    """docs/schema.md as the code says it should be; ``python tests/test_docs.py`` writes it."""
    from eozoo_core.settings import schema
    from eozoo_core.settings.config import _choices
    from eozoo_core.settings.fixed import is_free
    from eozoo_core.settings.splits import SplitSettings

    scopes = {"train": schema.TrainSettings, "train.schedule": schema.ScheduleSettings,
              "runtime": schema.RuntimeSettings, "infer": schema.InferSettings, "eval": schema.EvalSettings,
              "prepare": schema.PrepareSettings,
              "model, model.loss ...": schema.Named, "data.split": SplitSettings}  # fmt: skip
    lines = [
        "# Settings that all tasks share\n",
        "`eozoo config TASK` prints every setting of a task with its default there, which may differ from the default "
        "below.\nWhat is learned (`model`, `data`, `train`) is fixed by a run. How it is logged, stored and read is "
        "free: `runtime`,\n`infer`, `eval` and `prepare`, and each field that says so. Free settings may change when a "
        "run goes on and with `--set` at\n`eval` and `infer`; RUN/changed_settings.jsonl keeps what changed.",
    ]
    for scope, cls in scopes.items():
        lines += [
            f"\n## {scope}\n",
            cls.__doc__.split("\n\n")[0] + "\n",
            "| setting | default | meaning |",
            "| --- | --- | --- |",
        ]
        for name, field in cls.model_fields.items():
            choices = _choices(field.annotation)
            default = "required" if field.is_required() else field.get_default(call_default_factory=True)
            shown = "see below" if isinstance(default, schema.Settings) else "null" if default is None else default
            text = field.description + (f" One of: {', '.join(choices)}." if choices else "")
            text += " Free at any time." if is_free(cls, name) else ""
            lines.append(f"| `{name}` | {shown} | {text} |")
    lines += [SPLITS, PRECISION, EXECUTION, PROCESSES]
    return "\n".join(lines) + "\n"


def test_every_shared_setting_is_documented():
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page(), "run: python tests/test_docs.py"


def test_every_field_of_what_a_plugin_declares_is_documented():
    from dataclasses import fields

    from eozoo_core import Card, Port, Spec, Task

    guide = (ROOT / "docs" / "write_a_plugin.md").read_text()
    wanted = [field.name for cls in (Spec, Card, Port) for field in fields(cls)]
    wanted += [name for name in Task.__annotations__ if not name.startswith("_")]
    assert [name for name in wanted if f"`{name}`" not in guide] == []


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(settings_page())
