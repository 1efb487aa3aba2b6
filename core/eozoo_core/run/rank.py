"""Which process of a job this is, before any framework is imported."""

from __future__ import annotations

import os

# Fabric's launcher sets LOCAL_RANK and NODE_RANK, torchrun RANK and GROUP_RANK, SLURM SLURM_PROCID.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_first_process() -> bool:
    """Whether this is the process that writes and talks: the only one, or rank 0 of the job."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
