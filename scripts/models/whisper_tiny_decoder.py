"""One step of the decoder of Whisper tiny: a token, the keys and values of those before it, the encoder's states.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), with the layer
sizes of openai/whisper `tiny`. The loop around the steps is Python and cannot be exported. Inputs: int64 (1, 1), a
token; float32 (4, 2, 1, 6, 8, 64), keys and values of 8 tokens by layer; float32 (1, 1500, 384). Outputs: float32
(1, 51865), scores of order 1; float32 (4, 2, 1, 6, 9, 64), the keys and values for the next step.
"""

from __future__ import annotations

import math

import torch
from torch import nn

PARAMETERS = 29_552_256

WIDTH, HEADS, LAYERS, STATES = 384, 6, 4, 1500
VOCABULARY, CONTEXT, PAST = 51_865, 448, 8


class Attention(nn.Module):
    """By hand: what torch makes of `scaled_dot_product_attention` differs from release to release."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(heads(self.query(x)) @ keys.transpose(2, 3) / math.sqrt(WIDTH // HEADS), -1)
        return self.out((weights @ values).transpose(1, 2).flatten(2))


def heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, places, width) to (batch, heads, places, width of a head)."""
    return x.view(x.shape[0], x.shape[1], HEADS, WIDTH // HEADS).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own_norm, self.own = nn.LayerNorm(WIDTH), Attention()
        self.cross_norm, self.cross = nn.LayerNorm(WIDTH), Attention()
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: torch.Tensor, past: torch.Tensor, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.own_norm(x)
        keys = torch.cat((past[0], heads(self.own.key(y))), 2)
        values = torch.cat((past[1], heads(self.own.value(y))), 2)
        x = x + self.own(y, keys, values)
        x = x + self.cross(self.cross_norm(x), heads(self.cross.key(states)), heads(self.cross.value(states)))
        return x + self.layers(self.norm(x)), torch.stack((keys, values))


class DecoderStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.empty(CONTEXT, WIDTH))
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(
        self, token: torch.Tensor, past: torch.Tensor, states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.tokens(token) + self.positions[PAST : PAST + 1]
        present = []
        for index, layer in enumerate(self.layers):
            x, kept = layer(x, past[index], states)
            present.append(kept)
        return self.norm(x)[:, -1] @ self.tokens.weight.transpose(0, 1), torch.stack(present)


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
    network = DecoderStep()
    seed_weights(network)
    return network


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    past = torch.randn(LAYERS, 2, 1, HEADS, PAST, WIDTH // HEADS, generator=generator)
    return torch.tensor([[50_258]]), past, torch.randn(1, STATES, WIDTH, generator=generator)
