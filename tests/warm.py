"""Commands in processes of their own that begin where torch is imported: each is a fork of one warm process.

A command of the docs costs what it does, not three seconds of imports. Nothing is shared between two commands.
"""

import importlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HEAVY = (
    "check",
    "train",
    "eval",
    "infer",
    "demo",
    "export",
    "card",
    "show",
    "doctor",
    "pytest",
    "python",
)  # import torch anyway
# What commands import before they begin: torch brings its compiler with the first optimiser, in 1.6 s.
IMPORTED = ("eozoo.cli", "torch.utils.data", "torch._dynamo", "torch.utils.tensorboard", "rasterio",
            "matplotlib.figure", "matplotlib.backends.backend_agg")  # fmt: skip


def can_run(command):
    """Whether the shell is needed for nothing but to start this command, and it imports torch."""
    words = shlex.split(command)
    return not set(command) & set("|&;<>$`\n") and words[words[0] == "eozoo"] in HEAVY


class Warm:
    """Runs ``eozoo VERB ...``, ``pytest ...`` and ``python FILE`` with the given interpreter and environment."""

    def __init__(self, python=sys.executable, environment=None):
        self.process = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, command, folder):
        """Return exit code and output of a command, both kinds together."""
        with tempfile.NamedTemporaryFile() as out:
            self.process.stdin.write(json.dumps([shlex.split(command), str(folder), out.name]) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            return code, Path(out.name).read_text()

    def close(self):
        """End the warm process."""
        self.process.stdin.close()
        self.process.wait()


def _become(words, folder, out):
    os.chdir(folder)
    file = os.open(out, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = words
    if words[0] == "eozoo":
        from eozoo.cli import main

        main()
    elif words[0] == "pytest":
        import pytest

        sys.exit(pytest.console_main())
    else:
        import runpy

        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")


def _child(*job):
    code = 0
    try:
        _become(*job)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve():
    del sys.path[0]  # the tests' own modules
    for name in IMPORTED:
        importlib.import_module(name)
    import eozoo_core.score.forest
    from eozoo.testing.watch import without_bfloat16
    from eozoo_core.train.launch import without_torchmetrics

    without_bfloat16()  # as in the tests' own process, and so are few trees
    eozoo_core.score.forest.TREES = 8
    with without_torchmetrics():
        import lightning_fabric  # noqa: F401
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _child(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
