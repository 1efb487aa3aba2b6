"""Sine and cosine tables that tell the encoder where, when and at which place a patch is."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def sincos_1d(dim: int, positions: torch.Tensor) -> torch.Tensor:
    """Encode ``positions (M,)`` as ``(M, dim)``: sines of rising wavelength, then their cosines.

    Wavelengths are those of Vaswani et al. 2017 (Attention is all you need): 2 pi 10000^(2i/dim), i = 0 .. dim/2 - 1.
    Computed in the positions' dtype; give float64 for a table.
    """
    steps = torch.arange(dim // 2, dtype=positions.dtype, device=positions.device) / (dim / 2)
    angles = positions.reshape(-1)[:, None] * (1.0 / 10000**steps)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def position_table(dim: int, frames: int, rows: int, cols: int) -> torch.Tensor:
    """Return the fixed table ``(1, 1 + frames * rows * cols, dim)`` float32; the first row, of CLS, is zero.

    6/16 of the width say the column, 6/16 the row and 4/16 the frame, in this order. ``dim`` must divide by 16.
    """
    across, along = dim // 16 * 6, dim // 16 * 4
    t, r, c = (torch.arange(n, dtype=torch.float64) for n in (frames, rows, cols))
    col = sincos_1d(across, c).repeat(frames * rows, 1)
    row = sincos_1d(across, r).repeat_interleave(cols, 0).repeat(frames, 1)
    frame = sincos_1d(along, t).repeat_interleave(rows * cols, 0)
    table = torch.cat([col, row, frame], dim=1).float()
    return torch.cat([torch.zeros(1, dim), table])[None]


def resize_table(table: torch.Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> torch.Tensor:
    """Fit a table ``(1, 1 + t * h * w, D)`` of grid ``old`` (t, h, w) to grid ``new``.

    Other rows or columns are interpolated (bicubic, corners aligned, as the published models do); another number of
    frames is computed anew, because frames are counted and not stretched.
    """
    if old == new:
        return table
    dim = table.shape[-1]
    if old[0] != new[0]:
        table = position_table(dim, new[0], *old[1:]).to(table)
    if old[1:] == new[1:]:
        return table
    grid = table[:, 1:].reshape(new[0], *old[1:], dim).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new[1:], mode="bicubic", align_corners=True)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, dim)], dim=1)


class CoordinateEncoder(torch.nn.Module):
    """Encodes a pair of coordinates, half of the width each, times a learned scale (0.1 at the start).

    The pair is (year, day of year) for time and (latitude, longitude) in degrees for location, as raw numbers.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim
        self.scale = torch.nn.Parameter(torch.full((1,), 0.1))

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        """Map ``pairs (B, N, 2)`` to ``(B, N, dim)``; a pair with NaN, which is not known, to zeros."""
        known = torch.isfinite(pairs).all(dim=-1, keepdim=True)
        pairs = torch.where(known, pairs.float(), 0.0)
        halves = [
            sincos_1d(width, pairs[..., i]).reshape(*pairs.shape[:2], width)
            for i, width in enumerate((self.dim // 2, self.dim - self.dim // 2))
        ]
        return torch.where(known, self.scale * torch.cat(halves, dim=-1), 0.0)
