"""``eozoo infer``: scenes one after the other, each by one worker; small ones share forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eozoo_core.errors import ZooError
from eozoo_core.run.progress import progress_bar, tell_once
from eozoo_core.run.written import write_text
from eozoo_core.task.guard import SceneGuard
from eozoo_core.task.inputs import scenes_at
from eozoo_core.task.made_from import MadeWith, steadily
from eozoo_core.task.maps import map_scene, members_port, role_of
from eozoo_core.task.passes import Passes
from eozoo_core.task.predict import Predictor, to_arrays
from eozoo_core.task.scenes import Scene, by_dates
from eozoo_core.task.turns import Turns
from eozoo_core.task.windows import Drawn
from eozoo_core.train.execution import pixels_of

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract


def infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    """Map every scene of ``source`` into ``dest``; see ``Task.infer``.

    All headers are checked before the first map is begun. A file that turns out damaged in the middle ends the work
    with its name, or is left out and reported where ``infer.on_unreadable`` says so; maps already written stay. A new
    ``dest`` in which nothing was written is gone afterwards.
    """
    was_there = dest.exists()
    try:
        return _infer(task, run, source, dest)
    finally:
        if not was_there:
            with suppress(OSError):  # it holds something, or was never made
                dest.rmdir()


def _infer(task: Contract, run: Run, source: Path, dest: Path) -> list[Path]:
    predictor, problems = steadily(run, lambda: Predictor(task, run)), []
    found, scenes, written = by_dates(scenes_at(task, source), predictor.survey.names), [], []
    for one in found:
        with skipping(task, problems):
            scenes.append(task.open_scene(one, predictor.survey))
    tell_once([f"{scene.path.name}: {note}" for scene in scenes for note in scene.notes], task.settings.runtime.quiet)
    made_with = MadeWith.of(task, run, predictor)
    scenes, turns = [made_with.marked(scene) for scene in scenes], Turns(dest)
    written += write_whole(task, predictor, [scene for scene in scenes if scene.whole], turns, problems)
    written += map_all(task, run, predictor, [scene for scene in scenes if not scene.whole], turns, problems)
    busy = turns.tell(task.settings.runtime.quiet)
    if problems:
        written.append(write_text(dest / "skipped.txt", "\n".join(problems) + "\n"))
    if not busy and (not written or len(problems) == len(found)):
        raise ZooError(f"{source}: nothing could be read; first: {problems[0]}")
    return written


def write_whole(
    task: Contract, predictor: Predictor, scenes: Sequence[Scene], turns: Turns, problems: list[str]
) -> list[Path]:
    """Let the task write what is no raster; see ``Task.write``."""
    if not scenes:
        return []
    written = []
    with progress_bar("infer", len(scenes), "files", task.settings.runtime.quiet) as bar:
        for done, scene in enumerate(turns.over(scenes)):
            with skipping(task, problems), turns.mine(scene) as mine:
                if mine:
                    guard = SceneGuard(task, predictor, scene)
                    drawn = Drawn(predictor, "", lambda *_: None, watch=guard.strict())
                    written += task.write(drawn, scene, turns.dest)
            bar.update(done + 1, scene.path.name)
    return written


@contextmanager
def skipping(task: Contract, problems: list[str]) -> Iterator[None]:
    """Let a ZooError pass, or note it, as ``infer.on_unreadable`` says."""
    try:
        yield
    except ZooError as error:
        if task.settings.infer.on_unreadable != "skip":
            raise
        problems.append(str(error))


def map_all(
    task: Contract, run: Run, predictor: Predictor, scenes: Sequence[Scene], turns: Turns, problems: list[str]
) -> list[Path]:
    """Map scenes one after the other; windows of small ones share forward passes, see `Predictor.at_once`.

    Where a scene ends the work, those that were read before it are still mapped.
    """
    role, quiet = role_of(members_port(task, predictor)), task.settings.runtime.quiet
    shared = Passes(
        lambda arrays: to_arrays(predictor.quantities(arrays, role)),
        lambda arrays: predictor.at_once(pixels_of(arrays, predictor.inputs)),
    )
    passes = shared if len(scenes) > 1 else None
    written: dict[int, list[Path]] = {}
    waiting: list[Iterator[None]] = []  # maps whose scenes are read, the oldest first

    def mapped(number: int, scene: Scene) -> Iterator[None]:
        with skipping(task, problems), turns.mine(scene) as mine:
            if mine:
                show = lambda done, of: bar.update(number + done / of, f"{scene.path.name} {done} of {of}")  # noqa: E731
                written[number] = yield from map_scene(task, run, predictor, scene, turns, show, passes)

    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar("infer", len(scenes), "scenes", quiet))
        try:
            for number, scene in enumerate(turns.over(scenes)):
                stack.callback((one := mapped(number, scene)).close)
                waiting += [] if is_done(one) else [one]
                if passes is not None and passes.full:
                    waiting = [one for one in waiting if not is_done(one)]
        except ZooError:
            all(map(is_done, waiting))
            raise
        all(map(is_done, waiting))
    return [file for number in sorted(written) for file in written[number]]


def is_done(mapping: Iterator[None]) -> bool:
    """Go on with a scene until it waits for a forward pass, or its maps are written: True."""
    return next(mapping, True) is True
