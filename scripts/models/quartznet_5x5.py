"""QuartzNet 5x5, speech to 29 characters: five blocks of five separable one-dimensional convolutions.

Architecture: Kriman et al., "QuartzNet: Deep Automatic Speech Recognition with 1D Time-Channel Separable
Convolutions" (2019), with the layer sizes of NVIDIA/NeMo `quartznet_5x5`. The masks for padded batches are left out.
Input: float32 (1, 64, 256), a mel spectrogram of 2.6 s. Output: float32 (1, 128, 29), log probabilities of order 1.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 6_713_181

BLOCKS = ((256, 33), (256, 39), (512, 51), (512, 63), (512, 75))
"""Channels and kernel."""
REPEAT = 5


def separable(channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.Conv1d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv1d(channels, out, 1, bias=False),
        nn.BatchNorm1d(out, eps=0.001),
    ]


class Block(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        layers = separable(channels, out, kernel)
        for _ in range(REPEAT - 1):
            layers += [nn.ReLU(), *separable(out, out, kernel)]
        self.layers = nn.Sequential(*layers)
        self.residual = nn.Sequential(nn.Conv1d(channels, out, 1, bias=False), nn.BatchNorm1d(out, eps=0.001))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layers(x) + self.residual(x))


class QuartzNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*separable(64, 256, 33, stride=2), nn.ReLU()]
        channels = 256
        for out, kernel in BLOCKS:
            layers.append(Block(channels, out, kernel))
            channels = out
        layers += [*separable(channels, 512, 87, dilation=2), nn.ReLU()]
        layers += [nn.Conv1d(512, 1024, 1, bias=False), nn.BatchNorm1d(1024, eps=0.001), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.decoder = nn.Conv1d(1024, 29, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.decoder(self.encoder(x)).transpose(1, 2), -1)


def seed_weights(module: nn.Module) -> None:
    """Keeps activations alive: torch's own start lets them vanish, and then any output would equal the reference.

    Weights are He et al.'s (variance 2 / fan in, as `kaiming_normal_`; 1 / fan in for a depthwise convolution, which no
    ReLU follows), statistics of batch norms near 0 and 1.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv1d):
                drawn = torch.randn(part.weight.shape, generator=generator)
                gain = 2 if part.groups == 1 else 1
                part.weight.copy_(drawn * math.sqrt(gain / part.weight[0].numel()))
                if part.bias is not None:
                    part.bias.copy_(torch.randn(part.bias.shape, generator=generator) / 8)
            elif isinstance(part, nn.BatchNorm1d):
                for values, middle in ((part.weight, 1), (part.bias, 0), (part.running_mean, 0), (part.running_var, 1)):
                    values.copy_(middle + torch.rand(values.shape, generator=generator) / 4 - 1 / 8)


def model() -> nn.Module:
    network = QuartzNet()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 64, 256, generator=torch.Generator().manual_seed(1)),)
