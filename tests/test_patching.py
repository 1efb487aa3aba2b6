"""Patch embedding equals the convolution that it stands for, also where torch's own is wrong."""

import pytest
import torch
from eozoo_core.layers import embed_patches


@pytest.mark.parametrize("shape", [(2, 6, 32, 48), (1, 3, 35, 17), (2, 16, 16, 16)])
@pytest.mark.parametrize("side", [4, 8, 16])
def test_it_is_the_convolution(shape, side):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(24, shape[1], side, side), torch.randn(24)
    expected = torch.nn.functional.conv2d(x.double(), weight.double(), bias.double(), stride=side)
    tokens = embed_patches(x, weight, bias)
    torch.testing.assert_close(tokens, expected.flatten(2).transpose(1, 2).float(), rtol=1e-4, atol=1e-4)
    # 16 channels in squares of 8, and 6 in squares of 16: in bfloat16 torch's convolution is wrong on some CPUs.
    coarse = embed_patches(x.bfloat16(), weight.bfloat16(), bias.bfloat16()).float()
    assert float((coarse - tokens).abs().mean() / tokens.abs().mean()) < 0.01
