"""The command as its users meet it: every verb on the toy task, and one wrong thing typed at each."""

import json
import subprocess
import sys
import types
from unittest.mock import Mock

import numpy as np
import pytest
import toy
from click.testing import CliRunner
from eozoo import Registry, cli
from eozoo.cli import VERBS, main
from eozoo.probe import Target
from eozoo_core import Spec, hookimpl


def plugin(**functions):
    return types.SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


@pytest.fixture
def registry():
    found = Registry()
    found.add(lambda: plugin(eozoo_tasks=lambda: [Spec("toy", "toy:Toy", "Learns a line")]), "toy-plugin 1.0")
    return found


@pytest.fixture
def eozoo(registry):
    def call(*arguments, code=0):
        result = CliRunner().invoke(main, [str(a) for a in arguments], obj=registry, catch_exceptions=code is None)
        if code is not None:
            assert result.exit_code == code, result.output
        return result

    return call


@pytest.fixture
def sample(tmp_path):
    return toy.Toy.sample(tmp_path / "data")


@pytest.fixture
def trained(eozoo, sample, tmp_path):
    eozoo("train", "toy", "--run", tmp_path / "run", "--set", f"runtime.data_dir={tmp_path / 'data'}", *FAST)
    return tmp_path / "run"


FAST = ("--set", "runtime.tensorboard=false", "--set", "train.epochs=2")


def test_list_show_config(eozoo):
    assert "toy   toy-plugin 1.0  Learns a line" in " ".join(eozoo("list").output.split(" ")).replace("task  ", "")
    listed = json.loads(eozoo("list", "tasks", "--json").output)
    assert listed["entries"] == [
        {"kind": "task", "name": "toy", "plugin": "toy-plugin 1.0", "summary": "Learns a line"}
    ]
    assert "nothing installed" in eozoo("list", "models").output
    shown = eozoo("show", "toy").output
    assert "gives     y (B, 1) [m]" in shown
    assert "  licence   Apache-2.0 (code)\n" in shown
    template = eozoo("config", "toy", "--set", "train.epochs=7").output
    assert "  epochs: 7\n" in template
    assert "# Hidden units. (>= 1)" in template


