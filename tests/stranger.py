"""A machine of somebody who has never seen this repository: a fresh environment, a folder, no network."""

import os
import shlex
import subprocess
import sys
import sysconfig

from warm import Warm, can_run


class Stranger:
    """A new virtual environment in ``folder``, in which what is installed here can be imported."""

    def __init__(self, folder):
        self.folder, self.warm = folder, None
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        site = next((folder / "venv").rglob("site-packages"))
        (site / "layer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
        python = f"{folder}/venv/bin/python"
        self._script("eozoo", f'exec {python} -m eozoo "$@"')
        self._script("pytest", f'exec {python} -m pytest "$@"')
        # What pip would fetch is here already: the build backend, and all that eozoo needs.
        into = f"{shlex.quote(sys.executable)} -m pip --python {python}"
        self._script("pip", f'command="$1"; shift\nexec {into} "$command" -q --no-deps --no-build-isolation "$@"')

    def _script(self, name, text):
        script = self.folder / "venv" / "bin" / name
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)

    def run(self, command):
        """Run a shell command in the folder; return the finished process with its output, both kinds together."""
        first, also, rest = command.partition(" && ")
        if also:
            done = self.run(first)
            if done.returncode:
                return done
            then = self.run(rest)
            return subprocess.CompletedProcess(command, then.returncode, done.stdout + then.stdout)
        if can_run(command):
            self.warm = self.warm or Warm(f"{self.folder}/venv/bin/python", self._environment())
            return subprocess.CompletedProcess(command, *self.warm.run(command, self.folder))
        return subprocess.run(
            command, shell=True, cwd=self.folder, env=self._environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip

    def _environment(self):
        return {
            **os.environ,
            "PATH": f"{self.folder}/venv/bin{os.pathsep}{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "OMP_NUM_THREADS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }

    def close(self):
        """End the warm process, if there is one."""
        if self.warm:
            self.warm.close()

    def must(self, command):
        """Run a command that must succeed; return its output."""
        done = self.run(command)
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-6000:]}"
        return done.stdout
