"""What training changes at random in a window of an image, each time the same for a seed, an epoch and a draw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eozoo_core.images.settings import AugmentSettings

Arrays = dict[str, np.ndarray]


def turned(
    arrays: Sequence[np.ndarray | None], how: AugmentSettings, random: np.random.Generator
) -> list[np.ndarray | None]:
    """Flip and turn square arrays (C, H, W) alike, where ``how.turns`` says so; None stays."""
    quarters, flip = (random.integers(4), random.integers(2)) if how.turns else (0, 0)

    def turn(array: np.ndarray) -> np.ndarray:
        part = np.rot90(array, quarters, axes=(1, 2))
        return np.ascontiguousarray(part[:, :, ::-1] if flip else part)

    return [None if array is None else turn(array) for array in arrays]


def disturbed(arrays: Arrays, how: AugmentSettings, random: np.random.Generator) -> Arrays:
    """Return the arrays of a sample with bands of "image" (C, H, W) taken away (NaN) and, where asked for, a "jitter".

    The jitter, (C, 1, 1) or (C, H, W), is in standard deviations of each band: the system adds it to standardised
    bands, where they are not missing. One band always stays.
    """
    image = arrays["image"]
    channels = len(image)
    if how.drop_bands:
        dropped = random.random(channels) < how.drop_bands
        dropped[random.integers(channels)] = False
        arrays = arrays | {"image": np.where(dropped[:, None, None], np.float32(np.nan), image)}
    jitter = np.zeros((channels, 1, 1), np.float32)
    if how.brightness:
        jitter = random.normal(0, how.brightness, jitter.shape).astype(np.float32)
    if how.noise:
        jitter = jitter + random.normal(0, how.noise, image.shape).astype(np.float32)
    return arrays | {"jitter": jitter} if how.brightness or how.noise else arrays
