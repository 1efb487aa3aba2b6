"""Checkpoints on disk: atomic and durable to write, strict and code-free to read.

Nobody else calls ``torch.save`` or ``torch.load``. One schema for every task::

    format      1
    task        name of the task that wrote it
    config      every setting, as plain types
    epoch, step, best_val, metrics
    model, optimizer, scheduler, ...   state dicts, by the names that the task gave to ``fit``
    rng         per process: torch, CUDA, numpy and Python generator states
    progress    position in the epoch and running sums, to go on within it
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from eozoo_core.errors import ZooError, link_of
from eozoo_core.run.parsed import reason_of
from eozoo_core.run.writing import write_atomic

FORMAT = 1
_OURS = "give a .pt file that torch or eozoo wrote, for example RUN/best.pt"
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Receipt:
    """What was loaded from a weights file: printed, and kept in the run."""

    file: str
    sha256: str
    tensors: int
    parameters: int
    origin: str = ""  # what is known of where the file is from

    def __str__(self) -> str:
        matched = f"all {self.tensors} tensors ({self.parameters:,} values) matched"
        known = f"; {self.origin}" if self.origin else ""
        return f"{self.file}: sha256 {self.sha256[:16]}..., {matched}{known}"


class _Hashed:
    """A file that is being written, and ``digest``, the SHA-256 of what was."""

    def __init__(self, file: IO[bytes]):
        self._file, self._hash = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write and count in."""
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """See `io.IOBase.flush`."""
        self._file.flush()

    @property
    def digest(self) -> str:
        """SHA-256 of all that was written."""
        return self._hash.hexdigest()


def save_checkpoint(path: Path, content: dict[str, Any], tell: Callable[[str], None] | None = None) -> None:
    """Write a checkpoint atomically. ``tell`` gets its SHA-256 when all is written, before it has its name.

    Raises TypeError where ``content`` holds anything but tensors and plain Python types (a numpy number counts as
    something else): it could be written, and never be read again.
    """
    import torch

    _check_plain(content, "checkpoint")
    content = {"format": FORMAT, **content}
    if tell is None:
        write_atomic(path, lambda file: torch.save(content, file))
        return

    def write(file: IO[bytes]) -> None:
        hashed = _Hashed(file)
        torch.save(content, hashed)
        tell(hashed.digest)

    write_atomic(path, write)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours. Runs no code from the file.

    Raises ZooError where the file is missing, truncated, holds objects other than tensors and plain types, or is not
    a checkpoint of this format.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or "format" not in content or "model" not in content:
        raise ZooError(f"{path}: is not an eozoo checkpoint (no 'format' and 'model' in it)")
    if content["format"] != FORMAT:
        raise ZooError(f"{path}: checkpoint format {content['format']!r}, this eozoo reads {FORMAT}; update eozoo")
    return content


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a dict of tensors and plain Python types as it is (training samples, say), atomically; no checkpoint."""
    import torch

    write_atomic(path, lambda file: torch.save(content, file))


def load_tensors(path: Path, mmap: bool = False) -> Any:
    """Read a file of tensors and plain types, whoever wrote it. Runs no code from it.

    ``mmap`` maps the tensors into memory instead of reading them: opening takes milliseconds whatever the size, and
    only what is used is read. Raises ZooError where the file is missing, damaged or holds other objects.
    """
    import torch

    archive = zipfile.is_zipfile(path)  # torch maps its present format only; a file of the older one is read
    try:
        if archive and not mmap:  # reading every byte is what a mapped file is there to avoid
            _compare_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap and archive)
    except FileNotFoundError:
        raise ZooError(f"{path}: no such file{link_of(path)}") from None
    except pickle.UnpicklingError:
        reason = "damaged, or it holds objects other than tensors and plain types, which are not loaded"
        raise ZooError(f"{path}: cannot be read as a checkpoint ({reason}); {_OURS}") from None
    except Exception as error:  # a damaged file makes the reader stumble in many ways; none of them is a bug of ours
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ZooError(f"{path}: cannot be read as a checkpoint ({reason}); {_OURS}") from None


def require_whole(path: Path) -> None:
    """Hold every byte of a file that torch wrote against the checksums in it. Raises ZooError where it is damaged."""
    try:
        _compare_sums(path)
    except FileNotFoundError:
        raise ZooError(f"{path}: no such file") from None
    except Exception as error:  # as in `load_tensors`
        raise ZooError(f"{path}: cannot be read whole ({reason_of(error)}); restore it, or make it again") from None


def _compare_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as records:
        damaged = records.testzip()  # torch writes a CRC-32 of every record, and does not read it
    if damaged is not None:
        raise ValueError(f"its record {damaged!r} is damaged")


def load_weights(path: Path) -> dict[str, Any]:
    """Return the state dict in a weights file: our checkpoint, a bare state dict (.pt, .pth) or safetensors."""
    if Path(path).suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise ZooError(f"{path}: cannot be read as safetensors ({error})") from None
    content = load_tensors(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        return content["model"]
    return content


def load_module(module: Any, state: dict[str, Any], path: Path) -> Receipt:
    """Load ``state`` into ``module``, every tensor matched in name and shape.

    Raises ZooError with counts and first examples of what is missing, unexpected or of another shape; the module is
    then unchanged.
    """
    import torch

    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ZooError(f"{path}: holds no state dict of tensors")
    for name, part in module.named_modules():
        if hasattr(part, "take_sizes"):  # of a forest: how many nodes it has, only its file knows
            start = f"{name}." if name else ""
            part.take_sizes({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}, path)
    expected = module.state_dict()
    common = [(k, v, expected[k]) for k, v in state.items() if k in expected]
    found = {
        "missing": [k for k in expected if k not in state],
        "unexpected": [k for k in state if k not in expected],
        "of another shape": [f"{k} {tuple(v.shape)} for {tuple(e.shape)}" for k, v, e in common if v.shape != e.shape],
        # torch would copy the integer codes of a quantised layer into a float weight without a word.
        "of another type": [
            f"{k} {v.dtype} for {e.dtype}" for k, v, e in common if v.is_floating_point() != e.is_floating_point()
        ],
    }
    if problems := [_examples(kind, names) for kind, names in found.items() if names]:
        raise ZooError(f"{path}: weights do not match the model: {'; '.join(problems)}; check model settings and file")
    module.load_state_dict(state, strict=True)
    return Receipt(str(path), sha256(path), len(state), sum(v.numel() for v in state.values()))


def sha256(path: Path) -> str:
    """Hash a file's content, in bounded memory. Raises ZooError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ZooError(f"{path}: cannot be read ({error.strerror})") from None


def _check_plain(value: Any, where: str) -> None:
    import torch

    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple, set)) and type(value) in (list, tuple, set, torch.Size):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    elif not isinstance(value, torch.Tensor) and type(value) not in _PLAIN:
        raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain Python types only")


def _examples(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
