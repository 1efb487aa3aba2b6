"""3x3 convolutions with a quarter of the multiplications, for training and maps on CPUs: Winograd's F(4x4, 3x3).

A tile of 4 x 4 outputs follows from 6 x 6 inputs by 36 products per pair of channels where the sum over the window
takes 144 (Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", section 4.3). It is the same sum in
another order: in float32 results differ by up to 1e-5 of the largest. Tiles go through matrix products in groups that
stay in the cache. On GPUs, in mixed precision and while a graph is exported torch's own convolution is called.
Gradients of gradients, and torch.func, are refused by torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable

# Of fewer channels or tiles the transforms cost what the products save ('python -m benchmarks training').
LEAST_CHANNELS, LEAST_TILES = 64, 64
_TOGETHER = 256  # tiles of one matrix product and thread
_INPUT = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
_KERNEL = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


class Conv3x3(nn.Conv2d):
    """``nn.Conv2d`` with a 3 x 3 kernel and padding 1; parameters and their names are the same."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        if not pays(x, self.weight):
            return super().forward(x)
        found = _Winograd.apply(x, self.weight)
        return found if self.bias is None else found + self.bias[:, None, None]


def pays(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `Conv3x3` computes ``x`` (B, C, H, W) in tiles: by device, type, layout and shape alone."""
    if type(x) is not torch.Tensor or torch.jit.is_tracing() or torch.compiler.is_compiling():  # a shape, or a graph
        return False
    if x.ndim != 4:  # one image
        return False
    plain = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if not plain or torch.is_autocast_enabled("cpu"):
        return False
    if not (x.is_contiguous() and weight.is_contiguous()):  # channels-last: oneDNN's kernels are as fast
        return False
    rows, cols = -(-x.shape[2] // 4), -(-x.shape[3] // 4)
    filled = 16 * rows * cols <= 1.5 * x.shape[2] * x.shape[3]
    return min(weight.shape[:2]) >= LEAST_CHANNELS and x.shape[0] * rows * cols >= LEAST_TILES and filled


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        outputs = len(weight)
        work, kernel = _Work.of(x, outputs), _of_kernel(weight)
        found = x.new_empty(x.shape[0], outputs, *x.shape[2:])
        for part in work.parts():
            work.convolve(work.tiles(x, part), kernel, found, part)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        x, weight = ctx.saved_tensors
        outputs, inputs = weight.shape[:2]
        gradient = gradient.contiguous()
        work, of_input, back = _Work.of(x, outputs), None, None
        if ctx.needs_input_grad[0]:
            of_input, back = torch.empty_like(x), _of_kernel(weight.flip(2, 3).transpose(0, 1))
        to_tile, from_output = _both_axes(_INPUT), _both_axes(_OUTPUT).T.contiguous()
        of_kernel = x.new_zeros(36, outputs, inputs)
        trained = ctx.needs_input_grad[1]
        for part in work.parts():
            tiles = work.tiles(gradient, part)
            if not trained:
                work.convolve(tiles, back, of_input, part)
                continue
            inner = work.second(16, tiles.shape[1]).view(4, 4, -1).copy_(tiles.view(6, 6, -1)[1:5, 1:5])
            seen = (from_output @ inner.view(16, -1)).view(36, outputs, -1)
            if back is not None:
                work.convolve(tiles, back, of_input, part)
            tiles = work.tiles(x, part)
            given = torch.mm(to_tile, tiles, out=work.second(36, tiles.shape[1])).view(36, inputs, -1)
            of_kernel.baddbmm_(seen, given.transpose(1, 2))
        if not trained:
            return of_input, None
        found = _both_axes(_KERNEL).T @ of_kernel.view(36, -1)
        return of_input, found.T.reshape(outputs, inputs, 3, 3)


class _Part(NamedTuple):
    """Images, and rows of tiles in them."""

    images: slice
    first: int
    end: int


@dataclass
class _Work:
    """Where tiles lie in an image of (height, width), and memory that is used again for every part of a batch."""

    batch: int
    height: int
    width: int
    images: int  # of one part
    rows: int  # of tiles of one part
    places: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, x: torch.Tensor, outputs: int) -> _Work:
        """Plan the parts for ``x`` (B, C, H, W)."""
        batch, inputs, height, width = x.shape
        rows, cols, together = -(-height // 4), -(-width // 4), _TOGETHER * torch.get_num_threads()
        images = max(1, min(batch, together // (rows * cols)))
        rows = max(1, min(rows, together // cols))
        channels = max(inputs, outputs) * images
        sizes = (36 * channels * rows * cols, 36 * channels * rows * cols, channels * 4 * (4 * rows + 2) * (cols + 1))
        return cls(batch, height, width, images, rows, tuple(x.new_empty(size) for size in sizes))

    @property
    def cols(self) -> int:
        """Tiles beside each other."""
        return -(-self.width // 4)

    def parts(self) -> Iterator[_Part]:
        """Yield the parts of a batch."""
        rows = -(-self.height // 4)
        for image in range(0, self.batch, self.images):
            for row in range(0, rows, self.rows):
                yield _Part(slice(image, min(image + self.images, self.batch)), row, min(row + self.rows, rows))

    def second(self, rows: int, columns: int) -> torch.Tensor:
        """Return a matrix in the second place."""
        return self.places[1][: rows * columns].view(rows, columns)

    def tiles(self, x: torch.Tensor, part: _Part) -> torch.Tensor:
        """Return 6 x 6 inputs for every tile of ``part``, 0 outside the image: (36, C * tiles), in the first place."""
        x, cols, rows = x[part.images], self.cols, part.end - part.first
        images, channels = x.shape[:2]
        high, wide = 4 * rows + 2, cols + 1
        top = 4 * part.first - 1
        low, end = max(top, 0), min(top + high, self.height)
        # Every fourth column by itself: then the inputs of neighbouring tiles lie side by side in memory.
        planes = self.places[2][: 4 * images * channels * high * wide].view(4, images, channels, high, wide)
        planes[..., : low - top, :], planes[..., end - top :, :] = 0, 0
        for number, plane in enumerate(planes):
            columns = x[:, :, low:end, (number - 1) % 4 :: 4]
            start, stop = int(number == 0), int(number == 0) + columns.shape[3]
            plane[..., :start], plane[..., stop:] = 0, 0
            plane[:, :, low - top : end - top, start:stop] = columns
        found = self.places[0][: 36 * channels * images * rows * cols]
        taken = found.view(6, 6, channels, images, rows, cols)
        strides = (wide, images * channels * high * wide, high * wide, channels * high * wide, 4 * wide, 1)
        taken[:, :4] = planes.as_strided((6, 4, channels, images, rows, cols), strides, 0)
        taken[:, 4:] = planes.as_strided((6, 2, channels, images, rows, cols), strides, 1)
        return found.view(36, -1)

    def convolve(self, tiles: torch.Tensor, kernel: torch.Tensor, into: torch.Tensor, part: _Part) -> None:
        """Fill the rows of ``part`` in ``into`` (B, outputs, H, W) from ``tiles``, which are lost."""
        _, outputs, inputs = kernel.shape
        given = torch.mm(_both_axes(_INPUT), tiles, out=self.second(36, tiles.shape[1])).view(36, inputs, -1)
        first = self.places[0][: 36 * outputs * given.shape[2]]
        product = torch.bmm(kernel, given, out=first.view(36, outputs, -1)).view(36, -1)
        made = torch.mm(_both_axes(_OUTPUT), product, out=self.second(16, product.shape[1]))
        made = made.view(4, 4, outputs, -1, part.end - part.first, self.cols)
        for row, col in ((row, col) for row in range(4) for col in range(4)):
            pixels = into[part.images, :, 4 * part.first + row : 4 * part.end : 4, col::4]
            pixels.copy_(made[row, col, :, :, : pixels.shape[2], : pixels.shape[3]].transpose(0, 1))


def _of_kernel(weight: torch.Tensor) -> torch.Tensor:
    """Transform (outputs, inputs, 3, 3) -> (36, outputs, inputs)."""
    outputs, inputs = weight.shape[:2]
    return (_both_axes(_KERNEL) @ weight.reshape(outputs * inputs, 9).T).view(36, outputs, inputs)


def _both_axes(matrix: tuple) -> torch.Tensor:
    """Return a transform of rows and columns as one matrix."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).float()
