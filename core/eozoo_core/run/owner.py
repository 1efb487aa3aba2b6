"""A process as others recognise it: on this machine by its start time, on another not at all.

A lease names its writer with it, and temporary files carry a short form in their names (`mark`), so that nobody clears
away what a living process is writing.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MARK = re.compile(r"\.([0-9a-f]{8})-(\d+)-(\w*)\.")
_OLD = 3600.0  # seconds after which an unchanged temporary file of another machine counts as left behind


@dataclass(frozen=True)
class Owner:
    """A process. ``machine``: its boot and process numbers' namespace; ``started``: in the system's own words."""

    host: str
    machine: str
    pid: int
    started: str
    user: str = ""
    command: str = ""

    @classmethod
    def here(cls) -> Owner:
        """Return this process."""
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:300] if sys.argv else ""
        started, user = _self(os.getpid())
        return cls(socket.gethostname(), machine(), os.getpid(), started, user, command)

    def is_same(self, other: Owner) -> bool:
        """Whether both are one process."""
        return self.key() == other.key()

    def key(self) -> tuple[str, str, int, str]:
        """Return what no other process has."""
        return self.host, self.machine, self.pid, self.started

    def lives(self) -> bool | None:
        """Whether the process lives, a number that another one got since aside; None = cannot be seen from here."""
        if (self.host, self.machine) != (socket.gethostname(), machine()):
            return None
        return _lives(self.pid, self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}" + (f" (user {self.user})" if self.user else "")


def machine() -> str:
    """Name this boot of this machine, and the namespace of its process numbers: a container has its own."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - it is no path
    return " ".join(parts)


def start_of(pid: int) -> str | None:
    """Return when a living process started; None where there is none, "" where the system does not say."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:  # another user's
        pass
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # field 22 of proc(5), ticks since boot; Z, X = already dead
    except (OSError, ValueError, IndexError):
        return _told_by_ps(pid)


def mark() -> str:
    """Return a short form of this process for the names of its temporary files."""
    return f"{_place()}-{os.getpid()}-{_self(os.getpid())[0]}"


def is_left_behind(file: Path) -> bool:
    """Whether the process that a temporary file is marked with is gone; without a mark nobody claims it.

    One of another machine counts as left behind when it has not changed for an hour.
    """
    found = _MARK.search(file.name)
    if found is None:
        return True
    place, pid, started = found.groups()
    lives = _lives(int(pid), started) if place == _place() else None
    if lives is None:
        try:
            return time.time() - file.stat().st_mtime > _OLD
        except OSError:
            return False  # gone meanwhile
    return not lives


@lru_cache(1)  # of one number: a forked process is another
def _self(pid: int) -> tuple[str, str]:
    """When this process started, and who runs it."""
    user = ""
    with suppress(KeyError, OSError, ImportError):  # a container may know no user of this number
        user = getpass.getuser()
    return start_of(pid) or "", user


def _place() -> str:
    return f"{zlib.crc32(f'{socket.gethostname()} {machine()}'.encode()):08x}"


def _lives(pid: int, started: str) -> bool | None:
    now = start_of(pid)
    if now is None:
        return False
    return None if "" in (now, started) else now == started


def _told_by_ps(pid: int) -> str | None:
    """Where there is no /proc. Another user's process may be hidden: then nothing is known of it."""
    try:
        told = subprocess.run(
            ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    if not told:
        return ""
    return None if told[0].startswith("Z") else re.sub(r"\W", "", "".join(told[1:]))
