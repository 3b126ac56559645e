"""The image tower from open_clip, brought to the class that transformers has for it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

ARCHITECTURE = "ViT-H-14"

ACTIVATIONS = {
    "GELU(approximate='none')": "gelu",
    "GELU(approximate='tanh')": "gelu_pytorch_tanh",
    "QuickGELU()": "quick_gelu",
}

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
        tag: pretrained tag, such as "laion2b_s32b_b79k", or the path of a checkpoint. A tag knows
            its activation; a checkpoint is taken to have that of the architecture.
        architecture: open_clip's name of the model.

    Raises:
        ValueError: open_clip cannot be imported, does not know the tag, or cannot load it.
    """
    source = f"open_clip:{tag}"
    try:
        import open_clip
    except ImportError as error:
        raise ValueError(
            f"expected open_clip for the image tower {source!r}, but {error}; "
            "run `pip install vdit[openclip]`"
        ) from error
    except RuntimeError as error:  # what torchvision raises beside a torch that it was not made for
        raise ValueError(
            f"open_clip, which the image tower {source!r} needs, cannot be imported: "
            f"{_brief(error)}; install the torchvision that was built for torch {torch.__version__}"
        ) from error
    known = open_clip.get_pretrained_cfg(architecture, tag)
    try:
        model = open_clip.create_model(
            architecture,
            pretrained=tag,
            force_quick_gelu=known.get("quick_gelu", False),
            require_pretrained=True,
            weights_only=True,
        )
    except Exception as error:  # damaged files fail in every way, down to StopIteration
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture))
        raise ValueError(
            f"cannot load the image tower {source!r}: {_brief(error)}; expected the path of a "
            f"checkpoint of {architecture} or one of the tags {tags or '(none)'}"
        ) from error
    return tower_from_open_clip(model.visual)


def tower_from_open_clip(visual: Any) -> Any:
    """Build transformers' class with the weights and sizes of open_clip's `model.visual`.

    Raises:
        ValueError: the tower is not the vision transformer of CLIP, or a variant of it that
            transformers' class does not compute.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**_sizes(visual)))
    state = convert_open_clip_state(visual.state_dict())
    different = sorted(set(state) ^ set(tower.state_dict()))
    if different:
        raise ValueError(
            "expected the plain vision transformer of CLIP, got one that differs in "
            f"{', '.join(different[:3])} ({len(different)} weights)"
        )
    tower.load_state_dict(state)
    return tower.eval()


def _sizes(visual: Any) -> dict[str, Any]:
    """Read the arguments of CLIPVisionConfig off open_clip's modules, whose defaults they hold."""
    if not hasattr(visual, "transformer"):
        raise ValueError(f"expected a vision transformer, got {type(visual).__name__}")
    if len(set(visual.image_size)) > 1 or len(set(visual.patch_size)) > 1:
        raise ValueError(
            f"expected square images and patches, got {visual.image_size} and {visual.patch_size}"
        )
    block = visual.transformer.resblocks[0]
    activation = repr(block.mlp.gelu)
    if activation not in ACTIVATIONS:
        raise ValueError(f"expected an activation among {', '.join(ACTIVATIONS)}; got {activation}")
    return {
        "hidden_size": block.mlp.c_fc.in_features,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": len(visual.transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "image_size": visual.image_size[0],
        "patch_size": visual.patch_size[0],
        "projection_dim": visual.output_dim,
        "hidden_act": ACTIVATIONS[activation],
        "layer_norm_eps": block.ln_1.eps,
    }


def _brief(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", width=200)
