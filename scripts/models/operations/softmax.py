"""Softmax over the last of two dimensions: `fmaf` for the exponentials, and the larger of two numbers (`fmaxf`).

Operation: torch.nn.Softmax (https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html).
Input: float32 (4, 64), standard normal, seeded. Output: float32 (4, 64), each row of sum 1.
"""

from __future__ import annotations

import torch

PARAMETERS = 0


def model() -> torch.nn.Module:
    return torch.nn.Softmax(dim=-1)


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(4, 64, generator=torch.Generator().manual_seed(1)),)
