"""Stable Diffusion 3 from a folder in the layout of diffusers, or from the hub."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, SD3Transformer2DModel
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5EncoderModel,
)

from vdit.models.backbones.latents import Posterior
from vdit.models.backbones.sd3 import SD3Backbone, SD3Prompt
from vdit.network_loading import reading

SOURCES: dict[str, str] = {"sd3-medium": "stabilityai/stable-diffusion-3-medium-diffusers"}
T5_TOKENS = 256


def load(
    place: str,
    dtype: torch.dtype,
    *,
    prompt: str = "",
    t5: bool = True,
    posterior: Posterior = "sample",
) -> SD3Backbone:
    """Load the transformer, the VAE (kept in float32) and the encoding of one prompt.

    Args:
        place: folder or hub id.
        dtype: of the transformer and the text encoders.
        prompt: the prompt of every call without `text`.
        t5: False leaves T5-XXL out, 9 GB in float16; zeros stand in for its states.
        posterior: see `SD3Backbone`.

    Raises:
        ValueError: a part cannot be read; names it.
    """
    transformer = reading(
        "transformer",
        place,
        lambda: SD3Transformer2DModel.from_pretrained(
            place, subfolder="transformer", torch_dtype=dtype
        ),
    )
    vae = reading(
        "vae",
        place,
        lambda: AutoencoderKL.from_pretrained(place, subfolder="vae", torch_dtype=torch.float32),
    )
    width = transformer.config.joint_attention_dim
    return SD3Backbone(transformer, vae, encode_prompt(place, dtype, prompt, width, t5), posterior)


@torch.no_grad()
def encode_prompt(
    place: str, dtype: torch.dtype, prompt: str, width: int, t5: bool = True
) -> SD3Prompt:
    """Encode one prompt; the encoders are in memory one after the other, for this only.

    Args:
        place: folder or hub id.
        dtype: of the encoders and their states.
        prompt: any sentence, "" too.
        width: channels of the token states; those of the CLIP towers are padded to it.
        t5: see `load`.
    """
    towers = [_encode_clip(place, dtype, prompt, suffix) for suffix in ("", "_2")]
    clip = torch.cat([tokens for tokens, _ in towers], dim=-1)
    clip = F.pad(clip, (0, width - clip.shape[-1]))
    last = _encode_t5(place, dtype, prompt) if t5 else clip.new_zeros(1, T5_TOKENS, width)
    pooled = torch.cat([pooled for _, pooled in towers], dim=-1)
    return SD3Prompt(torch.cat([clip, last], dim=1), pooled)


def _encode_clip(place: str, dtype: torch.dtype, prompt: str, suffix: str) -> tuple[Tensor, Tensor]:
    """Give the states before the last layer, [1, 77, C], and the projected last one, [1, P]."""
    tokenizer = reading(
        f"tokenizer{suffix}",
        place,
        lambda: CLIPTokenizer.from_pretrained(place, subfolder=f"tokenizer{suffix}"),
    )
    tower = reading(
        f"text_encoder{suffix}",
        place,
        lambda: CLIPTextModelWithProjection.from_pretrained(
            place, subfolder=f"text_encoder{suffix}", dtype=dtype
        ),
    )
    ids = tokenizer(
        [prompt],
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    ).input_ids
    found = tower(ids, output_hidden_states=True)
    return found.hidden_states[-2], found.text_embeds


def _encode_t5(place: str, dtype: torch.dtype, prompt: str) -> Tensor:
    """Give the states of T5, [1, 256, C]; pads are tokens like others, as in training."""
    tokenizer = reading(
        "tokenizer_3",
        place,
        lambda: AutoTokenizer.from_pretrained(place, subfolder="tokenizer_3"),
    )
    tower = reading(
        "text_encoder_3",
        place,
        lambda: T5EncoderModel.from_pretrained(place, subfolder="text_encoder_3", dtype=dtype),
    )
    ids = tokenizer(
        [prompt], padding="max_length", truncation=True, max_length=T5_TOKENS, return_tensors="pt"
    ).input_ids
    return tower(ids).last_hidden_state
