"""YOLOX-nano, 416 x 416, 80 classes: CSPDarknet, a path aggregation network and the decoupled detection head.

Architecture: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (2021), with the layer sizes of
Megvii-BaseDetection/YOLOX `yolox_nano` (depth 0.33, width 0.25, depthwise). Input: float32 (1, 3, 416, 416).
Outputs for each place of three grids: float32 (1, 3549, 4), the box's centre and size in pixels; float32 (1, 3549, 81),
whether there is an object, and the 80 classes. They are two, where the original joins them: probabilities would drown
in the scale of the boxes.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 912_159

SIZE = 416
CLASSES = 80
STRIDES = (8, 16, 32)


class Convolution(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.norm(self.convolution(x)))


def separable(channels: int, out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(Convolution(channels, channels, 3, stride, groups=channels), Convolution(channels, out))


class Bottleneck(nn.Module):
    def __init__(self, channels: int, residual: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(Convolution(channels, channels), separable(channels, channels))
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class CrossStagePartial(nn.Module):
    def __init__(self, channels: int, out: int, count: int, residual: bool) -> None:
        super().__init__()
        self.deep = Convolution(channels, out // 2)
        self.shallow = Convolution(channels, out // 2)
        self.joined = Convolution(out, out)
        self.blocks = nn.Sequential(*(Bottleneck(out // 2, residual) for _ in range(count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.joined(torch.cat((self.blocks(self.deep(x)), self.shallow(x)), 1))


class PyramidPooling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Convolution(channels, channels // 2)
        self.pools = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.joined = Convolution(channels * 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.narrow(x)
        return self.joined(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class Backbone(nn.Module):
    """Features at 1/8, 1/16 and 1/32 of the image's size: 64, 128 and 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(12, 16, 3)
        self.second = nn.Sequential(separable(16, 32, 2), CrossStagePartial(32, 32, 1, True))
        self.third = nn.Sequential(separable(32, 64, 2), CrossStagePartial(64, 64, 3, True))
        self.fourth = nn.Sequential(separable(64, 128, 2), CrossStagePartial(128, 128, 3, True))
        self.fifth = nn.Sequential(separable(128, 256, 2), PyramidPooling(256), CrossStagePartial(256, 256, 1, False))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        quarters = (x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2])
        third = self.third(self.second(self.stem(torch.cat(quarters, 1))))
        fourth = self.fourth(third)
        return third, fourth, self.fifth(fourth)


class Neck(nn.Module):
    """Down the pyramid and up again."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = Convolution(256, 128)
        self.down_middle = CrossStagePartial(256, 128, 1, False)
        self.reduce = Convolution(128, 64)
        self.down_fine = CrossStagePartial(128, 64, 1, False)
        self.up_fine = separable(64, 64, 2)
        self.up_middle = CrossStagePartial(128, 128, 1, False)
        self.up_coarse = separable(128, 128, 2)
        self.coarsest = CrossStagePartial(256, 256, 1, False)

    def forward(
        self, features: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        fine, middle, coarse = features
        lateral = self.lateral(coarse)
        reduced = self.reduce(self.down_middle(torch.cat((twice(lateral), middle), 1)))
        fine = self.down_fine(torch.cat((twice(reduced), fine), 1))
        middle = self.up_middle(torch.cat((self.up_fine(fine), reduced), 1))
        return fine, middle, self.coarsest(torch.cat((self.up_coarse(middle), lateral), 1))


def twice(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Head(nn.Module):
    """The detection head of one grid; finer grids come with fewer channels."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stem = Convolution(8 * stride, 64)
        self.class_layers = nn.Sequential(separable(64, 64), separable(64, 64))
        self.box_layers = nn.Sequential(separable(64, 64), separable(64, 64))
        self.classes = nn.Conv2d(64, CLASSES, 1)
        self.box = nn.Conv2d(64, 4, 1)
        self.object = nn.Conv2d(64, 1, 1)
        self.stride = stride
        side = SIZE // stride
        places = [[float(index % side), float(index // side)] for index in range(side * side)]
        self.register_buffer("places", torch.tensor([places]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        found = self.box_layers(x)
        box = self.box(found).flatten(2).permute(0, 2, 1)
        centres, sizes = (box[..., :2] + self.places) * self.stride, torch.exp(box[..., 2:]) * self.stride
        scores = torch.cat((self.object(found), self.classes(self.class_layers(x))), 1).flatten(2).permute(0, 2, 1)
        return torch.cat((centres, sizes), 2), torch.sigmoid(scores)


class YoloxNano(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = Neck()
        self.heads = nn.ModuleList(Head(stride) for stride in STRIDES)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.neck(self.backbone(x))
        found = [head(features[index]) for index, head in enumerate(self.heads)]
        return torch.cat([boxes for boxes, _ in found], 1), torch.cat([scores for _, scores in found], 1)


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
        for part in module.modules():
            if isinstance(part, Head):  # else the places of the grid drown what depends on the image
                part.box.weight.mul_(2)


def model() -> nn.Module:
    network = YoloxNano()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)),)
