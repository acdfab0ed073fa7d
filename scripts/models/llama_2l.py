"""Two layers of a Llama, width 256, vocabulary 32,000: rotary positions, RMS norms, gated feed-forward layers.

Architecture: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023), with the names and the
vocabulary of meta-llama/llama at a width that every compiler finishes in seconds. Input: int64 (1, 16), tokens.
Output: float32 (1, 16, 32000), scores of order 1.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 17_966_336

WIDTH, HEADS, LAYERS, HIDDEN, VOCABULARY, PLACES = 256, 4, 2, 688, 32_000, 16
HEAD = WIDTH // HEADS


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    """By hand: what torch makes of `scaled_dot_product_attention` differs from release to release."""

    def __init__(self) -> None:
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = heads(self.wq(x)), heads(self.wk(x)), heads(self.wv(x))
        query, key = rotated(query, cosines, sines), rotated(key, cosines, sines)
        weights = torch.softmax(query @ key.transpose(2, 3) / math.sqrt(HEAD) + mask, -1)
        return self.wo((weights @ value).transpose(1, 2).flatten(2))


def heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, places, width) to (batch, heads, places, width of a head)."""
    return x.view(x.shape[0], x.shape[1], HEADS, HEAD).transpose(1, 2)


def rotated(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    half = HEAD // 2
    return x * cosines + torch.cat((-x[..., half:], x[..., :half]), -1) * sines


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.attention = RmsNorm(), Attention()
        self.norm = RmsNorm()
        self.w1, self.w3 = nn.Linear(WIDTH, HIDDEN, bias=False), nn.Linear(WIDTH, HIDDEN, bias=False)
        self.w2 = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), cosines, sines, mask)
        y = self.norm(x)
        return x + self.w2(nn.functional.silu(self.w1(y)) * self.w3(y))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RmsNorm()
        self.out = nn.Linear(WIDTH, VOCABULARY, bias=False)
        rates = [10_000 ** (-2 * index / HEAD) for index in range(HEAD // 2)] * 2
        angles = [[place * rate for rate in rates] for place in range(PLACES)]
        self.register_buffer("cosines", torch.tensor([[math.cos(angle) for angle in row] for row in angles]))
        self.register_buffer("sines", torch.tensor([[math.sin(angle) for angle in row] for row in angles]))
        self.register_buffer("mask", torch.full((PLACES, PLACES), -1e9).triu(1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens)
        for layer in self.layers:
            x = layer(x, self.cosines, self.sines, self.mask)
        return self.out(self.norm(x))


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
    network = Llama()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randint(0, VOCABULARY, (1, PLACES), generator=torch.Generator().manual_seed(1)),)
