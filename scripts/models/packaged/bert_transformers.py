"""BERT as the package transformers has it, cut down: 2 layers, width 128, vocabulary 1,024. Nothing is downloaded.

Architecture: transformers.BertModel (https://huggingface.co/docs/transformers/model_doc/bert), attention by hand
("eager"). Input: int64 token ids (1, 16). Outputs: float32 (1, 16, 128) of order 1, and the pooled (1, 128). The
package's own initialisation, seeded; a spec's axis may bring another version of the package.
"""

from __future__ import annotations

import torch
from transformers import BertConfig, BertModel

PACKAGES = ("transformers",)
PARAMETERS = 552_832


class Bert(torch.nn.Module):
    """The model with a tuple of tensors as its answer."""

    def __init__(self) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=1024,
            hidden_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=512,
            max_position_embeddings=64,
            attn_implementation="eager",
        )
        self.bert = BertModel(config)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer = self.bert(input_ids=tokens)
        return answer.last_hidden_state, answer.pooler_output


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return Bert()


def inputs() -> tuple[torch.Tensor, ...]:
    return (torch.randint(0, 1024, (1, 16), generator=torch.Generator().manual_seed(1)),)
