"""One linear layer, y = x W^T + b: the smallest model that exercises a matmul and constants.

Architecture: torch.nn.Linear (https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html).
Input: float32 (4, 64). Output: float32 (4, 32), of order 1. Weights and input are seeded; the weights have variance
1/64, so that 64 summed products keep the variance of the input.
"""

from __future__ import annotations

import torch

PARAMETERS = 64 * 32 + 32


def model() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(32, 64, generator=generator) / 8)
        linear.bias.copy_(torch.randn(32, generator=generator) / 8)
    return linear


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(4, 64, generator=torch.Generator().manual_seed(1)),)
