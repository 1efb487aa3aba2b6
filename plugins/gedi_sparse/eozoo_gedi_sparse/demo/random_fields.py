"""Random fields that the synthetic landscape is made of; numpy only."""

from __future__ import annotations

import numpy as np


def noise(rng: np.random.Generator, shape: tuple[int, int], length: float, slope: float) -> np.ndarray:
    """Gaussian random field (H, W) float32, mean 0 and standard deviation 1.

    Its amplitude spectrum is flat for waves longer than ``length`` px and falls as frequency ** -slope below that:
    large slope = smooth. Made on a larger torus than needed, so that opposite edges are not alike.
    """
    rows, cols = (_fast(n + min(n, 64)) for n in shape)
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None, :])
    amplitude = (1 + (frequency * length) ** 2) ** (-slope / 2)
    amplitude[0, 0] = 0
    white = np.fft.rfft2(rng.standard_normal((rows, cols)))
    field = np.fft.irfft2(white * amplitude, s=(rows, cols))[: shape[0], : shape[1]]
    return ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)


def unit(field: np.ndarray) -> np.ndarray:
    """Ranks of a field, 0..1: the same pattern with every value equally frequent."""
    order = np.empty(field.size, np.float32)
    order[np.argsort(field, axis=None)] = np.linspace(0, 1, field.size, dtype=np.float32)
    return order.reshape(field.shape)


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, 3 t^2 - 2 t^3 between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def flow_distance(valley: np.ndarray) -> np.ndarray:
    """Distance in px from the zero line of a field, to first order: |f| / |grad f|; a river of even width."""
    gradient = np.hypot(*np.gradient(valley))
    return np.abs(valley) / np.maximum(gradient, 0.25 * float(np.median(gradient)))


def cells(rng: np.random.Generator, shape: tuple[int, int], side: float) -> tuple[np.ndarray, np.ndarray]:
    """Field parcels: number of the parcel of each pixel (H, W) int, and 1.0 on parcel borders.

    Rectangles in staggered rows; each district of about 14 x 14 parcels is turned its own way.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    warp = 1.2 * noise(rng, shape, 60, 3.0)
    district = _nearest(rng, y + 6 * warp, x - 6 * warp, shape, 14 * side)
    angle = rng.uniform(0, np.pi, int(district.max()) + 1)[district]
    u = (np.cos(angle) * x + np.sin(angle) * y + warp) / (1.7 * side)
    v = (np.cos(angle) * y - np.sin(angle) * x + warp) / side
    row = np.floor(v).astype(np.int64)
    shift = _hash(row, district) * 0.8
    column = np.floor(u + shift).astype(np.int64)
    key = (district.astype(np.int64) * 4096 + row % 4096) * 4096 + column % 4096
    number = np.unique(key, return_inverse=True)[1].reshape(shape)
    border = (number != np.roll(number, 1, 0)) | (number != np.roll(number, 1, 1))
    return number, border.astype(np.float32)


def _nearest(
    rng: np.random.Generator, y: np.ndarray, x: np.ndarray, shape: tuple[int, int], spacing: float
) -> np.ndarray:
    """Number of the nearest of a few random points, about one per spacing^2."""
    count = max(1, round(shape[0] * shape[1] / spacing**2))
    best, number = np.full(shape, np.inf, np.float32), np.zeros(shape, np.int32)
    for i, (row, col) in enumerate(rng.uniform((0, 0), shape, (count, 2)).astype(np.float32)):
        distance = (y - row) ** 2 + (x - col) ** 2
        closer = distance < best
        best[closer], number[closer] = distance[closer], i
    return number


def _hash(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random number 0..1 for each pair of integers."""
    return np.modf(np.abs(np.sin(a * 12.9898 + b * 78.233) * 43758.5453))[0]


def _fast(n: int) -> int:
    """The next number of 2^a 3^b 5^c: sizes that the FFT is quick at."""
    sizes = (2**a * 3**b * 5**c for a in range(20) for b in range(12) for c in range(9))
    return min(size for size in sizes if size >= n)
