"""False colours of embeddings: three principal components, the same for every tile of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from eozoo_core import ZooError
from eozoo_core.run.parsed import read_json, unreadable
from eozoo_core.run.written import write_text
from eozoo_core.task import Fitted
from pydantic import Field

COLOURS = "false_colour.json"
SPREAD = 2.5  # standard deviations from the middle grey to the end of the scale


class Colours(Fitted):
    """Three principal components of embeddings of D dimensions; what a run fits after training. Empty = not fitted."""

    mean: tuple[float, ...] = Field((), description="Mean embedding (D), grey in the middle.")
    components: tuple[tuple[float, ...], ...] = Field((), description="Three directions (D) of unit length.")
    std: tuple[float, ...] = Field((), description="Standard deviation of the embeddings along each.")

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Colours ``(..., 3)`` float32 1..255 of embeddings ``(..., D)``; NaN stays NaN."""
        scores = (embedding.astype(np.float64) - np.array(self.mean)) @ np.array(self.components).T
        unit = 0.5 + scores / (2 * SPREAD * np.maximum(self.std, 1e-12))
        return (1 + np.rint(np.clip(unit, 0, 1) * 254)).astype(np.float32)


def fit_colours(embedding: np.ndarray) -> Colours:
    """Principal components of the rows of ``embedding (n, D)`` that are not NaN.

    The sign of each is such that its largest weight is positive. Raises ZooError for fewer than 4 rows or D < 3.
    """
    valid = embedding[np.isfinite(embedding).all(axis=1)].astype(np.float64)
    if len(valid) < 4 or embedding.shape[1] < 3:
        raise ZooError(
            f"false colours need 4 valid pixels and 3 dimensions, found {len(valid)} and {embedding.shape[1]}"
        )
    mean = valid.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(valid.T))
    order = np.argsort(values)[::-1][:3]
    components = vectors[:, order].T
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(3), largest])[:, None]
    std = np.sqrt(np.maximum(values[order], 0))
    return Colours(mean=mean.tolist(), components=components.tolist(), std=std.tolist())


def save_colours(file: Path, colours: Colours) -> Path:
    """Write them as JSON."""
    return write_text(file, json.dumps(colours.model_dump(include={"mean", "components", "std"})))


def load_colours(source: Path, dimensions: int) -> Colours:
    """Read those of a run directory, or of a false_colour.json beside maps.

    Raises ZooError where they are missing, damaged, or of another embedding size.
    """
    remedy = "training fits them at its end"
    content = read_json(source / "run.json" if source.is_dir() else source, "false colours", remedy)
    try:
        colours = Colours.model_validate(content["fitted"] if source.is_dir() else content)
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(source, "false colours", error, remedy) from None
    if len(colours.mean) != dimensions:
        raise ZooError(f"{source}: is for {len(colours.mean)} dimensions, the embedding has {dimensions}")
    return colours
