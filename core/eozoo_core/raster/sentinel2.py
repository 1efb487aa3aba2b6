"""Sentinel-2's digital numbers: what they mean, and how the processing baseline shifts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

QUANTIFICATION = 10_000.0
OFFSET = -1000.0  # BOA_ADD_OFFSET of processing baselines from 04.00 on (25 January 2022)
_UNTOLD = 9000  # baselines from 90.00 on are reprocessed products: with or without the offset


def offset_of(file: Path, tags: Mapping[str, str]) -> float | None:
    """Return what is added to the digital numbers of a file; None where nothing tells it.

    By the processing baseline in the tags of the file (PROCESSING_BASELINE), or as _N0400_ in its name or its folders.
    A wrong guess would shift every reflectance by 0.1: ask the user instead.
    """
    baseline = tags.get("PROCESSING_BASELINE", "")
    if not baseline:
        found = re.findall(r"_N(\d{4})_", "_".join([*file.resolve().parts, ""]))
        baseline = found[-1] if found else ""
    digits = re.sub(r"\D", "", baseline).ljust(4, "0")
    if not baseline or int(digits) >= _UNTOLD:
        return None
    return OFFSET if int(digits) >= 400 else 0.0


def reflectance(numbers: np.ndarray, offset: float) -> np.ndarray:
    """Digital numbers to surface reflectance, (DN + offset) / 10000, not clipped; DN 0 is no data."""
    return np.where(numbers == 0, np.nan, (numbers + offset) / QUANTIFICATION).astype(np.float32)
