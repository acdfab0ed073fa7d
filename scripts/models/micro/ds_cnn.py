"""DS-CNN, keyword spotting: a convolution and four separable ones, of a second of speech to twelve words.

Architecture: the keyword-spotting reference of MLPerf Tiny (https://github.com/mlcommons/tiny, DS-CNN of Zhang et al.,
"Hello Edge: Keyword Spotting on Microcontrollers", 2017): 64 channels, batch norm, average pooling, one linear layer.
TensorFlow's padding `same` of the first convolution is written out. Its softmax is left out: outputs are of order 1.
Input: float32 (1, 1, 49, 10), ten coefficients of 49 frames. Output: float32 (1, 12), logits. Weights, statistics and
input are seeded.
"""

from __future__ import annotations

import torch
from torch import nn

PARAMETERS = 23_756

CHANNELS, WORDS, BLOCKS = 64, 12, 4


class DsCnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ZeroPad2d((1, 1, 4, 5)), nn.Conv2d(1, CHANNELS, (10, 4), stride=2)]
        layers += [nn.BatchNorm2d(CHANNELS), nn.ReLU()]
        for _ in range(BLOCKS):
            layers += [
                nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
                nn.BatchNorm2d(CHANNELS),
                nn.ReLU(),
            ]
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 1), nn.BatchNorm2d(CHANNELS), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.AvgPool2d((25, 5)), nn.Flatten())
        self.words = nn.Linear(CHANNELS, WORDS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.words(self.layers(x))


def model() -> torch.nn.Module:
    """Weights that keep the variance of activations: 2 over the number of summed products."""
    generator = torch.Generator().manual_seed(0)
    net = DsCnn().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                part.weight.copy_(
                    torch.randn(part.weight.shape, generator=generator) * (2 / part.weight[0].numel()) ** 0.5
                )
                part.bias.copy_(torch.randn(part.bias.shape, generator=generator) / 8)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.copy_(torch.randn(CHANNELS, generator=generator) / 8)
                part.running_var.copy_(0.5 + torch.rand(CHANNELS, generator=generator))
    return net


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 1, 49, 10, generator=torch.Generator().manual_seed(1)),)
