"""The encoder of Whisper tiny: a mel spectrogram of 30 s becomes 1500 states of 384 numbers.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), with the layer
sizes of openai/whisper `tiny`. Input: float32 (1, 80, 3000). Output: float32 (1, 1500, 384), of order 1.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 7_632_384

WIDTH, HEADS, LAYERS, STATES, MELS = 384, 6, 4, 1500, 80


class Attention(nn.Module):
    """By hand: what torch makes of `scaled_dot_product_attention` differs from release to release."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS), -1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


def heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, places, width) to (batch, heads, places, width of a head)."""
    return x.view(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.layers(self.norm(x))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.second = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("positions", sinusoids())
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        x = nn.functional.gelu(self.second(nn.functional.gelu(self.first(mel))))
        return self.norm(self.layers(x.transpose(1, 2) + self.positions))


def sinusoids() -> torch.Tensor:
    """(STATES, WIDTH). Computed in Python, so that all torch releases hold the same bits."""
    half = WIDTH // 2
    rates = [math.exp(-math.log(10_000) / (half - 1) * index) for index in range(half)]
    rows = ([place * rate for rate in rates] for place in range(STATES))
    return torch.tensor([[*map(math.sin, row), *map(math.cos, row)] for row in rows])


def seed_weights(module: nn.Module) -> None:
    """Keeps activations of order 1: weights have variance 1 / fan in, those of norms lie around 1, and no bias is 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, values in module.named_parameters():
            drawn = torch.randn(values.shape, generator=generator)
            if values.dim() == 1:
                values.copy_(drawn / 8 + (1 if "norm" in name and name.endswith("weight") else 0))
            else:
                values.copy_(drawn / math.sqrt(values[0].numel()))


def model() -> nn.Module:
    network = Encoder()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randn(1, MELS, 2 * STATES, generator=torch.Generator().manual_seed(1)),)
