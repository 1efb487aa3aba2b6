"""Fixtures of the plugin's tests. The reference outputs lie beside the clone, not in it."""

from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def parity():
    """The folder of reference outputs, found by its place relative to the repository (or a worktree of it)."""
    for parent in Path(__file__).resolve().parents[3:7]:
        if (parent / "shared" / "parity").is_dir():
            return parent / "shared" / "parity"
    pytest.skip("no ../shared/parity beside the repository: the reference outputs are not on this machine")


@pytest.fixture(scope="session")
def tiny_reference(parity):
    """(state dict, arrays) of the small reference encoder."""
    arrays = np.load(parity / "clay_tiny.npz", allow_pickle=False)
    return torch.load(parity / "clay_tiny_state.pt", weights_only=True), {k: torch.as_tensor(arrays[k]) for k in arrays}
