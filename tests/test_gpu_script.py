"""benchmarks/gpu.py: a stage that fails, hangs or lacks something says so, and the others go on."""

import json

import pytest

from benchmarks import gpu


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Stages of four kinds instead of those that need torch; the words of each are Python."""
    code = "def work(device, tiny, tell, body):\n    exec(body)\n"
    (tmp_path / "stage_for_tests.py").write_text(code)
    kinds = {
        "fails": "tell(first=1); raise ValueError('of no\\nuse')",
        "dies": "tell(first=2); import os; os._exit(7)",
        "hangs": "tell(first=3); import time; time.sleep(60)",
        "works": "print('noise'); tell(device=device); tell(tiny=tiny)",
    }
    found = {name: gpu.Stage("stage_for_tests:work", 4.0, (), (body,)) for name, body in kinds.items()}
    found["lacks"] = gpu.Stage("stage_for_tests:work", 4.0, ("no_such_module_x",))
    monkeypatch.setattr(gpu, "STAGES", found)
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path[:0] = [{str(gpu.ROOT)!r}, {str(tmp_path)!r}]\nimport stage_for_tests, benchmarks\n"
        "sys.modules['benchmarks.stage_for_tests'] = stage_for_tests\nfrom benchmarks import gpu\n"
        f"gpu.STAGES = {{n: gpu.Stage(w, s, tuple(m), tuple(b)) for n, (w, s, m, b) in {json.dumps(found)}.items()}}\n"
        "sys.exit(gpu.main(sys.argv[1:]))\n"
    )
    monkeypatch.setattr(gpu, "COMMAND", (str(driver),))


def test_every_stage_says_how_it_ended(stages, capsys):
    code = gpu.main(["--device", "cpu", "--only", *gpu.STAGES])
    lines = {line["stage"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert code == 1
    assert [*lines] == [*gpu.STAGES]
    ends = {name: (line["ok"], line["numbers"], line["error"]) for name, line in lines.items()}
    assert ends["fails"][:2] == (False, {"first": 1})
    assert ends["fails"][2].startswith("ValueError: of no use (")
    assert ends["dies"][:2] == (False, {"first": 2})
    assert ends["dies"][2].startswith("ended with code 7")
    assert ends["hangs"][:2] == (False, {"first": 3})
    assert ends["hangs"][2].startswith("over its budget of 4 s")
    assert ends["works"] == (True, {"device": "cpu", "tiny": False}, "")
    assert ends["lacks"] == (None, {}, "left out: this machine has no no_such_module_x")
    assert 4 <= lines["hangs"]["seconds"] < 30


def test_budgets_leave_time_on_a_call_of_eight_minutes():
    assert gpu.TOTAL <= 470
    assert gpu.measured("versions", "cpu", True, {}, 3.0)["error"] == "left out: the time of all stages is over"


@pytest.mark.slow
def test_the_whole_script_on_a_cpu(capsys):
    assert gpu.main(["--device", "cpu", "--tiny"]) == 0, capsys.readouterr().out
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["stage"] for line in lines] == [*gpu.STAGES]
    assert all(line["ok"] and line["numbers"] for line in lines)
