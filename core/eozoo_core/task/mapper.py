"""What one worker does: a run's network, loaded once, and scenes that become maps with it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError
from eozoo_core.raster.assembly import Assembly
from eozoo_core.run.writing import CannotWrite
from eozoo_core.task.guard import SceneGuard
from eozoo_core.task.made_from import MadeWith, seen, sources_of, steadily
from eozoo_core.task.maps import Mapped, map_scene, members_port, role_of
from eozoo_core.task.passes import Passes
from eozoo_core.task.predict import Predictor, to_arrays
from eozoo_core.task.scenes import Scene
from eozoo_core.task.turns import turn
from eozoo_core.task.windows import Cut, Drawn, NotShared, Predicted, Share, map_part
from eozoo_core.task.worklist import Outcome
from eozoo_core.train.execution import pixels_of

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract

Group = list[tuple[str, Any]]  # scenes: their names in the list, and what ``Task.find_scenes`` found
Show = Callable[[float, str], None]  # gets the scenes that are done, as a fraction, and a line
GROUP, GROUP_BYTES = 8, 2**22  # scenes that share forward passes at most, and bytes of their files


class Mapper:
    """Maps scenes of one run into one folder. Raises ZooError for a run without a network that can be used."""

    def __init__(self, task: Contract, run: Run, dest: Path):
        self.task, self.run, self.dest = task, run, dest
        self.predictor = steadily(run, lambda: Predictor(task, run))
        self.made_with = MadeWith.of(task, run, self.predictor)
        self.decided = self.made_with.decided(task)
        self._opened: tuple[Any, Scene] | None = None  # the last whose part was predicted

    def decided_of(self, found: Any) -> str:
        """Return what decides what a scene's files hold, its sources aside; what a catalogue says of it is in it."""
        told = [one.identity for one in (found if isinstance(found, tuple) else (found,)) if isinstance(one, Assembly)]
        return hashlib.sha256(json.dumps([self.decided, told]).encode()).hexdigest() if told else self.decided

    def group(self, named: Group, show: Show = lambda done, text: None, share: Share | None = None) -> list[Outcome]:
        """Map a group of scenes, (name in the list, what ``Task.find_scenes`` found); windows share forward passes.

        A scene that fails is told in its outcome, and with ``infer.strict`` ends the work when those that were read
        before it are mapped; the others of the group are then "open". Raises CannotWrite where nothing can be written,
        and `windows.NotShared` for a scene whose windows ``share`` cannot have predicted.
        """
        role = role_of(members_port(self.task, self.predictor))
        passes = Passes(
            lambda arrays: to_arrays(self.predictor.quantities(arrays, role)),
            lambda arrays: self.predictor.at_once(pixels_of(arrays, self.predictor.inputs)),
        )
        works = [_Work(self, name, one, share) for name, one in named]
        waiting: list[_Work] = []  # those whose scenes are read, the oldest first
        with ExitStack() as stack:
            for number, work in enumerate(works):
                work.show = lambda share, text, number=number: show(number + share, text)
                stack.callback(work.close)
                waiting += [] if work.go_on(passes if len(works) > 1 else None) else [work]
                if self.task.settings.infer.strict and work.outcome.state == "failed":
                    break
                if passes.full:
                    waiting = [one for one in waiting if not one.go_on()]
            for one in waiting:
                while not one.go_on():
                    pass
        return [work.outcome for work in works]

    def part(self, found: Any, cut: Cut) -> Predicted:
        """Predict a part of a scene that another worker maps."""
        if self._opened is None or self._opened[0] != found:
            self._opened = (found, self.task.open_scene(found, self.predictor.survey))
        scene, some = self._opened[1], []
        watch = SceneGuard(self.task, self.predictor, scene).watch
        role = role_of(members_port(self.task, self.predictor))
        drawn = Drawn(self.predictor, role, lambda *_: None, watch=lambda arrays: some.append(watch.some_of(arrays)))
        return Predicted(map_part(drawn, scene, cut), tuple(some))


class _Work:
    """One scene on its way."""

    def __init__(self, mapper: Mapper, name: str, found: Any, share: Share | None):
        self._mapper, self._found, self._share = mapper, found, share
        self.outcome, self.show = Outcome(name, made=mapper.decided_of(found)), lambda share, text: None
        self._steps: Iterator[None] | None = None
        self._seconds = 0.0

    def go_on(self, passes: Passes | None = None) -> bool:
        """Go on until the scene waits for a forward pass, or is done with: True."""
        self._steps = self._steps or self._map(passes)
        begun = time.perf_counter()
        try:
            done = next(self._steps, True) is True
        except CannotWrite:
            raise
        except ZooError as error:
            self.outcome, done = replace(self.outcome, state="failed", why=str(error)), True
        self._seconds += time.perf_counter() - begun
        if done and self.outcome.state == "done":
            self.outcome = replace(self.outcome, seconds=self._seconds)
        return done

    def close(self) -> None:
        """Leave a scene as it is: nothing half-written, and its lease given up."""
        if self._steps is not None:
            self._steps.close()

    def _map(self, passes: Passes | None) -> Iterator[None]:
        mapper = self._mapper
        opened = mapper.task.open_scene(self._found, mapper.predictor.survey)
        self.outcome = replace(self.outcome, notes=tuple(f"{opened.path.name}: {note}" for note in opened.notes))
        scene = mapper.made_with.marked(opened)
        if self._share is not None and scene.whole:
            raise NotShared
        with turn(mapper.dest, scene) as other:
            if other:
                self.outcome = replace(self.outcome, state="busy", why=other)
                return
            reads = tuple((str(file), seen(file)) for file in sources_of(scene))
            made = self._write(scene) if scene.whole else (yield from self._scene(scene, passes))
            self.outcome = replace(
                self.outcome,
                state="left" if made.left else "done",
                files=made.files,
                stamp=scene.stamp,
                reads=() if any(was is None for _, was in reads) else reads,
                masked=made.masked,
                outside=made.outside,
            )

    def _scene(self, scene: Scene, passes: Passes | None) -> Iterator[None]:
        mapper = self._mapper
        show = lambda done, of: self.show(done / of, f"{scene.path.name} {done} of {of}")  # noqa: E731
        args = (mapper.task, mapper.run, mapper.predictor, scene, mapper.dest, show, passes, self._share)
        return (yield from map_scene(*args))

    def _write(self, scene: Scene) -> Mapped:
        """Let the task write what is no raster; see ``Task.write``."""
        mapper = self._mapper
        guard = SceneGuard(mapper.task, mapper.predictor, scene)
        drawn = Drawn(mapper.predictor, "", lambda *_: None, watch=guard.strict())
        return Mapped(files=tuple(mapper.task.write(drawn, scene, mapper.dest)))


def groups(named: Group) -> list[Group]:
    """Return scenes in groups: small files that follow each other share forward passes, others are alone.

    How the list is cut depends on it alone, so that the same windows are computed together whoever computes them:
    in which batch a window is may move its last bit.
    """
    found: list[Group] = []
    room = -1
    for name, one in named:
        size = _size(one)
        if room < size or len(found[-1]) == GROUP:
            found.append([])
            room = GROUP_BYTES
        found[-1].append((name, one))
        room -= size
    return found


def _size(one: Any) -> int:
    """Bytes of a file; of anything else more than a group has room for."""
    path = one if isinstance(one, Path) else getattr(one, "path", None)
    try:
        return path.stat().st_size if isinstance(path, Path) and path.is_file() else GROUP_BYTES + 1
    except OSError:
        return GROUP_BYTES + 1
