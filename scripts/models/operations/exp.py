"""The exponential function of 64 numbers: on a CPU without a fused multiply-add it needs `fmaf`.

Operation: torch.exp (https://docs.pytorch.org/docs/stable/generated/torch.exp.html).
Input: float32 (64,), standard normal, seeded. Output: float32 (64,), 0.07 to 10.
"""

from __future__ import annotations

import torch

PARAMETERS = 0


class Exp(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x)


def model() -> torch.nn.Module:
    return Exp()


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(64, generator=torch.Generator().manual_seed(1)),)
