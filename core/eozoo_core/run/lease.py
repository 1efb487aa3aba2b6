"""One writer: a small file beside what is written says which process writes it, and since when.

The file is linked into place with all its content, so it is whole or not there. A process of this machine is asked
for by number and start time. Of one on another machine only the heartbeat is seen, the file's time of change: a thread
renews it every ``BEAT`` seconds, and who has not for ``STALE`` seconds is dead. That is seen by watching, not by
comparing clocks. Nobody's lease of a dead process needs a hand.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.run.continuity import now
from eozoo_core.run.owner import Owner
from eozoo_core.run.progress import print_message
from eozoo_core.run.writing import CannotWrite, discard, temporary_beside
from eozoo_core.signals import undisturbed

BEAT = 15.0  # seconds
STALE = 90.0  # seconds
_TRIES = 100


class Held(ZooError):  # noqa: N818 - an answer more than an error
    """Another process writes there. ``holder``: which, in words."""

    def __init__(self, message: str, holder: str):
        super().__init__(message)
        self.holder = holder


@dataclass(frozen=True)
class Found:
    """What a lease's file says. ``owner``: None where that cannot be read; ``place``: where it was written."""

    text: str
    changed: float
    owner: Owner | None
    since: str
    place: str

    def __str__(self) -> str:
        return f"{self.owner} since {self.since}" if self.owner else "a process that cannot be told"


class Lease:
    """The right to write. ``confirm`` before every write that another writer would destroy; ``release`` at the end.

    A process that was forked uses the lease of its parent and never gives it up.
    """

    def __init__(self, file: Path, text: str):
        self.file, self.text = file, text
        self._pid, self._ended = os.getpid(), threading.Event()
        atexit.register(self.release)  # where a signal comes before anybody else knows of it
        threading.Thread(target=self._beat, name="eozoo lease", daemon=True).start()

    @property
    def is_mine(self) -> bool:
        """Whether it is held, by this process or the one that it was forked from."""
        return not self._ended.is_set()

    def confirm(self) -> None:
        """Raise ZooError where another process took over: this one stood still, or its disk was away, for too long."""
        found = _read(self.file)
        if found is None:  # somebody cleaned up
            with suppress(OSError), _written(self.file, self.text) as temporary:
                _link(temporary, self.file)
            found = _read(self.file)
        if found is not None and found.text != self.text:
            raise ZooError(
                f"{self.file.parent}: is being written by {found}: it took over when this process had shown no sign of "
                f"life for {STALE:.0f} s; this one stops"
            )

    @undisturbed
    def release(self) -> None:
        """Give it up; more than once is no harm."""
        if os.getpid() != self._pid or self._ended.is_set():
            return
        self._ended.set()
        atexit.unregister(self.release)
        _give_up(self.file, self.text)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            found = _read(self.file)
            if found is not None and found.text == self.text:
                with suppress(OSError):
                    os.utime(self.file)


