"""The image tower from open_clip, brought to the class that transformers has for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ARCHITECTURE = "ViT-H-14"

_RENAMES = [
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^conv1\.", "embeddings.patch_embedding."),
    (r"^ln_pre\.", "pre_layrnorm."),
    (r"^ln_post\.", "post_layernorm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
]


def convert_open_clip_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of open_clip's `model.visual` to those of CLIPVisionModelWithProjection.

    The joint query, key and value matrix of each attention is split in three.
    """
    converted = {}
    for name, tensor in state.items():
        if name == "proj":
            converted["visual_projection.weight"] = tensor.T.contiguous()
            continue
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        joint = re.match(r"(.*)\.attn\.in_proj_(weight|bias)$", name)
        if joint:
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                converted[f"vision_model.{joint[1]}.self_attn.{part}_proj.{joint[2]}"] = piece
        else:
            converted[f"vision_model.{name}"] = tensor
    return converted


def load_open_clip_tower(tag: str, architecture: str = ARCHITECTURE) -> Any:
    """Load an image tower with open_clip; the result gives the same tokens as open_clip's own.

    Args:
        tag: pretrained tag, such as "laion2b_s32b_b79k", or the path of a checkpoint.
        architecture: open_clip's name of the model.

    Raises:
        ValueError: open_clip is not installed, or does not know the tag.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ValueError(
            f"expected open_clip for the image tower 'open_clip:{tag}', but {error}; "
            "run `pip install vdit[openclip]`"
        ) from error
    try:
        model = open_clip.create_model(architecture, pretrained=tag)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"cannot load the image tower 'open_clip:{tag}': {error}") from error
    return tower_from_open_clip(model.visual, open_clip.get_model_config(architecture))


def tower_from_open_clip(visual: Any, config: Mapping[str, Any]) -> Any:
    """Build transformers' class with the weights and sizes of open_clip's `model.visual`."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    vision = config["vision_cfg"]
    width = vision["width"]
    tower = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=int(width * vision.get("mlp_ratio", 4)),
            num_hidden_layers=vision["layers"],
            num_attention_heads=width // vision.get("head_width", 64),
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            projection_dim=config["embed_dim"],
            hidden_act="quick_gelu" if config.get("quick_gelu") else "gelu",
        )
    )
    with torch.no_grad():
        tower.load_state_dict(convert_open_clip_state(visual.state_dict()))
    return tower.eval()
