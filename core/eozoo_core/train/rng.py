"""Random number generators into a checkpoint and back: torch, CUDA, numpy and Python, one set per process."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def generator_states() -> dict[str, Any]:
    """Return the states of this process's global generators, as tensors and plain types."""
    import numpy as np
    import torch

    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - third-party code may draw from it
    version, words, own_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        # Of the device of this process, where it has used one: asking another would take its memory.
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
        "numpy": [kind, torch.from_numpy(keys.astype("int64")), position, has_gauss, gauss],
        "python": [version, torch.tensor(words), own_gauss],  # 625 numbers one by one are a third of a small load
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Set this process's global generators to what ``generator_states`` returned."""
    import numpy as np
    import torch

    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"].cpu())
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype("uint32"), *rest))  # noqa: NPY002
    version, words, gauss = states["python"]
    words = words.tolist() if isinstance(words, torch.Tensor) else words  # older runs
    random.setstate((version, tuple(words), gauss))


@contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the global generators as they were, whatever happens inside.

    Libraries may draw from them when they are imported (rich does), and validation may, for its own reasons: training
    must not learn from how often that happens.
    """
    before = generator_states()
    try:
        yield
    finally:
        set_generator_states(before)


def seed_process(seed: int, rank: int) -> None:
    """Give every process its own dropout and augmentation; torch's first keeps the state that initialisation left."""
    import numpy as np
    import torch

    own = seed + 7919 * rank
    random.seed(own)
    np.random.seed(own % 2**32)  # noqa: NPY002 - third-party code may draw from it
    if rank:
        torch.manual_seed(own)
