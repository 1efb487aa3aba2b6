"""A shuffle of any size in no memory: a keyed permutation that is computed, not stored.

Element k of a permutation of 0..n-1 is found by a Feistel network on the next larger power of two; values
that fall outside 0..n-1 are sent through again ("cycle walking"), which keeps it one-to-one (Black and Rogaway 2002,
"Ciphers with arbitrary finite domains", section 3). So an epoch over a billion pixels is well mixed, can start
anywhere, and any process or worker can compute its own part.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 4  # even
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
            key = _mix((key + word * 0x9E3779B9 + 0x7F4A7C15) & _M)
    return key


def _mix(value: int) -> int:
    """`mix32` of one Python integer: an array of one is thirty times slower."""
    value = (value ^ (value >> 16)) * 0x7FEB352D & _M
    value = (value ^ (value >> 15)) * 0x846CA68B & _M
    return value ^ (value >> 16)


def permute(positions: np.ndarray, n: int, key: int) -> np.ndarray:
    """Elements ``positions`` (int64, 0..n-1) of the permutation of 0..n-1 that ``key`` names, int64."""
    bits = max(2, (n - 1).bit_length())
    keys = [np.uint32(key32(key, r)) for r in range(_ROUNDS)]
    values = np.asarray(positions, np.int64)
    todo = np.arange(values.size)
    values = _feistel(values, bits, keys)
    while (outside := values[todo] >= n).any():
        todo = todo[outside]
        values[todo] = _feistel(values[todo], bits, keys)
    return values


def _feistel(values: np.ndarray, bits: int, keys: list[np.uint32]) -> np.ndarray:
    """One pass: the lower half is kept and its scrambled image added to the upper one, then they change places.

    With an odd number of bits the halves differ by one; after an even number of rounds each is where it began.
    """
    low, high = bits // 2, bits - bits // 2
    for key in keys:
        right = values & ((1 << low) - 1)
        scrambled = mix32(right.astype(np.uint32) ^ key).astype(np.int64) & ((1 << high) - 1)
        values = (right << high) | ((values >> low) ^ scrambled)
        low, high = high, low
    return values
