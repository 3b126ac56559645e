"""V-JEPA 2 from folders and the hub."""

from __future__ import annotations

from typing import Any

import torch
from transformers import VJEPA2Model

from vdit.models.backbones.vjepa2 import VJepa2Backbone
from vdit.network_loading import reading

SOURCES: dict[str, str] = {
    "vjepa2-l": "facebook/vjepa2-vitl-fpc64-256",
    "vjepa2-h": "facebook/vjepa2-vith-fpc64-256",
    "vjepa2-g": "facebook/vjepa2-vitg-fpc64-256",
    "vjepa2-g-384": "facebook/vjepa2-vitg-fpc64-384",
}


def load(place: str, dtype: torch.dtype, **options: Any) -> VJepa2Backbone:
    """Load the encoder; every release was trained with ImageNet's normalization.

    Args:
        place: a folder with config.json and weights, or a hub id.
        dtype: of the weights.
        options: of `VJepa2Backbone`.

    Raises:
        ValueError: a file cannot be read.
    """
    network = reading("V-JEPA 2", place, lambda: VJEPA2Model.from_pretrained(place, dtype=dtype))
    return VJepa2Backbone(network, **options)