def take(file: Path, what: str, instead: str = "another folder", wait: bool = True) -> Lease:
    """Take the lease ``file``, also from a dead process, and return it; its folder is made where it is not there.

    what, instead: what it is the lease of, and what else the user may choose, for messages.
    wait: where only the heartbeat can tell, watch for it up to ``STALE`` seconds; else who may live counts as living.

    Raises Held, in one line, where another process holds it; ZooError where nothing can be written.
    """
    owner, place = Owner.here(), str(file.parent.resolve() / file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(f"{file.parent}: cannot be made ({error.strerror}); choose {instead}") from None
    note = {"owner": asdict(owner), "since": now(), "place": place, "id": secrets.token_hex(8)}
    text = json.dumps(note) + "\n"
    try:
        with _written(file, text) as temporary:
            for _ in range(_TRIES):
                if _link(temporary, file):
                    return Lease(file, text)
                found = _read(file)
                if found is None:
                    continue
                if found.owner is not None and found.owner.is_same(owner) and found.place == place:
                    return Lease(file, found.text)  # taken before, in this process
                if _lives(file, found, place, temporary, f"{what}: may be written by {found}" if wait else ""):
                    end = f"end it (kill {found.owner.pid})" if found.owner and found.owner.lives() else "end it"
                    remedy = f"wait until it is done, {end}, or choose {instead}"
                    raise Held(f"{what}: is being written by {found}; {remedy}", str(found.owner or found))
                _bury(file, found)
    except OSError as error:
        raise CannotWrite(f"{file.parent}: cannot be written ({error.strerror}); choose {instead}") from error
    except KeyboardInterrupt:
        _give_up(file, text)
        raise
    raise ZooError(f"{file}: can be neither made nor read; remove it")


@contextmanager
def held(file: Path, what: str, instead: str = "another folder") -> Iterator[None]:
    """Hold the lease ``file`` inside. Raises as `take`."""
    lease = take(file, what, instead)
    try:
        yield
    finally:
        lease.release()


def _lives(file: Path, found: Found, place: str, temporary: Path, watch: str) -> bool:
    """Whether the holder lives. ``watch``: what to say while its heartbeat is watched for; "" = who may live does."""
    if found.owner is not None and found.owner.is_same(Owner.here()):
        return False  # a copy of a lease that this process holds elsewhere
    lives = found.owner.lives() if found.owner else None
    if lives is False or (lives and found.place == place):  # elsewhere: moved with its folder, or a copy
        return lives
    # Both times are those of the file system, whatever the clocks of two machines say.
    left = min(STALE, STALE - (temporary.stat().st_mtime - found.changed))
    if left <= 0 or not watch:
        return left > 0
    print_message(f"{watch}; waiting up to {left:.0f} s to see whether it lives")
    end = time.monotonic() + left
    while time.monotonic() < end:
        time.sleep(min(0.5, BEAT / 4))
        seen = _read(file)
        if seen is None:
            return False  # it has ended
        if (seen.text, seen.changed) != (found.text, found.changed):
            return True
    return False


def _read(file: Path) -> Found | None:
    """None where there is no such file. Opened, so that network file systems ask their server."""
    try:
        with file.open(encoding="utf-8", errors="replace") as content:
            text, changed = content.read(), os.fstat(content.fileno()).st_mtime
    except OSError:
        return None
    try:
        told = json.loads(text)
        pid = told["owner"]["pid"]
        if not isinstance(pid, int) or pid <= 0:
            raise ValueError(pid)
        return Found(text, changed, Owner(**told["owner"]), str(told["since"]), str(told["place"]))
    except (ValueError, KeyError, TypeError):  # by a file system without links, between making and writing
        return Found(text, changed, None, "", "")


@undisturbed
def _give_up(file: Path, text: str) -> None:
    found = _read(file)
    if found is not None and found.text == text:
        with suppress(OSError):
            file.unlink()


@contextmanager
def _written(file: Path, text: str) -> Iterator[Path]:
    """Yield a temporary file beside ``file`` that says ``text``; those of dead processes are cleared away."""
    name = temporary_beside(file)
    try:
        name.write_text(text, encoding="utf-8")
        name.chmod(0o644)
        yield name
    finally:
        discard(name)


def _link(temporary: Path, file: Path) -> bool:
    """Whether ``file`` is now what ``temporary`` is; False where there is one already."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        return temporary.stat().st_nlink == 2  # over NFS a link may be made although its answer was lost
    except OSError:  # no links here
        try:
            with file.open("x", encoding="utf-8") as content:
                content.write(temporary.read_text(encoding="utf-8"))
        except FileExistsError:
            return False
    return True


def _bury(file: Path, found: Found) -> None:
    """Remove a dead lease; where another process took it over meanwhile, put that one back."""
    grave = temporary_beside(file)
    try:
        file.rename(grave)
    except FileNotFoundError:
        return
    other = _read(grave)
    if other is not None and other.text != found.text:
        _link(grave, file)
    grave.unlink(missing_ok=True)