def test_train_again_extends_evaluates_and_infers(eozoo, trained, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("eozoo_core.train.launch.keep_freed_memory", lambda: kept.append("asked"))
    first = eozoo("train", "toy", "--run", trained)
    assert "best validation loss" in first.output
    assert len((trained / "training_log.jsonl").read_text().splitlines()) == 2
    eozoo("train", "toy", "--run", trained, "--set", "train.epochs=3")
    assert len((trained / "training_log.jsonl").read_text().splitlines()) == 3
    scored = eozoo("eval", "toy", "--run", trained, "--split", "val").output
    written = json.loads((trained / "eval_val.json").read_text())
    assert f"{written['scores']['model']['loss']:.5g}" in scored
    assert "mean" in written["scores"]
    made = eozoo("infer", "toy", "--run", trained, "--input", tmp_path / "data/source.npy", "--output", tmp_path / "o")
    assert made.output.strip() == str(tmp_path / "o" / "y.npy")
    assert np.load(tmp_path / "o" / "y.npy").shape == (5, 1)
    assert kept == ["asked"] * 3  # train twice and infer: both work through many large arrays


def test_resume_into_a_new_run_and_init_from(eozoo, trained, tmp_path):
    data = f"runtime.data_dir={tmp_path / 'data'}"
    # The checkpoint's own settings are the starting point: data_dir and batch size need not be repeated.
    eozoo("train", "toy", "--run", tmp_path / "b", "--resume", trained / "current.pt",
          "--set", "train.learning_rate=0.1", "--set", "train.epochs=4")  # fmt: skip
    info = json.loads((tmp_path / "b" / "run.json").read_text())
    assert ["train.learning_rate", 0.01, 0.1] in info["resumed_from"]["changed_settings"]
    lines = [json.loads(line) for line in (tmp_path / "b" / "training_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [3, 4]
    assert lines[0]["lr"] == 0.1
    eozoo("train", "toy", "--run", tmp_path / "c", "--init-from", trained / "best.pt", "--set", data, *FAST)
    info = json.loads((tmp_path / "c" / "run.json").read_text())
    assert "all 4 tensors (17 values) matched" in info["init_from"]["receipt"]


def test_plans_and_steps_as_json(eozoo, sample, tmp_path, monkeypatch):
    from eozoo_core import Plan

    plan = Plan({"train": "64 rows"}, 17, 17, 8, 16, None)
    monkeypatch.setattr(toy.Toy, "plan", lambda self, run: plan)
    told = json.loads(eozoo("train", "toy", "--run", tmp_path / "r", "--dry-run", "--json").output)
    assert (told["parameters"], told["total_steps"], told["memory_bytes"]) == (17, 16, None)
    assert "--json goes with --dry-run" in eozoo("train", "toy", "--run", tmp_path / "r", "--json", code=2).output
    monkeypatch.setattr(toy.Toy, "prepare_steps", {"rows": "made of nothing"})
    monkeypatch.setattr(toy.Toy, "prepare_rows", lambda self: print("told") or [tmp_path / "rows.npy"], raising=False)
    assert json.loads(eozoo("prepare", "toy", "--json").output) == {"rows": "made of nothing"}
    assert json.loads(eozoo("prepare", "toy", "rows", "--json").stdout) == [str(tmp_path / "rows.npy")]


def test_demo_says_that_it_is_synthetic(eozoo, tmp_path):
    output = eozoo("demo", "toy", "--out", tmp_path / "demo", *FAST).output
    assert "SYNTHETIC" in output
    assert (tmp_path / "demo" / "run" / "eval_test.json").exists()
    eozoo("demo", "toy", "--out", tmp_path / "demo", *FAST)  # again: goes on, does not stumble over itself


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show tyo", "nothing is called 'tyo'. Did you mean 'toy'?"),
        ("config tyo", "no task 'tyo'. Did you mean 'toy'?"),
        ("config toy --set train.epoch=3", "--set: unknown setting 'train.epoch'. Did you mean 'train.epochs'?"),
        ("config toy --set epochs=3", "--set: unknown setting 'epochs'. Did you mean 'train.epochs'?"),
        ("config toy --set train=3", "train is a group of settings, got 3"),
        ("config toy --config {run}/best.pt", "best.pt: is not YAML ("),
        ("config toy --config no.yaml", "no.yaml: cannot be read (No such file or directory)"),
        ("train toy --run {tmp}/r --set runtime.data_dir=nowhere", "nowhere/train.npy: cannot be read"),
        ("train toy --run {run} --set model.width=5", "model.width=4, now 5; use a new --run"),
        ("train toy --run {tmp}/data", "is not empty and holds no run"),
        ("demo toy --out {run}", "is a run"),
        ("infer toy --run {run} --input {tmp}/data --output {tmp}/data", "is the folder of the input"),
        ("config toy --config {tmp}/data", "data: is a folder; give a YAML file of settings"),
        ("train toy --run {tmp}/r --device tpu", "runtime.device 'tpu'"),
        ("train toy --run {tmp}/r --set train.precision=fp16-mixed --device cpu", "does not exist on the CPU"),
        ("train toy --run {tmp}/r --resume {tmp}/data/val.npy", "cannot be read as a checkpoint"),
        ("train toy --run {tmp}/r --init-from {tmp}/nothing.pt", "nothing.pt: cannot be read (No such file"),
        ("train toy --run {tmp}/r --dry-run", "toy: has no dry run"),
        ("eval toy --run {tmp}/nothing", "nothing: holds no run"),
        ("eval toy --run {run} --set train.epochs=9", "train.epochs was fixed by training"),
        ("infer toy --run {run} --input {tmp}/none --output {tmp}/o", "none: no such file or folder"),
        (
            "infer toy --run {run} --input {tmp}/data/val.npy --output {run}/best.pt",
            "best.pt: is a file; give a folder",
        ),
        ("infer toy --run {run} --input {run}/config.yaml --output {tmp}/o", "config.yaml: cannot be read"),
        ("prepare toy step", "no prepare step 'step'. Known: none."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(eozoo, trained, tmp_path, arguments, message):
    text = arguments.format(tmp=tmp_path, run=trained)
    result = eozoo(*text.split(), code=1)
    assert message in result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert not (tmp_path / "o").exists() or not list((tmp_path / "o").iterdir())


def test_a_refused_resume_leaves_no_trace_and_names_the_file_given(eozoo, trained, tmp_path):
    best, new = trained / "best.pt", tmp_path / "n"
    data = f"runtime.data_dir={tmp_path / 'data'}"
    wrong = ("--config", tmp_path / "wide.yaml", "--set", data)
    (tmp_path / "wide.yaml").write_text("model:\n  width: 9\n")
    output = eozoo("train", "toy", "--run", new, "--resume", best, *wrong, code=1).output
    assert f"{best}: weights do not match" in output
    assert not list(new.rglob("*.pt"))
    eozoo("train", "toy", "--run", new, *wrong, *FAST)
    both = ("--resume", best, "--init-from", best)
    assert "give one of them" in eozoo("train", "toy", "--run", tmp_path / "m", *both, code=2).output


def test_a_refused_training_does_not_stand_in_the_way_of_the_corrected_one(eozoo, sample, tmp_path):
    bad = ("--set", "runtime.data_dir=nowhere", "--set", "model.width=3")
    eozoo("train", "toy", "--run", tmp_path / "r", *bad, *FAST, code=1)
    assert not (tmp_path / "r").exists()
    good = ("--set", f"runtime.data_dir={tmp_path / 'data'}", "--set", "model.width=5")
    eozoo("train", "toy", "--run", tmp_path / "r", *good, *FAST)
    changed = eozoo("train", "toy", "--run", tmp_path / "r", "--set", "model.width=6", code=1)
    assert "model.width=5, now 6" in changed.output
    gone = ("--set", "runtime.data_dir=nowhere", "--set", "train.epochs=3")
    before = (tmp_path / "r" / "best.pt").read_bytes()
    eozoo("train", "toy", "--run", tmp_path / "r", *gone, code=1)
    assert (tmp_path / "r" / "best.pt").read_bytes() == before  # a run that has learned stays


def test_demo_into_a_file_and_comparison_over_a_file_are_refused(eozoo, trained, tmp_path):
    file = tmp_path / "notes.md"
    file.write_text("mine")
    assert "notes.md: is a file; give a folder" in eozoo("demo", "toy", "--out", file, code=1).output
    output = eozoo("compare", trained, tmp_path, "--html", file, code=1).output
    assert "give a name that ends in .html" in output
    assert file.read_text() == "mine"


def test_a_bug_exits_with_70_and_its_traceback_a_mistake_with_1(monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", Mock())  # how this process hears Ctrl-C stays
    for raised, code in ((RuntimeError("odd"), 70), (SystemExit(1), 1), (KeyboardInterrupt(), 130)):
        monkeypatch.setattr("eozoo.cli.main", Mock(side_effect=raised))
        with pytest.raises(SystemExit) as end:
            cli.run()
        assert end.value.code == code
    assert "RuntimeError: odd" in capsys.readouterr().err


def test_a_run_whose_plugin_is_not_there_says_which(eozoo, trained, tmp_path):
    text = (trained / "run.json").read_text()
    for plugin, said in (
        ("toy-plugin 1.0", "was trained with toy-plugin 1.0, which is not installed; pip install toy-plugin"),
        ("eozoo-gedi-sparse 9.0", "and eozoo-gedi-sparse 0.1.0 gives no task 'gone'; see 'eozoo doctor'"),
    ):
        changed = text.replace("toy-plugin 1.0", plugin).replace('"toy"', '"gone"')
        (trained / "run.json").write_text(changed)
        assert said in eozoo("eval", "gone", "--run", trained, code=1).output


def test_of_a_mistake_the_first_process_speaks_first(eozoo, monkeypatch):
    waited = []
    monkeypatch.setattr("eozoo.cli.verbs.time.sleep", waited.append)
    for first in (True, False):
        monkeypatch.setattr("eozoo.cli.verbs.is_first_process", lambda first=first: first)
        assert eozoo("show", "nothing", code=1).output.count("Error: ") == 1
    assert waited == [3.0]


@pytest.mark.parametrize(
    ("size", "said"), [(2e9, "2.00 GB"), (1.1e8, "0.11 GB"), (4.43e7, "44.3 MB"), (1e5, "0.1 MB"), (900, "0.9 kB")]
)
def test_a_size_is_never_nothing(size, said):
    from eozoo.cli.train import _size

    assert _size(size) == said


def test_a_typo_in_a_verb_gets_a_suggestion(eozoo):
    assert "no verb 'trian'. Did you mean 'train'?" in eozoo("trian", code=2).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export toy --run r --output f", "Missing option '--format'. Choose from: torch-export, onnx"),
        ("export toy --format pt", "Invalid value for '--format': 'pt' is not one of 'torch-export', 'onnx'"),
        ("train", "Missing argument 'TASK'. See '"),
        ("eval toy --run a --run=b", "--run is given twice. See '"),
        ("plugins disabel x", "No such command 'disabel'."),
    ],
)
def test_a_command_that_is_not_whole_is_one_line(eozoo, words, said):
    output = eozoo(*words.split(), code=2).output
    assert output.startswith(f"Error: {said}")
    assert output.count("\n") == 1


def test_a_bug_keeps_its_traceback_and_names_its_plugin(eozoo, trained, monkeypatch):
    def broken(self, run, split):
        return 1 / 0

    monkeypatch.setattr("toy.Toy.evaluate", broken)
    result = eozoo("eval", "toy", "--run", trained, code=None)
    assert isinstance(result.exception, ZeroDivisionError)
    assert "from toy-plugin 1.0" in result.exception.__notes__[0]


def test_doctor_names_what_is_broken_and_exits_with_1(eozoo, registry, monkeypatch):
    monkeypatch.setattr("eozoo.probe.import_targets", lambda targets: [Target()] * len(targets))  # it takes seconds
    assert "ok      toy-plugin 1.0: toy" in eozoo("doctor").output

    def load():
        raise ImportError("no such module as snow")

    registry.add(load, "snow-plugin 2.0")
    output = eozoo("doctor", code=1).output
    assert "broken  snow-plugin 2.0: ImportError: no such module as snow" in output
    assert "pip uninstall snow-plugin" in output
    assert "broken: snow-plugin 2.0" in eozoo("list").output


def test_the_verbs_that_help_lists_are_all_there(eozoo):
    output = eozoo("--help").output
    assert all(f"\n  {verb} " in output for verb in VERBS)


def test_a_broken_pipe_is_no_traceback(tmp_path):
    script = f"{sys.executable} -m eozoo config gedi_sparse | head -n 1"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_best_epoch_is_one_that_was_validated(tmp_path):
    from types import SimpleNamespace

    from eozoo.cli.train import _summary

    lines = [
        {"epoch": 1, "train": {"loss": 9.0}, "val": {}},
        {"epoch": 2, "train": {"loss": 8.0}, "val": {"loss": 4.0}},
        {"epoch": 3, "train": {"loss": 1.0}, "val": {}},
        {"epoch": 4, "train": {"loss": 0.5}, "val": {"loss": 5.0}},
    ]
    run = SimpleNamespace(path=tmp_path, read_log=lambda: lines, file=lambda name: tmp_path / f"{name}.pt")
    assert _summary(run, "loss").startswith("best validation loss 4 at epoch 2")
