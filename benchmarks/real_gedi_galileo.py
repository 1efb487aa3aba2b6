"""Frozen features of Galileo nano at the shots of a Nicaragua tile, as docs/real_data_gedi_17.md says."""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from benchmarks.real_gedi_tiles import MASK_BAND, ROOT

_S2 = {"B2": 1, "B3": 2, "B4": 3, "B5": 4, "B6": 5, "B7": 6, "B8": 7, "B8A": 8, "B11": 10, "B12": 11}
_OTHER = {"VV": (20, "dB"), "VH": (21, "dB"), "NDVI": (12, "1"), "elevation": (26, "m"), "slope": (27, "degree")}
BANDS = tuple((name, "reflectance") for name in _S2) + tuple((name, unit) for name, (_, unit) in _OTHER.items())
FILE = f"{os.environ.get('EOZOO_WEIGHTS', ROOT.parent / 'shared' / 'weights')}/galileo_nano_encoder.pt"
INDICES = (*_S2.values(), *(index for index, _ in _OTHER.values()))


@cache
def network(weights: str, month: int):
    """The encoder as a network for maps: 4 px patches in squares of 12 px. weights: "published" or "random"."""
    import torch
    from eozoo_pretrained.galileo_dense import galileo_nano

    torch.manual_seed(0)
    file = FILE if weights == "published" else None
    return galileo_nano(len(BANDS), 1, BANDS, patch=4, window=3, margin=0, width=0, month=month, pretrained=file).eval()


def features(image: np.ndarray, labelled: np.ndarray, kind: str) -> np.ndarray:
    """The mean token (n, 128) of the patch of every labelled pixel.

    image: (28, H, W) of a tile's file. kind: "galileo" (June), "january", or "random" weights (June).
    """
    import torch

    values, missing = image[list(INDICES)], np.broadcast_to(image[MASK_BAND] == 0, (len(INDICES), *image.shape[1:]))
    around = ((0, 0), (4, 4), (4, 4))  # what lies outside of the tile is missing
    values, missing = np.pad(values, around), np.pad(missing, around, constant_values=True)
    corners = [(row // 4 * 4, column // 4 * 4) for row, column in np.argwhere(labelled)]
    cut = [torch.from_numpy(np.stack([a[:, r : r + 12, c : c + 12] for r, c in corners])) for a in (values, missing)]
    encoder = network("random" if kind == "random" else "published", 1 if kind == "january" else 6)
    with torch.no_grad():
        found = encoder.features(torch.where(cut[1], 0.0, cut[0]), cut[1].float())
    return found[:, :, 1, 1].numpy()
