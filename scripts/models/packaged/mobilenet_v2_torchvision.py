"""MobileNetV2 as torchvision has it, the same architecture as `mobilenet_v2`, from the package that most users have.

Architecture: torchvision.models.mobilenet_v2 (https://docs.pytorch.org/vision/stable/models/mobilenetv2.html).
Input: float32 (1, 3, 224, 224). Output: float32 (1, 1000). The weights are seeded, those of convolutions with
kaiming_normal_ by fan in, the statistics of batch norms near 0 and 1: by fan out, activations vanish in the depthwise
ones, and the output hardly depends on the input. torchvision fits one torch release each, so no version is asked for:
the lock has it.
"""

from __future__ import annotations

import torch
import torchvision

PACKAGES = ("torchvision",)
PARAMETERS = 3_504_872


def model() -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    made: torch.nn.Module = torchvision.models.mobilenet_v2(weights=None)
    for layer in made.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(layer.weight, generator=generator)
        elif isinstance(layer, torch.nn.BatchNorm2d):
            for values, middle in ((layer.weight, 1), (layer.bias, 0), (layer.running_mean, 0), (layer.running_var, 1)):
                torch.nn.init.uniform_(values, middle - 1 / 8, middle + 1 / 8, generator=generator)
    return made


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1)),)
