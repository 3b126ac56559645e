"""The small text-to-video backbone that comes with the package."""

from __future__ import annotations

from pathlib import Path

import torch

from vdit.architectures import MINI
from vdit.backbone_loading.modelscope import modelscope
from vdit.model_spec import BUNDLED, local_parts
from vdit.models.backbones.modelscope import ModelScopeBackbone
from vdit.network_loading import load_networks

SOURCES = {"mini": str(BUNDLED["vdit-mini"])}
"""Short name -> folder."""


def load(place: str, dtype: torch.dtype) -> ModelScopeBackbone:
    """Load the networks of a small model's folder, its image tower included."""
    return modelscope(load_networks(local_parts(), Path(place), dtype), MINI.model.compat)
