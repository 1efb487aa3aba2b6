"""Scenes of an output folder that several workers fill at the same time: each scene is one worker's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eozoo_core.run.lease import Held, take
from eozoo_core.task.scenes import Scene


@contextmanager
def turn(dest: Path, scene: Scene) -> Iterator[str]:
    """Yield "" while the scene is this worker's, or who maps it, where another living one does."""
    try:
        lease = take(lease_of(dest, scene), str(scene.path), "another --output", wait=False)
    except Held as other:
        yield other.holder
        return
    try:
        yield ""
    finally:
        lease.release()


def lease_of(dest: Path, scene: Scene) -> Path:
    """Return the file that says who maps a scene."""
    whole = dest / scene.file("maps")
    return whole.with_name(f".{whole.name}.writer.json")
