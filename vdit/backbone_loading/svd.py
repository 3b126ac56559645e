"""Stable Video Diffusion from a folder or the hub."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

from vdit.models.backbones.svd import SvdBackbone
from vdit.network_loading import load_part, reading

SOURCES = {
    "svd": "stabilityai/stable-video-diffusion-img2vid",
    "svd-xt": "stabilityai/stable-video-diffusion-img2vid-xt",
    "svd-xt-1.1": "stabilityai/stable-video-diffusion-img2vid-xt-1-1",
}
"""Short name -> hub id; trained on 14, 25 and 25 frames."""


def load(place: str, dtype: torch.dtype, **options: Any) -> SvdBackbone:
    """Load the pipeline's components; the VAE in float32, as half precision overflows in it.

    Args:
        place: hub id or folder in the layout of diffusers.
        dtype: of the other weights.
        options: further arguments of `SvdBackbone`.

    Raises:
        ValueError: a component cannot be read; names it.
    """
    unet = reading(
        "unet",
        place,
        lambda: UNetSpatioTemporalConditionModel.from_pretrained(
            place, subfolder="unet", torch_dtype=dtype
        ),
    )
    vae = reading(
        "vae",
        place,
        lambda: AutoencoderKLTemporalDecoder.from_pretrained(
            place, subfolder="vae", torch_dtype=torch.float32
        ),
    )
    scheduler = load_part("scheduler", f"{place}#scheduler", None, dtype)
    image_encoder = load_part("image_encoder", f"{place}#image_encoder", None, dtype)
    return SvdBackbone(unet, vae, scheduler.alphas_cumprod, image_encoder, **options)
