"""The run directory: everything that training leaves behind, and all that evaluation and inference may read."""

from __future__ import annotations

import json
import platform
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run import checkpoint, continuity, log, manifest
from eozoo_core.run.continuity import now
from eozoo_core.run.fingerprint import fingerprint
from eozoo_core.run.lease import Lease, take
from eozoo_core.run.rank import is_first_process
from eozoo_core.run.writing import leftovers, make_folder
from eozoo_core.run.written import write_text
from eozoo_core.settings import TaskSettings
from eozoo_core.settings.config import build_settings, to_dict, to_yaml
from eozoo_core.settings.fixed import with_fixed

S = TypeVar("S", bound=TaskSettings)
WRITER = ".writer.json"  # the lease of a run


class Run:
    """A directory with run.json, config.yaml, training_log.jsonl, current.pt, best.pt and what a task adds.

    ``create`` starts or continues one, ``open`` reads one. A run of several members keeps each in ``child(name)``.

    One process at a time writes a run: ``create`` takes the lease of it, ``release`` and the end of training, of this
    object or of the process give it up. Who only reads, as ``eval`` and ``infer`` do, needs none.
    """

    def __init__(self, path: Path, task: str, settings: TaskSettings):
        self.path, self.task, self.settings = Path(path), task, settings
        self._lease: Lease | None = None
        self.made_folder = False  # whether `create` made the folder
        self.found: dict[str, str] | None = None  # what `create` wrote over of a run that has not begun: name -> text
        self._best = ""  # hash of the best.pt that this object wrote

    # -- life -----------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, task: str, settings: TaskSettings, plugin: str = "") -> Run:
        """Make the directory, or continue in an existing one of the same task and the same fixed settings.

        More epochs or steps extend a run. Raises ZooError naming the difference for any other change of a fixed
        setting, for another task, and where the path is in use for something else: `lease.Held` where another process
        trains it.
        """
        run = cls(path, task, settings)
        if run.writes:  # the other processes of the job would only see its writing half done
            run._require_ours()
            run.made_folder = not run.path.exists()
            run._take()
            try:
                run._require_ours()  # what it is by now
                files = [run.path / name for name in ("run.json", manifest.CONFIG)]
                run.found = None if run.has_begun() else {f.name: f.read_text() for f in files if f.exists()}
                run._write_start(plugin)
            except BaseException:
                run.release()
                raise
        return run

    @classmethod
    def open(cls, path: Path, settings_class: type[S], task: str | None = None, overrides: Iterable[str] = ()) -> Run:
        """Open an existing run; ``overrides`` (``key=value``) may touch free settings only.

        Raises ZooError where there is no run, it belongs to another task, an override names a fixed setting, its
        settings are those of a version that this one cannot read, or config.yaml is not what training wrote.
        """
        path = Path(path)
        found = cls.task_of(path)
        if task is not None and found != task:
            raise ZooError(f"{path}: is a run of {found[:40]!r}, not of {task!r}")
        settings = continuity.read_settings(path, settings_class, overrides)
        continuity.require_written(path, settings)
        return cls(path, found, settings)

    @staticmethod
    def task_of(path: Path) -> str:
        """Return the name of the task that made the run at ``path``. Raises ZooError where there is none."""
        return continuity.task_of(path)

    def child(self, name: str, settings: TaskSettings | None = None) -> Run:
        """Return the run of a member in the folder ``name``.

        With ``settings`` it is made, or continued, to train it. Without, it is opened with the settings that it was
        trained with and the free ones of this run, and nothing is written.
        """
        path = self.path / name
        if settings is not None:
            return Run.create(path, self.task, settings, self.info().get("plugin", ""))
        member = Run.open(path, type(self.settings), self.task)
        values = with_fixed(type(self.settings), to_dict(self.settings), to_dict(member.settings))
        return Run(path, self.task, build_settings(type(self.settings), values, str(path)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lease of the run inside; it is given up at the end. See the class."""
        if self.writes:
            self._take()
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give up the lease of the run, if this process has it."""
        if self._lease is not None:
            self._lease.release()

    def _take(self) -> None:
        if self._lease is not None and self._lease.is_mine:
            self._lease.confirm()
            return
        self._lease = take(self.path / WRITER, str(self.path), "another --run directory")
        weakref.finalize(self, self._lease.release)

    def _confirm(self) -> None:
        if self._lease is not None and self._lease.is_mine:
            self._lease.confirm()

    def _require_ours(self) -> None:
        if (self.path / "run.json").exists():
            self._check_continues()
        elif self.path.exists() and not self._is_empty():
            raise ZooError(f"{self.path}: is not empty and holds no run; choose another --run directory")

    def _check_continues(self) -> None:
        found = self.task_of(self.path)
        if found != self.task:
            raise ZooError(
                f"{self.path}: is a run of {found[:40]!r}, not of {self.task!r}; choose another --run directory"
            )
        if self.has_begun():  # else killed, or refused for its data or settings, before anything was learned
            continuity.check_continues(self.path, self.settings)

    def has_begun(self) -> bool:
        """Whether the run, or a member of it, has a checkpoint."""
        return any(self.path.rglob("current.pt"))

    @property
    def writes(self) -> bool:
        """Whether this process writes the run: of several that train one, the first does."""
        runtime = self.settings.runtime
        return runtime.devices * runtime.nodes == 1 or is_first_process()

    def _is_empty(self) -> bool:
        try:
            return all(file.name == WRITER or file.match(".*.part") for file in self.path.iterdir())
        except OSError as error:
            raise ZooError(f"{self.path}: cannot be read ({error.strerror}); choose another --run directory") from None

    def _write_start(self, plugin: str) -> None:
        make_folder(self.path)
        for file in leftovers(self.path):  # of a process killed while it wrote
            file.unlink(missing_ok=True)
        info = self.info() if self.has_begun() else {}
        if not info:
            history = self.info().get("history", [])
            info = {"task": self.task, "plugin": plugin, "started": now(), "history": history}
        else:
            continuity.note_changes(self.path, self.settings)
        if "contents" not in info and (contents := continuity.contents(self.settings)):
            info["contents"] = contents
        text = to_yaml(self.settings)
        digest = manifest.settings_digest(text)
        info[manifest.KEY] = manifest.expected(info, self.path / manifest.CONFIG, digest, manifest.of_settings)
        info["format"] = continuity.FORMAT
        info["seed"] = self.settings.train.seed
        versions = {"eozoo": version("eozoo"), "torch": version("torch"), "python": platform.python_version()}
        info["history"].append({"when": now(), "argv": sys.argv, "folder": str(Path.cwd()), **versions})
        self.write_json("run.json", info)
        self.write_text(manifest.CONFIG, text)

    # -- records --------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Return the content of run.json, {} where there is none yet."""
        return continuity.run_info(self.path)

    def note(self, key: str, value: Any) -> None:
        """Record one fact in run.json (device, data fingerprint, weights receipt ...)."""
        if self.writes:
            self.write_json("run.json", {**self.info(), key: value})

    def note_changes(self) -> None:
        """Write down which settings differ from config.yaml, for a verb that uses the run; see ``continuity``."""
        continuity.note_changes(self.path, self.settings)

    def check_data(self, files: Iterable[Path], root: Path) -> None:
        """Record a fingerprint of the training data, or refuse to go on with other data than before."""
        seen, now = self.info().get("data_fingerprint"), fingerprint(files, root)
        if seen is not None and seen != now and self.has("current"):
            raise ZooError(
                f"{root}: the training data changed since this run began; restore them, or start a new --run "
                f"(--resume {self.path / 'current.pt'} continues on the new data)"
            )
        self.note("data_fingerprint", now)

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to training_log.jsonl, synced to disk. Raises ZooError where another process took over."""
        self._confirm()
        log.append(self.path / "training_log.jsonl", record)

    def read_log(self) -> list[dict[str, Any]]:
        """Return all lines of training_log.jsonl, oldest first."""
        return log.read(self.path / "training_log.jsonl")

    def cut_log(self, step: int) -> None:
        """Drop the lines after ``step``: a run that goes on from a checkpoint writes them again."""
        log.cut(self.path / "training_log.jsonl", step)

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file into the run, atomically."""
        return write_text(self.path / name, text)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file into the run, atomically. NaN is refused: JSON has none, use None."""
        return self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_scores(
        self, split: str, scores: dict[str, dict[str, float]], scored_on: Mapping[str, Any] | None = None
    ) -> Path:
        """Write eval_SPLIT.json: scores, the eval settings used, and when. Returns its path.

        ``scored_on``: data and units of the scores, by which ``eozoo compare`` knows whether it may subtract them.
        """
        settings = to_dict(self.settings.eval)
        content = {"task": self.task, "split": split, "when": now(), "settings": settings}
        content |= {"scored_on": dict(scored_on)} if scored_on else {}
        content["scores"] = scores
        return self.write_json(f"eval_{split}.json", content)

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def file(self, which: str) -> Path:
        """Return the path of checkpoint ``which``: "current", "best" or "checkpoint_epoch_NNN"."""
        return self.path / f"{which}.pt"

    def has(self, which: str) -> bool:
        """Whether checkpoint ``which`` exists."""
        return self.file(which).exists()

    def save(self, which: str, content: dict[str, Any]) -> None:
        """Write checkpoint ``which``, with task and settings in it. Raises ZooError where another process took over."""
        self._confirm()
        content = {"task": self.task, "config": to_dict(self.settings), **content}
        checkpoint.save_checkpoint(self.file(which), content, self._announce if which == "best" else None)

    def _announce(self, digest: str) -> None:
        """Note the hash of the best.pt that is about to be; see ``manifest``."""
        before = self._best
        known = manifest.expected(
            self.info(), self.file("best"), digest, lambda file: before or checkpoint.sha256(file)
        )
        self.note(manifest.KEY, known)
        self._best = digest

    def load(self, which: str = "best") -> dict[str, Any]:
        """Read checkpoint ``which``.

        Raises ZooError where it is missing, damaged or of another task, and for a best.pt that training did not leave.
        """
        if not self.has(which):
            raise ZooError(
                f"{self.path}: has no {which}.pt{link_of(self.file(which))}; train it first with "
                f"'eozoo train {self.task} --run {self.path}'"
            )
        content = checkpoint.load_checkpoint(self.file(which))
        if content.get("task") != self.task:
            raise ZooError(f"{self.file(which)}: was written by task {content.get('task')!r}, not {self.task!r}")
        if which == "best":
            manifest.require_known(self.info, self.file(which))
        return content
