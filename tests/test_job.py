"""Processes of one training end together: none is left waiting for one that was killed."""

import os
import signal
import subprocess
import sys
import time

import pytest
from eozoo_core.errors import Interrupted, ZooError
from eozoo_core.run.owner import start_of
from eozoo_core.train.job import losing_others

# The first process starts another one, as Fabric does, which waits in a call that no exception reaches.
SCRIPT = """
import os, subprocess, sys, time
from eozoo_core.train.job import ends_with_first

other = "LOCAL_RANK" in os.environ
with ends_with_first():
    if not other:
        child = subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "LOCAL_RANK": "1"})
        print(child.pid, flush=True)
assert not [name for name in os.environ if name.startswith("EOZOO_")]
if other:
    print("ready", flush=True)
time.sleep(60)
"""


def test_the_others_end_when_the_first_is_killed(tmp_path):
    (tmp_path / "job.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "LOCAL_RANK"}
    with subprocess.Popen(
        [sys.executable, tmp_path / "job.py"], stdout=subprocess.PIPE, text=True, env=environment
    ) as first:
        pid = int(first.stdout.readline())
        assert first.stdout.readline() == "ready\n"
        assert start_of(pid) is not None
        first.send_signal(signal.SIGKILL)
        end = time.monotonic() + 30
        while start_of(pid) is not None and time.monotonic() < end:
            time.sleep(0.05)
        assert start_of(pid) is None


def test_losing_another_process_is_one_line_from_the_first(monkeypatch):
    from torch.distributed import DistNetworkError

    for name in ("LOCAL_RANK", "RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    closed = RuntimeError("[/pytorch/third_party/gloo/pair.cc:553] Connection closed\nby peer [127.0.0.1]:20161")
    for error in (closed, DistNetworkError("Broken pipe")):
        with pytest.raises(ZooError, match=r"another process of this job ended.*goes on") as told, losing_others():
            raise error
        assert "\n" not in str(told.value)
    with pytest.raises(RuntimeError, match="a bug"), losing_others():
        raise RuntimeError("a bug")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(Interrupted), losing_others():  # which the command says nothing of in another process
        raise closed
