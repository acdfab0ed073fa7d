"""MobileNetV2 1.0, 224 x 224, 1000 classes: inverted residuals with depthwise convolutions.

Architecture: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), with the layer sizes of
pytorch/vision `mobilenet_v2`. Input: float32 (1, 3, 224, 224). Output: float32 (1, 1000), of order 1.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 3_504_872

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first block."""


def convolution(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) // 2
    return [nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out)]


class InvertedResidual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        wide = [*convolution(channels, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        deep = [*convolution(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6()]
        self.layers = nn.Sequential(*wide, *deep, *convolution(hidden, out, 1))
        self.residual = stride == 1 and channels == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [*convolution(3, 32, 3, 2), nn.ReLU6()]
        channels = 32
        for expansion, out, count, stride in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(channels, out, stride if index == 0 else 1, expansion))
                channels = out
        self.features = nn.Sequential(*blocks, *convolution(channels, 1280, 1), nn.ReLU6())
        self.classifier = nn.Linear(1280, 1000)

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
    network = MobileNetV2()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)),)
