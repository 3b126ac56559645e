"""Sizes of the networks that VD-IT is made of, and the networks without weights.

`FULL` is ModelScopeT2V 1.7b with CLIP ViT-H/14 and RoBERTa-base, the released model; `MINI` is
made of the same classes at a size for two CPU cores. Its noise schedule has 20 coarse levels, and
its UNet predicts velocities, which weighs noisy levels, where text matters, more than noise does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, UNet3DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    RobertaConfig,
    RobertaModel,
)

from vdit.models.deformable_transformer import TransformerConfig
from vdit.models.referring_head import HeadConfig
from vdit.models.vdit import VDITConfig


@dataclass(frozen=True)
class Architecture:
    """Constructor arguments of every network, in the words of its library."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any]
    image_encoder: dict[str, Any]
    roberta: dict[str, Any]
    model: VDITConfig
    scheduler: dict[str, Any]


FULL = Architecture(
    unet={
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": 64,
        "cross_attention_dim": 1024,
        "layers_per_block": 2,
    },
    vae={"block_out_channels": (128, 256, 512, 512), "norm_num_groups": 32, "sample_size": 512},
    text_encoder={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
    image_encoder={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "projection_dim": 1024,
    },
    roberta={"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    model=VDITConfig(),
    scheduler={"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
)

MINI = Architecture(
    unet={
        "block_out_channels": (64, 96, 96, 96),
        "norm_num_groups": 8,
        "attention_head_dim": 32,
        "cross_attention_dim": 64,
        "layers_per_block": 1,
    },
    vae={"block_out_channels": (16, 32, 64, 64), "norm_num_groups": 4, "sample_size": 128},
    text_encoder={
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
    },
    image_encoder={
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 96,
        "patch_size": 8,
        "hidden_act": "gelu",
        "projection_dim": 64,
    },
    roberta={
        "vocab_size": 261,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
    },
    model=VDITConfig(
        compat="improved",
        image_dim=96,
        prompt_heads=4,
        head=HeadConfig(
            channels=(32, 64, 64, 64),
            text_dim=64,
            transformer=TransformerConfig(
                dim=64,
                num_heads=4,
                num_encoder_layers=2,
                num_decoder_layers=3,
                feed_forward_dim=256,
                dropout=0.0,
            ),
        ),
    ),
    scheduler={
        "num_train_timesteps": 20,
        "beta_start": 0.002,
        "beta_end": 0.5,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
    },
)


def build_networks(architecture: Architecture) -> dict[str, Any]:
    """Build every frozen network with fresh weights, by the names of `vdit.model_spec.Parts`."""
    levels = len(architecture.vae["block_out_channels"])
    return {
        "unet": UNet3DConditionModel(**architecture.unet),
        "vae": AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=2,
            latent_channels=4,
            **architecture.vae,
        ),
        "scheduler": DDPMScheduler(**architecture.scheduler, clip_sample=False),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**architecture.text_encoder)),
        "image_encoder": CLIPVisionModelWithProjection(
            CLIPVisionConfig(**architecture.image_encoder)
        ),
        "roberta": RobertaModel(
            RobertaConfig(pad_token_id=1, bos_token_id=0, eos_token_id=2, **architecture.roberta)
        ),
    }
