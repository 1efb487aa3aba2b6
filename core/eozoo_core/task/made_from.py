"""What a map was made from: told in its tags, and as one stamp by which a map that is there is known to be finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eozoo_core.raster.address import is_address
from eozoo_core.raster.assembly import Assembly
from eozoo_core.raster.read import read_info
from eozoo_core.raster.remote import version_of
from eozoo_core.raster.trust import files_of
from eozoo_core.task.ensemble import best_hash
from eozoo_core.task.scenes import Scene
from eozoo_core.train.launch import resolve_device
from eozoo_core.train.precision import precision_in_use

if TYPE_CHECKING:
    from eozoo_core.run.directory import Run
    from eozoo_core.task.contract import Contract
    from eozoo_core.task.predict import Predictor

_HEAD = 2**14  # bytes of a map in which its tags are looked for first: large ones have long lists of tiles there
T = TypeVar("T")
STAMP, RUN, CHECKPOINT, VERSION = "EOZOO_STAMP", "EOZOO_RUN", "EOZOO_CHECKPOINT", "EOZOO_VERSION"
# Of ``infer``: what changes no value of a map, or is in the stamp by what it comes to.
_NO_MATTER = {"batch_size", "strict", "workers", "dask"}
_ELSEWHERE = {
    *_NO_MATTER, "format", "picture", "member_maps", "precision", "draws", "scale_variance", "mask", "int8",
}  # fmt: skip


@dataclass(frozen=True)
class MadeWith:
    """What all maps of one ``infer`` share. ``settings``: of ``infer``, for scenes whose task gives no stamp itself."""

    tags: dict[str, str]
    parts: list[Any]
    settings: dict[str, Any]

    @classmethod
    def of(cls, task: Contract, run: Run, predictor: Predictor) -> MadeWith:
        """Weights of all members, draws, arithmetic, variance factor, masks, and the code."""
        weights, code = best_hash(run, task.settings), versions_of(task)
        precision = precision_in_use(run, "infer", resolve_device(task.settings.runtime.device))
        infer = task.settings.infer
        mask = infer.mask.model_dump(mode="json")
        masks = [seen(path) for path in (infer.mask.classes, infer.mask.clouds) if path is not None]
        tags = {RUN: str(run.path), CHECKPOINT: weights, VERSION: ", ".join(code)}
        settings = infer.model_dump(mode="json", exclude=_ELSEWHERE)
        parts = [weights, predictor.names, precision, predictor.factor, mask, masks, code]
        return cls(tags, [*parts, *sorted(infer.int8)], settings)

    def decided(self, task: Contract) -> str:
        """Return a hash of all but the sources that decides what files a scene gets, and what is in them."""
        infer = task.settings.infer.model_dump(mode="json", exclude=_NO_MATTER)
        return hashlib.sha256(json.dumps([self.parts, infer]).encode()).hexdigest()

    def marked(self, scene: Scene) -> Scene:
        """Return the scene with its tags and its stamp; none where a source is not there."""
        source: Any = scene.stamp
        if not source:
            files = [seen(file) for file in sources_of(scene)]
            told = [list(scene.bands), list(scene.notes), dict(scene.tags)]
            told += [one.identity for one in assemblies_of(scene)]
            source = None if None in files or not files else [files, self.settings, told]
        stamp = hashlib.sha256(json.dumps([source, self.parts]).encode()).hexdigest() if source else ""
        return replace(scene, stamp=stamp, tags={**self.tags, **scene.tags})


def steadily(run: Run, load: Callable[[], T]) -> T:
    """Return ``load()``, again where a training replaced a best.pt of the run meanwhile: maps tell what they used."""
    while True:
        before = _best(run)
        loaded = load()
        if _best(run) == before:
            return loaded


def are_there(files: Sequence[Path], stamp: str) -> bool:
    """Whether all maps are there and were made from what ``stamp`` says; never without a stamp."""
    if not stamp or not all(file.exists() for file in files):
        return False
    return all(_has_stamp(file, stamp) for file in files)


def _has_stamp(file: Path, stamp: str) -> bool:
    """Whether a map's tags hold ``stamp``. They lie before the pixels, as text; to open each map costs twenty times."""
    if file.is_dir():  # Zarr
        return read_info(file).tags.get(STAMP) == stamp
    with file.open("rb") as opened:
        if f'"{STAMP}">{stamp}<'.encode() in opened.read(_HEAD):
            return True
    return read_info(file).tags.get(STAMP) == stamp


def distribution_of(cls: type) -> str:
    """Return the distribution that a class is in, by the name of its package."""
    return cls.__module__.partition(".")[0].replace("_", "-")


def versions_of(task: Contract) -> list[str]:
    """Return name and version of eozoo and of the distribution that the task's class is in."""
    found = {}
    for name in ("eozoo", distribution_of(type(task))):
        try:
            found[name] = f"{name} {version(name)}"
        except PackageNotFoundError:  # a class of a notebook or a test
            continue
    return list(found.values())


def _best(run: Run) -> list[Any]:
    return [seen(file) for file in sorted(run.path.rglob("best.pt"))]


def sources_of(scene: Scene) -> Sequence[Path]:
    """Return the files that a scene is read from."""
    own = [file for one in assemblies_of(scene) for file in one.files]
    return own or scene.reads or files_of(scene.path)


def assemblies_of(scene: Scene) -> list[Assembly]:
    """Return what a scene is read from that is several files itself."""
    return [one for one in (scene.parts, *scene.dates) if isinstance(one, Assembly)]


def seen(file: Path) -> list[Any] | None:
    """Name, size and time of change of a file; of what lies elsewhere its address and what `version_of` says.

    None where it is not there.
    """
    try:
        found = Path(file).stat()
    except (OSError, ValueError):
        return [str(file), *version_of(file)] if is_address(file) else None
    return [Path(file).name, found.st_size, found.st_mtime_ns]
