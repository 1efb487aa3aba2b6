"""The scenes of one ``infer`` over workers: whole ones, or the windows of one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from eozoo_core.errors import ZooError
from eozoo_core.run.directory import Run
from eozoo_core.task.mapper import Group, Mapper
from eozoo_core.task.windows import Cut, Predicted, Share
from eozoo_core.task.worklist import Outcome
from eozoo_core.train.launch import keep_freed_memory

if TYPE_CHECKING:
    from eozoo_core.run.pool import Pool
    from eozoo_core.task.contract import Contract


@dataclass(frozen=True, eq=False)
class Job:
    """What a worker does with a group of scenes, or with a part of one: it goes there as names and settings.

    folder: the current one, from which names are meant.
    mark:   of this call of ``infer``; a worker loads the network once for it.
    """

    task: type[Contract]
    registry: Any
    run: Run
    dest: Path
    folder: str
    mark: str

    @classmethod
    def of(cls, task: Contract, run: Run, dest: Path) -> Job:
        """Return the job of an ``infer``."""
        run = Run(run.path, run.task, task.settings)
        return cls(type(task), task.registry, run, dest, os.getcwd(), uuid4().hex)  # noqa: PTH109 - a name

    def __call__(self, item: Group | tuple[str, Any, Cut]) -> list[Outcome] | Predicted:
        """Map a group, or predict a part. What no scene can help is an outcome "stop"."""
        try:
            with chdir(self.folder):
                if isinstance(item, tuple):
                    return _mapper(self).part(item[1], item[2])
                return _mapper(self).group(item)
        except FileNotFoundError as error:
            if error.filename != self.folder:
                raise
            message = f"{self.folder}: is not there on {socket.gethostname()}, where a worker runs; share the folder"
            raise ZooError(message) from None
        except ZooError as error:
            if isinstance(item, tuple):
                raise
            return [Outcome(item[0][0], "stop", str(error))]

    def over(self, pool: Pool, name: str, found: Any) -> Share:
        """Return what has the parts of a scene predicted by workers."""

        def share(cuts: Sequence[Cut]) -> Iterator[Predicted]:
            return pool.map(self, [(name, found, cut) for cut in cuts])

        return share

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.mark == other.mark

    def __hash__(self) -> int:
        return hash(self.mark)


@lru_cache(1)
def _mapper(job: Job) -> Mapper:
    keep_freed_memory()
    return Mapper(job.task(job.run.settings, job.registry), job.run, job.dest)
