"""Counting a network's parameters without giving them memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def count_parameters(build: Callable[[], torch.nn.Module]) -> int:
    """Return the number of parameters of what ``build()`` returns, trained and frozen ones, buffers not.

    It is built on torch's meta device: shapes without numbers, so 600 million cost nothing. A network that looks at
    its values while it is built cannot be; it is built with them.
    """
    import torch

    try:
        with torch.device("meta"):
            return sum(p.numel() for p in build().parameters())
    except (NotImplementedError, RuntimeError):
        return sum(p.numel() for p in build().parameters())
