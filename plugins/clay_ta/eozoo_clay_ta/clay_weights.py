"""Published Clay weights into the encoder: strictly, every tensor matched, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core import ZooError
from eozoo_core.run.checkpoint import Receipt, load_module, load_tensors, load_weights

if TYPE_CHECKING:
    from eozoo_clay_ta.clay import ClayEncoder

_PREFIXES = ("model.encoder.", "encoder.", "")  # the Lightning file, one level stripped, the encoder alone
_MARK = "patch_embedding.weight_generator.weight_tokens"  # every Clay encoder has it, nothing else does


def load_clay(encoder: ClayEncoder, path: str | Path) -> Receipt:
    """Load a Clay file into ``encoder`` and return the receipt (file, sha256, tensors matched).

    Reads the published Lightning checkpoint (its decoder, teacher and optimiser are left where they are: the file is
    mapped, not read), a state dict with or without the prefix ``encoder.``, and safetensors of either. Raises ZooError
    where the file holds no Clay encoder, or one of another size, or a part of one.
    """
    path = Path(path)
    state = load_weights(path) if path.suffix == ".safetensors" else _state(load_tensors(path, mmap=True))
    return load_module(encoder, encoder_part(state, path), path)


def encoder_part(state: Any, path: Path) -> dict[str, Any]:
    """Return the encoder's tensors of a state dict under the encoder's own names."""
    names = [name for name in state if isinstance(name, str)] if isinstance(state, dict) else []
    prefix = next((p for p in _PREFIXES if p + _MARK in names), None)
    if prefix is None:
        found = f"it begins with {', '.join(names[:3])}" if names else "it holds no named tensors"
        raise ZooError(f"{path}: holds no Clay encoder ({found}); give clay-v1.5.ckpt or a file made from it")
    # Of a bare encoder everything must fit; beside a prefixed one lie the decoder and the teacher.
    return {name.removeprefix(prefix): state[name] for name in names if name.startswith(prefix)}


def _state(content: Any) -> Any:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        return content["state_dict"]
    return content
