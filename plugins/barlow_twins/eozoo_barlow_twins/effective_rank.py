"""How many dimensions an embedding really uses, and whether it has collapsed."""

from __future__ import annotations

import math

import numpy as np

EPS = 1e-7


def effective_rank(embedding: np.ndarray) -> dict[str, float]:
    """Two effective ranks of ``embedding (N, D)``, without centring.

    ``rankme``: exp of the entropy of the normalised singular values, 1..min(N, D) (Garrido et al. 2023, "RankMe",
    equation 1). ``effective_rank``: that entropy divided by log(min(N, D)), 0..1 (the documented variant).
    """
    values = np.asarray(embedding, np.float64)
    shares = np.linalg.svd(values, compute_uv=False)
    shares = shares / (shares.sum() + EPS) + EPS
    entropy = float(-(shares * np.log(shares)).sum())
    return {"rankme": math.exp(entropy), "effective_rank": entropy / math.log(max(2, min(values.shape)))}


def collapse_line(rankme: float, std: float, dimensions: int) -> str | None:
    """One line where the embedding has collapsed, else None.

    Collapsed: RankMe below 1 + 3 % of the dimensions, or a mean standard deviation below 1e-4. Healthy encoders here
    have a RankMe of a fifth of the dimensions and more, and deviations of 0.1 and more.
    """
    if rankme >= 1 + 0.03 * dimensions and std >= 1e-4:
        return None
    return (
        f"collapse: the {dimensions} embedding dimensions carry {rankme:.1f} (RankMe), mean deviation {std:.2g}; "
        "lower train.learning_rate, raise train.batch_size or lambda_offdiag, or check that the data vary"
    )
