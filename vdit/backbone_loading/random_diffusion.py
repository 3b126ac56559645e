"""Diffusion networks of the released sizes without their weights.

Sizes are those of the configurations that the owners publish beside their weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    AutoencoderKLWan,
    DDPMScheduler,
    I2VGenXLUNet,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetSpatioTemporalConditionModel,
    WanTransformer3DModel,
)
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from vdit.architectures import FULL, MINI, build_networks
from vdit.backbone_loading.modelscope import modelscope
from vdit.backbone_loading.open_sora import IMAGE_VAE
from vdit.byte_tokenizers import clip_byte_tokenizer
from vdit.models.backbones.adm import AdmBackbone
from vdit.models.backbones.adm_unet import ADM_256, ADM_512, AdmConfig, AdmUNet
from vdit.models.backbones.base import Backbone
from vdit.models.backbones.i2vgen import I2VGenBackbone
from vdit.models.backbones.open_sora import OpenSoraBackbone
from vdit.models.backbones.open_sora_vae import OpenSoraVideoEncoder
from vdit.models.backbones.sd3 import SD3Backbone, SD3Prompt
from vdit.models.backbones.stable_diffusion import StableDiffusionBackbone
from vdit.models.backbones.stdit3 import STDiT3, STDiT3Config
from vdit.models.backbones.svd import SvdBackbone
from vdit.models.backbones.walt import WaltBackbone
from vdit.models.backbones.walt_tokenizer import TOKENIZER_L, VideoTokenizer
from vdit.models.backbones.walt_transformer import WALT_L, WALT_XL, Walt, WaltConfig
from vdit.models.backbones.wan import WanBackbone

SD_1 = {"cross_attention_dim": 768, "attention_head_dim": 8}
SD_2 = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
CLIP_L_TEXT = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
SVD = {
    "block_out_channels": (320, 640, 1280, 1280),
    "num_attention_heads": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "layers_per_block": 2,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
}
SD3_MEDIUM = {
    "num_layers": 24,
    "num_attention_heads": 24,
    "caption_projection_dim": 1536,
    "pos_embed_max_size": 192,
}
SD3_VAE = {
    "latent_channels": 16,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
WAN_1_3B = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "ffn_dim": 8960,
    "num_layers": 30,
}
SD3_TOKENS, WAN_TOKENS = 77 + 256, 512
COSINE = {"beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True}

Device = torch.device


def _scheduler(sizes: dict[str, Any]) -> Any:
    return DDPMScheduler(**sizes)


def _alphas(sizes: dict[str, Any]) -> Tensor:
    return _scheduler(sizes).alphas_cumprod


def _text_tower(sizes: dict[str, Any]) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**sizes))


def _image_tower() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**FULL.image_encoder))


def _image_vae(**options: Any) -> AutoencoderKL:
    return AutoencoderKL(**IMAGE_VAE | options)


def _modelscope(device: Device) -> Backbone:
    """ModelScopeT2V and ZeroScope: the networks of VD-IT that `encode` and `extract` need."""
    scheduler = _scheduler(FULL.scheduler)
    with device:
        networks = {
            "unet": UNet3DConditionModel(**FULL.unet),
            "vae": _image_vae(**FULL.vae),
            "text_encoder": _text_tower(FULL.text_encoder),
        }
    return modelscope(networks | {"scheduler": scheduler, "tokenizer": clip_byte_tokenizer()})


def _mini(device: Device) -> Backbone:
    with device:
        networks = build_networks(MINI)
    others = {"scheduler": _scheduler(MINI.scheduler), "tokenizer": clip_byte_tokenizer()}
    return modelscope(networks | others, MINI.model.compat)


def _stable_diffusion(device: Device, sizes: dict[str, Any], text: dict[str, Any]) -> Backbone:
    alphas = _alphas(FULL.scheduler)
    with device:
        networks = UNet2DConditionModel(**sizes), _image_vae()
        tower = _text_tower(text)
    return StableDiffusionBackbone(*networks, alphas, tower, clip_byte_tokenizer())


def _svd(device: Device) -> Backbone:
    alphas = _alphas(FULL.scheduler)
    sizes = {key: value for key, value in IMAGE_VAE.items() if key != "up_block_types"}
    with device:
        unet = UNetSpatioTemporalConditionModel(**SVD)
        vae = AutoencoderKLTemporalDecoder(**sizes)
        tower = _image_tower()
    return SvdBackbone(unet, vae, alphas, tower)


def _i2vgen(device: Device) -> Backbone:
    alphas = _alphas(COSINE)
    with device:
        networks = I2VGenXLUNet(), _image_vae()
        towers = _text_tower(FULL.text_encoder), clip_byte_tokenizer(), _image_tower()
    return I2VGenBackbone(*networks, alphas, *towers)


def _sd3(device: Device) -> Backbone:
    with device:
        transformer: Any = SD3Transformer2DModel(**SD3_MEDIUM)
        vae = _image_vae(**SD3_VAE)
        sizes = transformer.config.joint_attention_dim, transformer.config.pooled_projection_dim
        prompt = SD3Prompt(torch.randn(1, SD3_TOKENS, sizes[0]), torch.randn(1, sizes[1]))
    return SD3Backbone(transformer, vae, prompt)


def _wan(device: Device) -> Backbone:
    with device:
        transformer: Any = WanTransformer3DModel(**WAN_1_3B)
        vae = AutoencoderKLWan()
        text = torch.randn(1, WAN_TOKENS, transformer.config.text_dim)
    return WanBackbone(transformer, vae, text)


def _open_sora(device: Device) -> Backbone:
    with device:
        network, encoder = STDiT3(STDiT3Config()), OpenSoraVideoEncoder(_image_vae())
    return OpenSoraBackbone(network, encoder)


def _walt(device: Device, config: WaltConfig) -> Backbone:
    with device:
        network, tokenizer = Walt(config), VideoTokenizer(TOKENIZER_L)
    return WaltBackbone(network, tokenizer)


def _adm(device: Device, config: AdmConfig) -> Backbone:
    with device:
        unet = AdmUNet(config)
    return AdmBackbone(unet)


BUILDERS: dict[str, Callable[[Device], Backbone]] = {
    "mini": _mini,
    "modelscope": _modelscope,
    "zeroscope": _modelscope,
    **dict.fromkeys(("sd-1.4", "sd-1.5"), partial(_stable_diffusion, sizes=SD_1, text=CLIP_L_TEXT)),
    **dict.fromkeys(
        ("sd-2.0", "sd-2.0-base", "sd-2.1", "sd-2.1-base"),
        partial(_stable_diffusion, sizes=SD_2, text=FULL.text_encoder),
    ),
    **dict.fromkeys(("svd", "svd-xt", "svd-xt-1.1"), _svd),
    "i2vgen-xl": _i2vgen,
    "sd3-medium": _sd3,
    "wan-2.1-1.3b": _wan,
    "open-sora-1.2": _open_sora,
    "walt": partial(_walt, config=WALT_L),
    "walt-xl": partial(_walt, config=WALT_XL),
    "adm-256": partial(_adm, config=ADM_256),
    "adm-512": partial(_adm, config=ADM_512),
}
"""Name -> function that builds it on a device, in the default dtype."""
