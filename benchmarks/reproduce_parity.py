"""The encoders of the zoo against outputs of the published implementations: the largest relative difference of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from eozoo_clay_ta.clay import SIZES, ClayEncoder, ClaySize
from eozoo_pretrained import galileo
from eozoo_pretrained.presto_columns import presto
from eozoo_prithvi_refine.encoder import PrithviEncoder
from eozoo_prithvi_refine.variants import Variant

_CLAY = ("pixels", "time", "latlon", "gsd", "waves")
# Of Galileo's reference arrays: their groups, and where their axes go.
_GALILEO = {
    "space_time": (galileo.SPACE_TIME, (0, 3, 4, 1, 2)),
    "space": (galileo.SPACE, (0, 3, 1, 2)),
    "time": (galileo.TIME, (0, 1, 2)),
    "static": (galileo.STATIC, (0, 1)),
}


def parity(references: Path, weights: Path) -> list[dict[str, Any]]:
    """Return a row for each encoder: its name, what was compared, and the largest |ours - theirs| / |theirs| (L2)."""
    with torch.no_grad():
        rows = [_clay_tiny(references), *_clay_large(references), _prithvi(references)]
        rows += [_presto(references, weights), _galileo(references, weights)]
    return [{"encoder": name, "compared": compared, "difference": found} for name, compared, found in rows]


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return |found - wanted| / |wanted|, Euclidean norms over all values."""
    return float((found - wanted).norm() / wanted.norm())


def _arrays(file: Path) -> dict[str, torch.Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _clay_tiny(folder: Path) -> tuple[str, str, float]:
    known, encoder = _arrays(folder / "clay_tiny.npz"), ClayEncoder(ClaySize(64, 2, 4, 16)).eval()
    encoder.load_state_dict(torch.load(folder / "clay_tiny_state.pt", weights_only=True), strict=True)
    tags = ("s8", "s16", "s24", "s64", "s2_32")
    found = [relative(encoder(*(known[f"{tag}_{n}"] for n in _CLAY)), known[f"{tag}_out"]) for tag in tags]
    return "Clay v1.5, small", "5 windows of 8 to 64 px, random weights", max(found)


def _clay_large(folder: Path) -> list[tuple[str, str, float]]:
    """None where this torch draws other random numbers than the reference did."""
    torch.manual_seed(1234)
    encoder, known = ClayEncoder(SIZES["clay_v1_5_large"]).eval(), _arrays(folder / "clay_large.npz")
    sums, state = _arrays(folder / "clay_large_param_sums.npz"), encoder.state_dict()
    if any(abs(float(state[k].double().sum()) - float(v[0])) > 1e-6 * max(float(v[1]), 1) for k, v in sums.items()):
        return []
    found = [relative(encoder(*(known[f"{tag}_{n}"] for n in _CLAY)), known[f"{tag}_out"]) for tag in ("s8", "s24")]
    return [("Clay v1.5, large (311 M)", "windows of 8 and 24 px, random weights", max(found))]


def _prithvi(folder: Path) -> tuple[str, str, float]:
    known, encoder = _arrays(folder / "prithvi_tiny.npz"), PrithviEncoder(Variant(64, 2, 4, patch=14, image=112)).eval()
    encoder.load_state_dict(torch.load(folder / "prithvi_tiny_state.pt", weights_only=True)["A"], strict=True)
    sizes = ("112", "120", "140", "224")
    found = [relative(encoder(known[f"A_x{size}"]), known[f"A_y{size}_layer1"]) for size in sizes]
    return "Prithvi-EO-2.0, small", "images of 112, 120, 140 and 224 px, random weights", max(found)


def _presto(folder: Path, weights: Path) -> tuple[str, str, float]:
    known = _arrays(folder / "presto_reference.npz")
    encoder = presto(pretrained=weights / "presto_default_model.pt").eval().encoder
    month, found = (known["month"][:, None] + torch.arange(12)) % 12, []
    for name in ("nomask", "mask"):
        missing = known["mask"].bool() & (name == "mask")
        ours = encoder(known["x"], known["dynamic_world"], known["latlons"], month, missing)
        found.append(relative(ours, known[f"embedding_{name}"]))
    return "Presto", "6 years of months, without and with masks, published weights", max(found)


def _galileo(folder: Path, weights: Path) -> tuple[str, str, float]:
    known, found = _arrays(folder / "galileo_nano_reference.npz"), []
    for side in (1, 4, 8):
        encoder = galileo.Encoder(side).eval()
        encoder.load_state_dict(_published(weights), strict=True)
        given, hidden = _groups(known, side)
        ours = encoder(given, hidden, known[f"p{side}_months"], 10.0).flatten(1, 2)
        found.append(relative(ours, known[f"p{side}_per_patch"]))
    return "Galileo nano", "patches of 1, 4 and 8 px, groups and a month absent, published weights", max(found)


def _published(weights: Path) -> dict[str, torch.Tensor]:
    return torch.load(weights / "galileo_nano_encoder.pt", map_location="cpu", weights_only=True)  # saved from a GPU


def _groups(known: dict[str, torch.Tensor], side: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Values and masks of the reference by group, masks of pixels as masks of patches."""
    given, hidden = {}, {}
    for kind, (groups, axes) in _GALILEO.items():
        values, masks = (known[f"p{side}_{name}"].permute(axes) for name in (kind, f"{kind}_mask"))
        channel, start = axes.index(len(axes) - 1), 0
        for number, (group, bands) in enumerate(groups.items()):
            given[group] = values.narrow(channel, start, len(bands))
            mask = masks.select(channel, number) > 0
            hidden[group] = mask[..., ::side, ::side] if "space" in kind else mask
            start += len(bands)
    return given, hidden
