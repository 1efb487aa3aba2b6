"""A shuffle of any size in no memory: a keyed permutation that is computed, not stored.

Element k of a permutation of 0..n-1 is found by a balanced Feistel network on the next larger power of four; values
that fall outside 0..n-1 are sent through again ("cycle walking"), which keeps it one-to-one (Black and Rogaway 2002,
"Ciphers with arbitrary finite domains", section 3). So an epoch over a billion pixels is well mixed, can start
anywhere, and any process or worker can compute its own part.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 6
_M = 0xFFFFFFFF


def mix32(values: np.ndarray) -> np.ndarray:
    """Scramble uint32 ``values`` one-to-one (Wellons 2018, "Prospecting for hash functions", lowbias32)."""
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x7FEB352D)
    values ^= values >> np.uint32(15)
    values *= np.uint32(0x846CA68B)
    values ^= values >> np.uint32(16)
    return values


def key32(*parts: int) -> int:
    """One 32-bit key from integers (seed, epoch, purpose ...)."""
    key = 0x243F6A88
    for part in parts:
        for word in (part & _M, (part >> 32) & _M):
            key = int(mix32(np.array([(key + word * 0x9E3779B9 + 0x7F4A7C15) & _M], np.uint32))[0])
    return key


def permute(positions: np.ndarray, n: int, key: int) -> np.ndarray:
    """Elements ``positions`` (int64, 0..n-1) of the permutation of 0..n-1 that ``key`` names, int64."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = [np.uint32(key32(key, r)) for r in range(_ROUNDS)]
    values = np.asarray(positions, np.int64).copy()
    todo = np.arange(values.size)
    while todo.size:
        values[todo] = _feistel(values[todo], half, keys)
        todo = todo[values[todo] >= n]
    return values


def _feistel(values: np.ndarray, half: int, keys: list[np.uint32]) -> np.ndarray:
    mask = np.int64((1 << half) - 1)
    left, right = values >> half, values & mask
    for key in keys:
        scrambled = mix32(right.astype(np.uint32) ^ key).astype(np.int64) & mask
        left, right = right, left ^ scrambled
    return (left << half) | right
