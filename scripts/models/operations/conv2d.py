"""A 3 x 3 convolution without padding, a bias, then relu6: what a vision model is made of.

Architecture: torch.nn.Conv2d (https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html), torch.nn.ReLU6.
Input: float32 (1, 3, 18, 18). Output: float32 (1, 8, 16, 16), 0 to 6. Weights and input are seeded; the weights have
variance 1/27, so that 27 summed products keep the variance of the input.
"""

from __future__ import annotations

import torch

PARAMETERS = 8 * 3 * 9 + 8


def model() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    conv = torch.nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(8, 3, 3, 3, generator=generator) / 27**0.5)
        conv.bias.copy_(torch.randn(8, generator=generator))
    return torch.nn.Sequential(conv, torch.nn.ReLU6())


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 3, 18, 18, generator=torch.Generator().manual_seed(1)),)
