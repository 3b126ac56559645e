"""Tiny random configurations of the diffusion transformers."""

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLWan,
    SD3Transformer2DModel,
    WanTransformer3DModel,
)

from vdit.models.backbones.open_sora import OpenSoraBackbone
from vdit.models.backbones.open_sora_vae import OpenSoraVideoEncoder
from vdit.models.backbones.sd3 import SD3Backbone, SD3Prompt
from vdit.models.backbones.stdit3 import STDiT3, STDiT3Config
from vdit.models.backbones.wan import WanBackbone


def seeded(build):
    """Build something with random weights that are always the same."""

    def wrapped(**options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(**options)

    return wrapped


def sd3_networks():
    transformer = SD3Transformer2DModel(
        sample_size=8,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        caption_projection_dim=16,
        pooled_projection_dim=10,
        in_channels=4,
        out_channels=4,
        pos_embed_max_size=64,
    )
    return transformer, image_vae(
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def image_vae(**options):
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        **options,
    )


@seeded
def sd3():
    transformer, vae = sd3_networks()
    return SD3Backbone(transformer, vae, SD3Prompt(torch.randn(1, 7, 12), torch.randn(1, 10)))


def wan_networks():
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=10,
        freq_dim=8,
        ffn_dim=16,
        num_layers=3,
        rope_max_seq_len=64,
    )
    vae = AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0],
        latents_std=[1.5, 2.0, 0.5, 1.0],
    )
    return transformer, vae


@seeded
def wan():
    return WanBackbone(*wan_networks(), torch.randn(1, 6, 10))


STDIT3 = STDiT3Config(
    hidden_size=16,
    depth=3,
    num_heads=2,
    text_dim=10,
    text_length=6,
    input_side=64,
)


@seeded
def open_sora(temporal_layers=True):
    vae = OpenSoraVideoEncoder(image_vae(), filters=4, num_res_blocks=1, num_groups=2)
    return OpenSoraBackbone(STDiT3(STDIT3, temporal_layers), vae)


TINY = {"sd3": sd3, "wan": wan, "open-sora": open_sora}
