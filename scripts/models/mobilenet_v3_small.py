"""MobileNetV3-small 1.0, 224 x 224, 1000 classes: squeeze and excitation, hard swish.

Architecture: Howard et al., "Searching for MobileNetV3" (2019), with the layer sizes of pytorch/vision
`mobilenet_v3_small`. Input: float32 (1, 3, 224, 224). Output: float32 (1, 1000), of order 1.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 2_542_856

BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
"""Kernel, hidden channels, channels, squeeze and excitation, hard swish (else ReLU), stride."""


def convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) // 2
    return [
        nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=0.001),
    ]


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(8, (channels // 4 + 4) // 8 * 8)  # the nearest multiple of 8
        squeezed += 8 if squeezed < 0.9 * (channels // 4) else 0
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(scale)


class Block(nn.Module):
    def __init__(self, channels: int, row: tuple[int, int, int, bool, bool, int]) -> None:
        super().__init__()
        kernel, hidden, out, squeeze, hard, stride = row
        activation = nn.Hardswish if hard else nn.ReLU
        wide = [*convolution(channels, hidden, 1), activation()] if hidden != channels else []
        deep = [*convolution(hidden, hidden, kernel, stride, groups=hidden), activation()]
        excitation = [SqueezeExcitation(hidden)] if squeeze else []
        self.layers = nn.Sequential(*wide, *deep, *excitation, *convolution(hidden, out, 1))
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV3Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(3, 16, 3, 2), nn.Hardswish()]
        channels = 16
        for row in BLOCKS:
            layers.append(Block(channels, row))
            channels = row[2]
        self.features = nn.Sequential(*layers, *convolution(channels, 576, 1), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(576, 1024), nn.Hardswish(), nn.Linear(1024, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


def seed_weights(module: nn.Module) -> None:
    """Keeps activations alive: torch's own start lets them vanish, and then any output would equal the reference.

    Weights are He et al.'s (variance 2 / fan in, as `kaiming_normal_`), statistics of batch norms near 0 and 1.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                drawn = torch.randn(part.weight.shape, generator=generator)
                part.weight.copy_(drawn * math.sqrt(2 / part.weight[0].numel()))
                if part.bias is not None:
                    part.bias.copy_(torch.randn(part.bias.shape, generator=generator) / 8)
            elif isinstance(part, nn.BatchNorm2d):
                for values, middle in ((part.weight, 1), (part.bias, 0), (part.running_mean, 0), (part.running_var, 1)):
                    values.copy_(middle + torch.rand(values.shape, generator=generator) / 4 - 1 / 8)


def model() -> nn.Module:
    network = MobileNetV3Small()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)),)
