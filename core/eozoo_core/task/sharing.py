"""The scenes of one ``infer`` over workers: whole ones, or the windows of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.run.directory import Run
from eozoo_core.task.mapper import Group, Mapper
from eozoo_core.task.windows import Cut, Predicted, Share
from eozoo_core.task.worklist import Outcome
from eozoo_core.train.launch import keep_freed_memory

if TYPE_CHECKING:
    from eozoo_core.run.pool import Pool
    from eozoo_core.task.contract import Contract


@dataclass(frozen=True)
class Job:
    """What a worker does with a group of scenes, or with a part of one: it goes there as names and settings."""

    task: type[Contract]
    registry: Any
    run: Run
    dest: Path

    @classmethod
    def of(cls, task: Contract, run: Run, dest: Path) -> Job:
        """Return the job of an ``infer``."""
        return cls(type(task), task.registry, Run(run.path, run.task, task.settings), dest)

    @cached_property
    def mapper(self) -> Mapper:
        """The run's network, loaded by the worker that needs it."""
        keep_freed_memory()
        return Mapper(self.task(self.run.settings, self.registry), self.run, self.dest)

    def __call__(self, item: Group | tuple[str, Any, Cut]) -> list[Outcome] | Predicted:
        """Map a group, or predict a part. What no scene can help is an outcome "stop"."""
        if isinstance(item, tuple):
            return self.mapper.part(item[1], item[2])
        try:
            return self.mapper.group(item)
        except ZooError as error:
            return [Outcome(item[0][0], "stop", str(error))]

    def over(self, pool: Pool, name: str, found: Any) -> Share:
        """Return what has the parts of a scene predicted by workers."""

        def share(cuts: Sequence[Cut]) -> Iterator[Predicted]:
            return pool.map(self, [(name, found, cut) for cut in cuts])

        return share
