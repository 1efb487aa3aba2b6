"""``eozoo infer``: every scene of a list becomes maps; the list in the folder of the maps says what is left to do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.lease import STALE
from eozoo_core.run.pool import Here, Pool
from eozoo_core.run.progress import print_message, progress_bar, tell_once
from eozoo_core.run.workers import open_workers
from eozoo_core.task.inputs import scenes_at
from eozoo_core.task.made_from import distribution_of
from eozoo_core.task.mapper import Group, Mapper, groups
from eozoo_core.task.scenes import by_dates
from eozoo_core.task.sharing import Job
from eozoo_core.task.windows import NotShared
from eozoo_core.task.worklist import Outcome, WorkList, names_of, require_own_names
from eozoo_core.train.launch import count_gpus

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract

_LOOKERS = 16  # threads that ask whether sources changed
_SHOWN = 10  # failures that are told as they come; the list has all
_LOOKS = 7  # at a scene that a Dask worker had on a machine that is gone, until its lease is dead


class Unfinished(ZooError):  # noqa: N818 - most of it may be done
    """Some scenes failed. ``written``: the files of the others."""

    def __init__(self, message: str, written: Sequence[Path]):
        super().__init__(message)
        self.written = list(written)


def infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    """Map every scene of ``source`` into ``dest``; see ``Task.infer``.

    Of several scenes ``dest/scenes.jsonl`` says what became of each; see `worklist`. A scene that fails is told and
    the others go on; at the end this raises `Unfinished`. One scene raises what it fails of, and with ``infer.strict``
    the first that fails does. Scenes whose maps are there, made from the same, are left. A new ``dest`` in which
    nothing was written is gone afterwards.
    """
    was_there = dest.exists()
    try:
        return Work(task, run, source, dest).done()
    finally:
        if not was_there:
            with suppress(OSError):  # it holds something, or was never made
                dest.rmdir()


class Work:
    """One call of ``infer``."""

    def __init__(self, task: Contract, run: Run, source: Path, dest: Path):
        self._quiet, self._strict, self._source = task.settings.runtime.quiet, task.settings.infer.strict, source
        self._task, self._run, self.mapper = task, run, Mapper(task, run, dest)
        found = by_dates(scenes_at(task, source), self.mapper.predictor.survey.names)
        self._named = list(zip(names_of(found, source), found, strict=True))
        require_own_names(found)
        self.list = WorkList(dest, [name for name, _ in self._named])
        self._outcomes: dict[str, Outcome] = {}
        self._told: set[str] = set()  # notes that were printed

    def done(self) -> list[Path]:
        """Do the work and return the files."""
        todo = self.open()
        with progress_bar("infer", len(self._named), "scenes", self._quiet) as self._bar:
            if todo:
                with self._workers() as pool:
                    if len(self._named) > 1:
                        self.list.begin()
                    self._do(pool, todo)
                    for look in range(_LOOKS if self._task.settings.infer.dask else 1):
                        if busy := {name for name, one in self._outcomes.items() if one.state == "busy"}:
                            time.sleep(STALE / (_LOOKS - 1) if look else 0)
                            self._do(pool, [group for group in self.open() if busy.intersection(dict(group))])
        return self._end()

    @cached_property
    def _job(self) -> Job:
        """What workers do; one, so that each of them loads the network once."""
        return Job.of(self._task, self._run, self.mapper.dest)

    def _workers(self) -> AbstractContextManager[Pool]:
        how = self._task.settings.infer
        gpus = count_gpus(self._task.settings.runtime.device) if how.workers > 1 else 0
        return open_workers(how.workers, how.dask, gpus, [distribution_of(type(self._task))])

    def open(self) -> list[Group]:
        """Return the groups that hold scenes left to map. The whole list is cut, so every call cuts it alike.

        A group that was interrupted comes whole: its scenes share forward passes (`Passes`), so the finished ones are
        predicted again, and the others get the same bits. Where scenes failed or changed, only they come.
        """
        asked = [(name, self.mapper.decided_of(one)) for name, one in self._named]
        with ThreadPoolExecutor(_LOOKERS) as lookers:  # sources on a network answer one by one in a tenth of a second
            known = {one.scene: one for one in lookers.map(lambda one: self.list.finished(*one), asked) if one}
        self._outcomes = known | self._outcomes
        todo = []
        for group in groups(self._named):
            rest = [one for one in group if one[0] not in known]
            todo.append(group if any(self.list.is_open(name) for name, _ in rest) else rest)
        return [group for group in todo if group]

    def is_finished(self, name: str) -> bool:
        """Whether a scene's maps are there and known to be as this work would make them."""
        return name in self._outcomes and self._outcomes[name].state in ("done", "left")

    def _do(self, pool: Pool, todo: Sequence[Group]) -> None:
        """Map groups. Raises ZooError where one fails that shall end the work."""
        if isinstance(pool, Here):
            for group in todo:
                self._take(self.mapper.group(group, self._show))
            return
        job = self._job
        if len(todo) < pool.size:  # workers would be idle
            todo = [group for group in todo if not self._shared(pool, job, group)]
        for one in pool.outcomes(job, todo):
            names = [name for name, _ in todo[one.number] if not self.is_finished(name)] if one.error else []
            killed = [Outcome(name, "failed", str(one.error)) for name in names]
            self._take(one.value or killed)

    def _shared(self, pool: Pool, job: Job, group: Group) -> bool:
        """Map a large scene whose windows the workers share; False where it is none."""
        if len(group) > 1:
            return False
        try:
            self._take(self.mapper.group(group, self._show, job.over(pool, *group[0])))
        except NotShared:
            return False
        return True

    def _show(self, share: float, text: str) -> None:
        self._bar.update(sum(one.state != "busy" for one in self._outcomes.values()) + share, text)

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of a group."""
        if stopped := [one for one in outcomes if one.state == "stop"]:
            raise ZooError(stopped[0].why)
        self._outcomes |= {one.scene: one for one in outcomes if not self.is_finished(one.scene)}
        self._show(0, outcomes[-1].scene)
        notes = [note for one in outcomes for note in one.notes if note.partition(": ")[2] not in self._told]
        self._told |= {note.partition(": ")[2] for note in notes}
        tell_once(notes, self._quiet)
        if len(self._named) > 1:
            for one in outcomes:
                self.list.note(one)
        failed = [one for one in outcomes if one.state == "failed"]
        if failed and (self._strict or len(self._named) == 1):
            raise ZooError(failed[0].why)
        for one in failed:
            if len(self._failed()) <= _SHOWN:
                print_message(f"failed: {one.why}")

    def _failed(self) -> list[Outcome]:
        return [one for one in self._outcomes.values() if one.state == "failed"]

    def _end(self) -> list[Path]:
        """Say what was left, and what others still map. Raises Unfinished where scenes failed."""
        of, failed = len(self._named), self._failed()
        outcomes = [self._outcomes[name] for name, _ in self._named]
        if (left := sum(one.state == "left" for one in outcomes)) and not self._quiet:
            print_message(
                f"{left} of {of} scenes were mapped before from the same; their maps are left (or delete them)"
            )
        for holder, count in Counter(one.why for one in outcomes if one.state == "busy").items():
            what = "1 scene is" if count == 1 else f"{count} scenes are"
            print_message(f"{what} being mapped by {holder}; the same command again completes what it leaves")
        written = [file for one in outcomes for file in one.files] + ([self.list.file] if of > 1 else [])
        if failed:
            raise Unfinished(
                f"{self._source}: {len(failed)} of {of} scenes failed, {self.list.file} says why; the same command "
                f"tries them again; first: {failed[0].why}",
                written,
            )
        return written
