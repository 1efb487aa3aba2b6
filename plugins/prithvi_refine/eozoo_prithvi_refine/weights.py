"""Published Prithvi weights into our encoder: which tensors are taken, which are left, and nothing silently missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from eozoo_core import ZooError
from eozoo_core.run.checkpoint import Receipt, load_module, load_weights

from eozoo_prithvi_refine.encoder import PrithviEncoder
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


def load_prithvi(encoder: PrithviEncoder, path: Path) -> PrithviReceipt:
    """Load a published ``.pt`` (masked autoencoder or encoder alone) or safetensors file, every tensor matched.

    ``_timm_module.`` and ``encoder.`` prefixes are taken off; the decoder and, for an encoder without them, the time
    and location encodings are left out. The position table is fixed and computed, not loaded; a table in the file that
    differs from it means another model, and is an error. Raises ZooError with examples for whatever does not match.
    """
    content = load_weights(path)
    for key in ("state_dict", "model_state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ZooError(f"{path}: holds no state dict of tensors")
    state, left_out, table = {}, 0, None
    for key, value in content.items():
        name = key.removeprefix("_timm_module.").removeprefix("encoder.")
        unused = not encoder.variant.coordinates and name.startswith(_COORDINATES)
        if unused or "decoder" in name or "mask_token" in name:
            left_out += 1
        elif name == "pos_embed":
            table = value
        else:
            state[name] = value
    frames = _check_table(encoder, table, path)
    state["pos_embed"] = encoder.pos_embed.detach().clone()
    return PrithviReceipt(load_module(encoder, state, path), left_out, frames)


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
