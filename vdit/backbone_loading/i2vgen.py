"""I2VGen-XL from a folder or the hub."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import I2VGenXLUNet

from vdit.models.backbones.i2vgen import I2VGenBackbone
from vdit.network_loading import load_part, reading

SOURCES = {"i2vgen-xl": "ali-vilab/i2vgen-xl"}
"""Short name -> hub id."""


def load(place: str, dtype: torch.dtype, **options: Any) -> I2VGenBackbone:
    """Load the pipeline's components.

    Args:
        place: hub id or folder in the layout of diffusers.
        dtype: of the weights.
        options: further arguments of `I2VGenBackbone`.

    Raises:
        ValueError: a component cannot be read; names it.
    """
    unet = reading(
        "unet",
        place,
        lambda: I2VGenXLUNet.from_pretrained(place, subfolder="unet", torch_dtype=dtype),
    )
    vae, scheduler, text_encoder, tokenizer, image_encoder = (
        load_part(part, f"{place}#{part}", None, dtype)
        for part in ("vae", "scheduler", "text_encoder", "tokenizer", "image_encoder")
    )
    return I2VGenBackbone(
        unet, vae, scheduler.alphas_cumprod, text_encoder, tokenizer, image_encoder, **options
    )
