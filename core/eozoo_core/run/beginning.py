"""What a new run begins with: another checkpoint, or its weights; a run that is refused leaves nothing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eozoo_core.errors import ZooError
from eozoo_core.run import checkpoint, continuity, manifest
from eozoo_core.run.directory import WRITER, Run
from eozoo_core.settings.config import to_dict


def start_from(run: Run, file: Path) -> None:
    """Make ``file``, a checkpoint of the same task, the point from which the new ``run`` goes on.

    Everything in it is restored but the best score: best.pt becomes the best of this run, whose settings and data may
    differ. run.json records which settings do. Where the run has a checkpoint already, it goes on from that and
    ``file`` is not read. Raises ZooError where the file is no checkpoint of this task, or of another optimiser.
    """
    if run.has("current") or not run.writes:
        return
    content = checkpoint.load_checkpoint(file)
    if content.get("task") != run.task:
        raise ZooError(f"{file}: was written by task {content.get('task')!r}, not {run.task!r}")
    learned = continuity.checkpoint_settings(file, content, type(run.settings))
    changed = [list(change) for change in continuity.fixed_changes(learned, run.settings)]
    if optimizer := next((d for d in changed if d[0] == "train.optimizer"), None):
        raise ZooError(
            f"{file}: holds the state of optimizer {optimizer[1]!r}, not of {optimizer[2]!r}; "
            "use --init-from to take its weights only"
        )
    best, config = content.pop("best_val"), to_dict(run.settings)
    content.pop("format")
    run.save("current", {**content, "best_val": math.inf, "config": config})
    receipt = {"file": str(file), "sha256": checkpoint.sha256(file), "changed_settings": changed}
    run.note("resumed_from", {**receipt, "best_val": best if math.isfinite(best) else None})


@contextmanager
def starting_from(run: Run, file: Path | None) -> Iterator[None]:
    """``start_from(run, file)`` for the training inside; None = nothing. A refusal of ``file`` leaves no trace of it.

    Where training fails before it has saved anything, current.pt is taken away again: it would be what the corrected
    command goes on from.
    """
    if file is None or run.has("current"):
        yield
        return
    start_from(run, file)
    current = run.file("current")
    begun = current.stat().st_mtime_ns if run.writes else None
    try:
        yield
    except ZooError as error:
        if begun is not None and current.exists() and current.stat().st_mtime_ns == begun:
            current.unlink()
            raise ZooError(str(error).replace(str(current), str(file))) from error
        raise


def take_weights_from(run: Run, file: Path) -> None:
    """Make ``file`` (our checkpoint, a state dict, safetensors) the initial weights of the new ``run``.

    ``fit`` loads them, every tensor matched, before the first step; statistics of normalisation that are buffers of the
    model come with them.
    """
    if not run.has("current"):
        run.note("init_from", {"file": str(Path(file).resolve()), "sha256": checkpoint.sha256(file)})


@contextmanager
def undone_if_refused(run: Run) -> Iterator[None]:
    """Undo what ``Run.create`` wrote where the run is refused inside before it has learned or computed anything.

    Its settings, which the refusal may be about, would be those of the corrected command. A run that was there before
    gets its own back; a folder that was there, or a link to one, stays.
    """
    try:
        yield
    except ZooError:
        if run.found is not None and run.path.is_dir() and not run.has_begun():
            with suppress(OSError, ZooError):  # what cannot be undone is no reason to hide the refusal
                _undo(run, run.found)
        raise


def _undo(run: Run, found: dict[str, str]) -> None:
    if found:
        for name, text in found.items():
            run.write_text(name, text)
        return
    written = {"run.json", manifest.CONFIG}
    if not {file.name for file in run.path.iterdir()} <= {*written, WRITER, "tensorboard"}:
        return
    run.release()
    shutil.rmtree(run.path / "tensorboard", ignore_errors=True)
    for name in written:
        (run.path / name).unlink(missing_ok=True)
    if run.made_folder:
        run.path.rmdir()
