"""Published Prithvi weights into our encoder: which tensors are taken, which are left, and nothing silently missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import Receipt
from eozoo_core.run.published import load_published

from eozoo_prithvi_refine.encoder import PrithviEncoder
from eozoo_prithvi_refine.plugin import sources_of
from eozoo_prithvi_refine.positions import position_table

_COORDINATES = ("temporal_embed_enc.", "location_embed_enc.")


@dataclass(frozen=True)
class PrithviReceipt:
    """What was loaded from a published file, what was left in it, and how many frames it was trained with."""

    loaded: Receipt
    left_out: int
    frames: int

    def __str__(self) -> str:
        return (
            f"{self.loaded}; {self.left_out} tensors of the decoder and of unused encodings left out, position table "
            f"({self.frames} frame(s) in the file) computed for the images at hand"
        )


def load_prithvi(
    encoder: PrithviEncoder, given: Path | str, name: str = "", setting: str = "model.weights"
) -> PrithviReceipt:
    """Load a published ``.pt`` (masked autoencoder or encoder alone) or safetensors file, every tensor matched.

    ``name``: the encoder's; ``given`` and ``setting`` as for `load_published`. ``_timm_module.`` and ``encoder.``
    prefixes are taken off; the decoder and, for an encoder without them, the time and location encodings are left out.
    The position table is fixed and computed, not loaded; a table in the file that differs from it means another model,
    and is an error. Raises ZooError with examples for whatever does not match.
    """
    seen: dict[str, int] = {}

    def pick(content: dict[str, Any], path: Path) -> dict[str, Any]:
        state, left_out, table = {}, 0, None
        for key, value in content.items():
            inside = key.removeprefix("_timm_module.").removeprefix("encoder.")
            unused = not encoder.variant.coordinates and inside.startswith(_COORDINATES)
            if unused or "decoder" in inside or "mask_token" in inside:
                left_out += 1
            elif inside == "pos_embed":
                table = value
            else:
                state[inside] = value
        seen.update(left_out=left_out, frames=_check_table(encoder, table, path))
        return {**state, "pos_embed": encoder.pos_embed.detach().clone()}

    loaded = load_published(encoder, given, name, sources_of(name), pick, setting)
    return PrithviReceipt(loaded, **seen)


def _check_table(encoder: PrithviEncoder, table: torch.Tensor | None, path: Path) -> int:
    """Compare the file's table with the formula; return its number of frames. A file without one has the default."""
    if table is None:
        return encoder.variant.frames
    _, rows, cols = encoder.grid
    frames, rest = divmod(table.shape[1] - 1, rows * cols)
    dim = encoder.variant.embed_dim
    if table.ndim != 3 or table.shape[-1] != dim or rest or frames < 1:
        raise ZooError(
            f"{path}: position table {tuple(table.shape)} is not that of a model {dim} wide with {rows} x {cols} "
            "patches a frame; choose the model.encoder that the file was made for"
        )
    if not torch.allclose(table.float(), position_table(dim, frames, rows, cols), atol=1e-4):
        raise ZooError(f"{path}: its position table is not the fixed one of Prithvi-EO-2.0; it is another model")
    return frames
