"""Prompts of networks with a CLIP text tower, and their form for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class ClipPrompts:
    """What backbones with a CLIP text tower do with sentences.

    Attributes:
        text_encoder: transformers CLIPTextModel.
        tokenizer: its tokenizer.
    """

    text_encoder: Any
    tokenizer: Any

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Turn captions into [B, L] token ids, padded and cut to the tower's length."""
        return self.tokenizer(
            list(captions),
            padding="max_length",
            truncation=True,
            max_length=self.text_encoder.config.max_position_embeddings,
            return_tensors="pt",
        ).input_ids

    def encode_text(self, captions: Sequence[str] | Tensor) -> Tensor:
        """Compute [B, L, C] states of the text tower after its last norm.

        Pads are ordinary tokens here: the tower was trained and is used without a mask.

        Args:
            captions: sentences, or token ids [B, L].
        """
        ids = captions if isinstance(captions, Tensor) else self.tokenize(captions)
        with torch.no_grad():
            return self.text_encoder(input_ids=ids.to(self.text_encoder.device)).last_hidden_state


def prompt_per_frame(text: Tensor, B: int, T: int, dim: int, dtype: torch.dtype) -> Tensor:
    """Bring a prompt [B, L, C] or [B, T, L, C] to [B * T, L, C], clip-major, in a dtype.

    Args:
        text: the same for all frames of a clip, or one a frame.
        B: clips.
        T: frames.
        dim: C that the network takes.
        dtype: of the network.

    Raises:
        ValueError: it has another shape.
    """
    expected = (B,) if text.ndim == 3 else (B, T)
    if text.ndim not in (3, 4) or text.shape[:-2] != expected or text.shape[-1] != dim:
        raise ValueError(
            f"expected text [{B}, L, {dim}] or [{B}, {T}, L, {dim}], got {list(text.shape)}"
        )
    text = text.to(dtype)
    return text.repeat_interleave(T, dim=0) if text.ndim == 3 else text.flatten(0, 1)
