"""Scenes of an output folder that several workers fill at the same time: each scene is one worker's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eozoo_core.run.lease import Held, take
from eozoo_core.run.progress import print_message
from eozoo_core.task.scenes import Scene


class Turns:
    """Scenes one by one; those that another living worker maps are asked for once more at the end.

    left: names of scenes whose maps were there, made from the same.
    """

    def __init__(self, dest: Path):
        self.dest, self._count = dest, 0
        self._held: dict[Path, str] = {}  # the lease of a scene -> who holds it
        self.left: list[str] = []

    def over(self, scenes: Sequence[Scene]) -> Iterator[Scene]:
        """Yield the scenes to ask for."""
        self._count += len(scenes)
        yield from scenes
        yield from [scene for scene in scenes if self._lease(scene) in self._held]

    @contextmanager
    def mine(self, scene: Scene) -> Iterator[bool]:
        """Whether the scene is this worker's while the block runs."""
        file = self._lease(scene)
        try:
            lease = take(file, str(scene.path), "another --output", wait=False)
        except Held as other:
            self._held[file] = other.holder
            yield False
            return
        self._held.pop(file, None)
        try:
            yield True
        finally:
            lease.release()

    def tell(self, quiet: bool) -> bool:
        """Say what was left, and what others still map; return whether there is any of the latter."""
        if self.left and not quiet:
            count, of = len(self.left), self._count
            print_message(
                f"{count} of {of} scenes were mapped before from the same; their maps are left (or delete them)"
            )
        for holder, count in Counter(self._held.values()).items():
            what = "1 scene is" if count == 1 else f"{count} scenes are"
            print_message(f"{what} being mapped by {holder}; the same command again completes what it leaves")
        return bool(self._held)

    def _lease(self, scene: Scene) -> Path:
        whole = self.dest / scene.file("maps")
        return whole.with_name(f".{whole.name}.writer.json")
