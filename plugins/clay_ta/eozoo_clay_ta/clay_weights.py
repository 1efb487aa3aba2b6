"""Published Clay weights into the encoder: strictly, every tensor matched, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eozoo_core import ZooError
from eozoo_core.run.published import load_published

from eozoo_clay_ta.plugin import SOURCES

if TYPE_CHECKING:
    from eozoo_core.run.checkpoint import Receipt

    from eozoo_clay_ta.clay import ClayEncoder

_PREFIXES = ("model.encoder.", "encoder.", "")  # the Lightning file, one level stripped, the encoder alone
_MARK = "patch_embedding.weight_generator.weight_tokens"  # every Clay encoder has it, nothing else does


def load_clay(encoder: ClayEncoder, given: str | Path, name: str = "") -> Receipt:
    """Load a Clay file into ``encoder``, of the size ``name``; see `load_published` for ``given`` and the receipt.

    Reads the published Lightning checkpoint (its decoder, teacher and optimiser are left where they are), a state dict
    with or without the prefix ``encoder.``, and safetensors of either. Raises ZooError where the file holds no Clay
    encoder, or one of another size, or a part of one.
    """
    return load_published(encoder, given, name, SOURCES.get(name, ()), encoder_part)


def encoder_part(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the encoder's tensors of a state dict under the encoder's own names."""
    names = [name for name in state if isinstance(name, str)]
    prefix = next((p for p in _PREFIXES if p + _MARK in names), None)
    if prefix is None:
        found = f"it begins with {', '.join(names[:3])}" if names else "it holds no named tensors"
        raise ZooError(f"{path}: holds no Clay encoder ({found}); give clay-v1.5.ckpt or a file made from it")
    # Of a bare encoder everything must fit; beside a prefixed one lie the decoder and the teacher.
    return {name.removeprefix(prefix): state[name] for name in names if name.startswith(prefix)}
