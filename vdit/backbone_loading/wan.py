"""Wan 2.1 from a folder in the layout of diffusers, or from the hub."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.wan import WanBackbone
from vdit.network_loading import reading

SOURCES: dict[str, str] = {"wan-2.1-1.3b": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"}
TEXT_TOKENS = 512


def load(
    place: str, dtype: torch.dtype, *, prompt: str = "", posterior: Posterior = "sample"
) -> WanBackbone:
    """Load the transformer, the VAE (kept in float32) and the encoding of one prompt.

    Args:
        place: folder or hub id.
        dtype: of the transformer and the text encoder.
        prompt: the prompt of every call without `text`.
        posterior: see `WanBackbone`.

    Raises:
        ValueError: a part cannot be read; names it.
    """
    transformer = reading(
        "transformer",
        place,
        lambda: WanTransformer3DModel.from_pretrained(
            place, subfolder="transformer", torch_dtype=dtype
        ),
    )
    vae = reading(
        "vae",
        place,
        lambda: AutoencoderKLWan.from_pretrained(place, subfolder="vae", torch_dtype=torch.float32),
    )
    return WanBackbone(transformer, vae, encode_prompt(place, dtype, prompt), posterior)


@torch.no_grad()
def encode_prompt(place: str, dtype: torch.dtype, prompt: str) -> Tensor:
    """Compute the states of UMT5, [1, 512, C], zero behind the last token; it is in memory only
    for this.

    Args:
        place: folder or hub id.
        dtype: of the encoder and its states.
        prompt: any sentence, "" too.
    """
    tokenizer = reading(
        "tokenizer", place, lambda: AutoTokenizer.from_pretrained(place, subfolder="tokenizer")
    )
    tower = reading(
        "text_encoder",
        place,
        lambda: UMT5EncoderModel.from_pretrained(place, subfolder="text_encoder", dtype=dtype),
    )
    tokens = tokenizer(
        [prompt],
        padding="max_length",
        truncation=True,
        max_length=TEXT_TOKENS,
        return_attention_mask=True,
        return_tensors="pt",
    )
    states = tower(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    return states * tokens.attention_mask[..., None].to(states)
