"""ModelScopeT2V and ZeroScope from a pipeline in the layout of diffusers."""

from __future__ import annotations

import torch

from vdit.model_spec import MODELSCOPE, pipeline_parts
from vdit.models.backbones.modelscope import ModelScopeBackbone
from vdit.models.image_encoder import ClipImageEncoder
from vdit.network_loading import Networks, load_part

SOURCES = {"modelscope": MODELSCOPE, "zeroscope": "cerspense/zeroscope_v2_576w"}
"""Short name -> hub id; both have the same classes."""
PIPELINE = ("unet", "vae", "scheduler", "text_encoder", "tokenizer")


def load(place: str, dtype: torch.dtype, *, image_encoder: str | None = None) -> ModelScopeBackbone:
    """Load the networks of a text-to-video pipeline.

    Args:
        place: folder or hub id of the pipeline.
        dtype: of the weights.
        image_encoder: source of a CLIP image tower whose tokens `encode` adds.

    Raises:
        ValueError: the weights cannot be loaded.
    """
    parts = pipeline_parts(place)
    networks = {part: load_part(part, getattr(parts, part), None, dtype) for part in PIPELINE}
    if image_encoder is not None:
        networks["image_encoder"] = load_part("image_encoder", image_encoder, None, dtype)
    return modelscope(networks)


def modelscope(networks: Networks, compat: str = "released") -> ModelScopeBackbone:
    """Build the backbone from its networks, with the conventions of a `VDITConfig.compat`."""
    image_encoder = networks.get("image_encoder")
    released = compat == "released"
    return ModelScopeBackbone(
        networks["unet"],
        networks["vae"],
        networks["scheduler"].alphas_cumprod,
        networks["text_encoder"],
        networks["tokenizer"],
        None if image_encoder is None else ClipImageEncoder(image_encoder),
        rounding="truncate" if released else "nearest",
        posterior="sample" if released else "mean",
    )
