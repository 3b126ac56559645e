"""Names of the released VD-IT checkpoint for the parameters of our model, and back.

The released state dict holds 3126 keys: 3082 distinct tensors that our model has too, four of an
unused frozen sentence projection, and aliases of the same tensors under a second name.
"""

from __future__ import annotations

import re

DIFFUSION = "backbone.0.diff_ftex."

_RULES = [
    (r"backbone\.text_encoder\.(?:text_model\.)?", DIFFUSION + "text_encoder.text_model."),
    (r"backbone\.(unet|vae)\.", DIFFUSION + r"\1."),
    (r"backbone\.image_encoder\.model\.", DIFFUSION + "cv_model."),
    (r"image_prompt\.image_projection\.", DIFFUSION + "projection."),
    (r"image_prompt\.query\.", DIFFUSION + "cross_attn.cros_attn.w_qs."),
    (r"image_prompt\.key\.", DIFFUSION + "cross_attn.cros_attn.w_ks."),
    (r"image_prompt\.value\.", DIFFUSION + "cross_attn.cros_attn.w_vs."),
    (r"image_prompt\.output\.", DIFFUSION + "cross_attn.cros_attn.fc."),
    (r"image_prompt\.attention_norm\.", DIFFUSION + "cross_attn.cros_attn.layer_norm."),
    (r"image_prompt\.linear(\d)\.", DIFFUSION + r"cross_attn.pos_ffn.w_\1."),
    (r"image_prompt\.feed_forward_norm\.", DIFFUSION + "cross_attn.pos_ffn.layer_norm."),
    (r"noise_predictor\.conv\.", DIFFUSION + "noise_pred."),
    (r"noise_predictor\.mlp\.", DIFFUSION + "noise_fc."),
    (r"text_encoder\.model\.", "text_encoder.text_backbone."),
    (r"head\.text_resizer\.linear\.", "text_proj.fc."),
    (r"head\.text_resizer\.norm\.", "text_proj.layer_norm."),
    (r"head\.query_fusion\.queries$", "query_tensors"),
    (r"head\.query_fusion\.attention\.", "fusion_module.multihead_attn."),
    (r"head\.query_position\.", "query_embed."),
    (r"head\.input_projections\.", "input_proj."),
    (r"head\.transformer\.encoder\.", "transformer.encoder.layers."),
    (r"head\.transformer\.decoder\.", "transformer.decoder.layers."),
    (r"head\.transformer\.", "transformer."),
    (r"head\.class_heads\.", "class_embed."),
    (r"head\.box_heads\.", "bbox_embed."),
    (r"head\.mask_head\.controller\.", "controller."),
    (r"head\.mask_decoder\.conv(\d)_(\d)\.", r"mask_refine.conv\1_1div\2."),
]


def released_name(name: str) -> str:
    """Give the released checkpoint's name of one of our parameters.

    Raises:
        ValueError: the name belongs to no part of the model.

    >>> released_name("head.box_heads.0.layers.2.weight")
    'bbox_embed.0.layers.2.weight'
    """
    adapter = re.match(r"adapters\.(\d)\.", name)
    if adapter:
        level = int(adapter.group(1)) + 1
        return f"{DIFFUSION}act_{level}_postprocess.{name[adapter.end() :]}"
    for pattern, replacement in _RULES:
        renamed, count = re.subn("^" + pattern, replacement, name)
        if count:
            return _layer_name(renamed)
    raise ValueError(f"expected the name of a parameter of VDIT, got {name!r}")


def _layer_name(name: str) -> str:
    """Released layers hold their feed-forward parts directly; its norm is their last one."""
    norm = "norm2" if ".encoder." in name else "norm3"
    name = re.sub(r"\.feed_forward\.norm\.", f".{norm}.", name)
    return name.replace(".feed_forward.", ".")


def canonical_name(released: str) -> str:
    """Resolve an alias of the released checkpoint to the name that we read.

    >>> canonical_name("transformer.decoder.bbox_embed.3.layers.0.bias")
    'bbox_embed.3.layers.0.bias'
    """
    released = re.sub(r"^transformer\.decoder\.bbox_embed\.", "bbox_embed.", released)
    return re.sub(
        r"\.act_postprocess\.(\d)\.",
        lambda match: f".act_{int(match.group(1)) + 1}_postprocess.",
        released,
    )


def is_unused(released: str) -> bool:
    """Tell whether a released key has no counterpart: an unused layer, an index, a profiler count.

    >>> is_unused("sentence_proj.fc.weight")
    True
    """
    return released.startswith("sentence_proj.") or bool(
        re.search(r"(position_ids|token_type_ids|total_ops|total_params)$", released)
    )
