"""RoBERTa: features of every word of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class RobertaTextEncoder(nn.Module):
    """Give every token of a sentence a feature; frozen and in eval mode unless told otherwise.

    Args:
        model: transformers RobertaModel.
        tokenizer: its tokenizer.
        frozen: keep the weights; VD-IT trains them only in its image pre-training.
    """

    def __init__(self, model: Any, tokenizer: Any, frozen: bool = True) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.dim: int = model.config.hidden_size
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> RobertaTextEncoder:
        super().train(mode and not self.frozen)
        return self

    def forward(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Encode sentences, padded to the longest one.

        Returns:
            features [B, L, C] float32 and padding_mask [B, L] bool, True = pad.
        """
        tokens = self.tokenizer(list(captions), padding="longest", return_tensors="pt")
        ids = tokens.input_ids.to(self.model.device)
        mask = tokens.attention_mask.to(self.model.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return features.float(), mask != 1
