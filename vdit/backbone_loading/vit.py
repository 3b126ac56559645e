"""Vision transformers that transformers has classes for, from folders and the hub."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModel, ImageProcessingMixin

from vdit.models.backbones.vit import VitBackbone
from vdit.network_loading import reading

SOURCES: dict[str, str] = {
    "dinov2-s": "facebook/dinov2-small",
    "dinov2-b": "facebook/dinov2-base",
    "dinov2-l": "facebook/dinov2-large",
    "dinov2-g": "facebook/dinov2-giant",
    "dinov2-s-reg": "facebook/dinov2-with-registers-small",
    "dinov2-b-reg": "facebook/dinov2-with-registers-base",
    "dinov2-l-reg": "facebook/dinov2-with-registers-large",
    "dinov2-g-reg": "facebook/dinov2-with-registers-giant",
    "dino-s16": "facebook/dino-vits16",
    "dino-s8": "facebook/dino-vits8",
    "dino-b16": "facebook/dino-vitb16",
    "dino-b8": "facebook/dino-vitb8",
    "vit-b16": "google/vit-base-patch16-224-in21k",
}


def load(place: str, dtype: torch.dtype, **options: Any) -> VitBackbone:
    """Load a vision transformer and the normalization of its training.

    Args:
        place: a folder with config.json, preprocessor_config.json and weights, or a hub id.
        dtype: of the weights.
        options: of `VitBackbone`; with mean and std, preprocessor_config.json is not read.

    Raises:
        ValueError: a file cannot be read, or the network is of another structure.
    """
    network = reading(
        "a vision transformer", place, lambda: AutoModel.from_pretrained(place, dtype=dtype)
    )
    if not all(hasattr(network, name) for name in ("embeddings", "layernorm")):
        raise ValueError(
            f"expected a network like Dinov2Model or ViTModel in {place}, got "
            f"{type(network).__name__}; choose another hub id"
        )
    if getattr(network, "pooler", None) is not None:
        network.pooler = None  # no feature map needs it
    if not {"mean", "std"} <= options.keys():
        told, _ = reading(
            "the normalization of the frames",
            place,
            lambda: ImageProcessingMixin.get_image_processor_dict(place),
        )
        options = {"mean": tuple(told["image_mean"]), "std": tuple(told["image_std"])} | options
    return VitBackbone(network, **options)
