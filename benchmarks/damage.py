"""Damage to a file, the same for the same seed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path


def _flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _flip_head(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 4))):
        data[draw.randrange(min(len(data), 512))] ^= 1 << draw.randrange(8)


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _cut_little(data: bytearray, draw: random.Random) -> None:
    del data[-draw.randrange(1, 1 + min(len(data), 64)) :]


def _zero(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    stop = min(len(data), start + draw.choice((1, 8, 64, 4096)))
    data[start:stop] = bytes(stop - start)


def _ones(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    stop = min(len(data), start + draw.choice((1, 2, 4, 8)))
    data[start:stop] = b"\xff" * (stop - start)


def _swap(data: bytearray, draw: random.Random) -> None:
    size = max(1, min(draw.choice((1, 4, 16, 256)), len(data) // 2))
    a, b = draw.randrange(len(data) - size + 1), draw.randrange(len(data) - size + 1)
    one, two = bytes(data[a : a + size]), bytes(data[b : b + size])
    data[a : a + size], data[b : b + size] = two, one


def _insert(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = draw.choice((b"\0", b"9" * 10_000, b"[" * 5000, b'{"a":' * 5000, b"\r\n", b"1e999", b"-"))


def _repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice((1, 16, 256, 4096))]


def _grow(data: bytearray, draw: random.Random) -> None:
    data += draw.randbytes(draw.choice((1, 7, 512)))


def _noise(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    stop = min(len(data), start + draw.choice((4, 32, 512)))
    data[start:stop] = draw.randbytes(stop - start)


_WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip, _flip_head, _cut, _cut_little, _zero, _ones, _swap, _insert, _repeat, _grow, _noise,
)  # fmt: skip


def damage(file: Path, whole: bytes, seed: int, others: list[bytes]) -> str:
    """Write ``whole`` to ``file`` damaged and return how. Seeds 0 to 2: empty, a folder, gone; 3 on: another format."""
    if file.is_dir():
        shutil.rmtree(file)
    file.unlink(missing_ok=True)
    if seed == 0:
        file.write_bytes(b"")
        return "empty"
    if seed == 1:
        file.mkdir()
        return "a folder"
    if seed == 2:
        return "gone"
    if seed - 3 < len(others):
        file.write_bytes(others[seed - 3])
        return "another format"
    draw = random.Random(seed)
    way, data = draw.choice(_WAYS), bytearray(whole)
    way(data, draw)
    file.write_bytes(bytes(data))
    return way.__name__.strip("_")
