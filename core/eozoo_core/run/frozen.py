"""The frozen base of a fine-tuned model: kept once in the run, named by its content, not in every checkpoint.

Checkpoints then hold what was trained, megabytes instead of gigabytes, and the hash of the base that it belongs to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run.checkpoint import load_checkpoint, load_weights, sha256
from eozoo_core.run.manifest import quick_sha256
from eozoo_core.run.rank import is_first_process
from eozoo_core.run.writing import hidden_folder, publish
from eozoo_core.run.written import copy_file

if TYPE_CHECKING:
    from torch import Tensor

    from eozoo_core.run.directory import Run


class Base:
    """The hash of a run's frozen base, as a part of ``fit``'s state: a checkpoint of another base is refused."""

    def __init__(self, digest: str):
        self.sha256 = digest

    def state_dict(self) -> dict[str, Any]:
        """Return the hash."""
        return {"sha256": self.sha256}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise ZooError where the checkpoint was trained on another base."""
        if state["sha256"] != self.sha256:
            raise ZooError(
                f"the checkpoint was trained on the frozen base {state['sha256'][:16]}..., this run has "
                f"{self.sha256[:16]}...; begin a new run with the same pretrained weights"
            )


def base_file(folder: Path, digest: str) -> Path:
    """Return the place of a base in a run directory."""
    return Path(folder) / f"base-{digest}.safetensors"


def keep_base(run: Run, tensors: dict[str, Tensor]) -> str:
    """Write ``tensors`` into the run as base-SHA256.safetensors, note the hash in run.json, and return it.

    Call it in the first process only. Where a neighbouring run has the same base the file is a hard link to it. Raises
    ZooError where the disk is full.
    """
    from safetensors.torch import save_file

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with hidden_folder(run.path / "base", sum(tensor.nbytes for tensor in kept.values())) as work:
        save_file(kept, work / "base")
        digest = sha256(work / "base")
        _place(work / "base", base_file(run.path, digest))
    run.note("base", digest)
    return digest


def load_base(run: Run) -> dict[str, Tensor] | None:
    """Return the run's base, or that of the checkpoint from which the run starts (then linked into it); None = none.

    Raises as ``read_base``.
    """
    digest = run.info().get("base") or _inherited(run)
    return None if digest is None else read_base(base_file(run.path, digest))


def read_base(file: Path) -> dict[str, Tensor]:
    """Read a base of a run directory. Raises ZooError where it is gone or its content is not what its name says."""
    require_base(file)
    return load_weights(file)


def require_base(file: Path) -> None:
    """Raise ZooError where a base is gone or its content is not what its name says."""
    if not file.exists():
        raise ZooError(
            f"{file}: is missing{link_of(file)}; the run's checkpoints need it. Copy it back from where the run was"
        )
    if f"base-{quick_sha256(file)}" != file.stem:
        raise ZooError(f"{file}: is damaged (its content is not what its name says); copy it back from a backup")


def _inherited(run: Run) -> str | None:
    """Take over the base of the checkpoint that --resume or --init-from named."""
    for key in ("resumed_from", "init_from"):
        start = run.info().get(key)
        if start is None or Path(start["file"]).suffix != ".pt":
            continue
        digest = load_checkpoint(start["file"]).get("base", {}).get("sha256")
        source = base_file(Path(start["file"]).parent, digest) if digest else None
        if source is None:
            continue
        if not source.exists():
            raise ZooError(f"{source}: is missing; {start['file']} needs it beside it")
        if is_first_process():
            _link(source, base_file(run.path, digest))
            run.note("base", digest)
        return digest
    return None


def _place(temporary: Path, file: Path) -> None:
    for twin in file.parent.parent.glob(f"*/{file.name}"):
        if twin != file and twin.stat().st_size == temporary.stat().st_size and not file.exists():
            _link(twin, file)
    if not file.exists():
        publish(temporary, file)


def _link(source: Path, file: Path) -> None:
    """Link, or copy where the file system has no links."""
    if file.exists():
        return
    try:
        os.link(source, file)
    except OSError:
        copy_file(source, file)
