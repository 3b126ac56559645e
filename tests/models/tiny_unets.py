"""Tiny UNet backbones of the real classes with random weights, for tests."""

from collections.abc import Callable

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    DDPMScheduler,
    I2VGenXLUNet,
    UNet2DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from vdit.byte_tokenizers import clip_byte_tokenizer
from vdit.models.backbones.base import Backbone
from vdit.models.backbones.i2vgen import I2VGenBackbone
from vdit.models.backbones.stable_diffusion import StableDiffusionBackbone
from vdit.models.backbones.svd import SvdBackbone

WIDTHS = (32, 64, 64, 64)
TEXT_DIM = 32
CROSS = 3
UP_BLOCKS = [(1280, 32), (1280, 16), (640, 8), (320, 8)]
"""Channels and stride behind each upsampling block of the released networks."""


def stable_diffusion(**options) -> StableDiffusionBackbone:
    unet = UNet2DConditionModel(
        block_out_channels=WIDTHS,
        down_block_types=("CrossAttnDownBlock2D",) * CROSS + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * CROSS,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=TEXT_DIM,
    )
    text = text_encoder(), clip_byte_tokenizer()
    return StableDiffusionBackbone(unet, image_vae(), schedule(), *text, **options)


def svd(**options) -> SvdBackbone:
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=WIDTHS,
        layers_per_block=1,
        num_attention_heads=(2, 4, 4, 4),
        cross_attention_dim=TEXT_DIM,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
    )
    return SvdBackbone(unet, vae, schedule(), image_encoder(), **options)


def i2vgen(**options) -> I2VGenBackbone:
    unet = I2VGenXLUNet(
        block_out_channels=WIDTHS,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=TEXT_DIM,
    )
    for name, parameter in unet.named_parameters():
        if ".conv4." in name:  # the end of a temporal convolution starts as zeros
            torch.nn.init.normal_(parameter, std=0.1)
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True)
    text = text_encoder(), clip_byte_tokenizer()
    return I2VGenBackbone(
        unet, image_vae(), scheduler.alphas_cumprod, *text, image_encoder(), **options
    )


def image_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
    )


def text_encoder() -> CLIPTextModel:
    config = CLIPTextConfig(
        hidden_size=TEXT_DIM, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4
    )
    return CLIPTextModel(config)


def image_encoder() -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=28,
        patch_size=14,
        projection_dim=TEXT_DIM,
    )
    return CLIPVisionModelWithProjection(config)


def schedule() -> torch.Tensor:
    scheduler = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False
    )
    return scheduler.alphas_cumprod


def seeded(build: Callable[..., Backbone]) -> Callable[..., Backbone]:
    """Give the same weights at every call, and leave the global generator alone."""

    def build_seeded(**options) -> Backbone:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build(**options)

    return build_seeded


TINY: dict[str, Callable[..., Backbone]] = {
    "stable-diffusion": seeded(stable_diffusion),
    "svd": seeded(svd),
    "i2vgen": seeded(i2vgen),
}


def stock_features(unet, entry, *inputs, **conditions) -> dict[str, torch.Tensor]:
    """Run the library's own forward and keep what leaves `entry` and each block: the reference."""
    found: dict[str, torch.Tensor] = {}

    def keep(name):
        def hook(module, args, output):
            found[name] = output[0] if isinstance(output, tuple) else output

        return hook

    places = {"in": entry, "mid": unet.mid_block}
    places |= {f"down{i}": block for i, block in enumerate(unet.down_blocks)}
    places |= {f"up{i}": block for i, block in enumerate(unet.up_blocks)}
    handles = [module.register_forward_hook(keep(name)) for name, module in places.items()]
    try:
        with torch.no_grad():
            unet(*inputs, **conditions)
    finally:
        for handle in handles:
            handle.remove()
    return found


def inputs_of(module, run) -> list[torch.Tensor]:
    """List the first input of every call that `run` makes to a module."""
    seen: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    try:
        with torch.no_grad():
            run()
    finally:
        handle.remove()
    return seen
